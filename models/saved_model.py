"""The trained networks as a SavedModel that takes images as they are stored."""

import keras
import tensorflow as tf

STRIDE = 32  # of the encoder


def make_raw_network(network, scales):
    """Makes a network that takes images as they are stored, of any size.

    Args:
        network: function of `models.height_network.make_height_network`.
        scales: float for each band; 0-255 = stored x scale.

    Returns:
        Function (image float32 (batch, rows, columns, bands)) -> dict of float32 tensors: `heights`
        (..., 1) metres, and as the network has them `probabilities` and `normals`. What rows and
        columns lack of a multiple of 32 is mirrored on both sides, as predict.py does, and cut off
        again.
    """

    def mirrored(length):
        missing = -length % STRIDE
        place = tf.range(length + missing) - missing // 2
        place %= 2 * length  # the image and its mirror image, again and again
        return tf.minimum(place, 2 * length - 1 - place), missing // 2

    def run(image):
        rows, columns = tf.shape(image)[1], tf.shape(image)[2]
        (row_places, above), (column_places, left) = mirrored(rows), mirrored(columns)
        padded = tf.gather(tf.gather(image, row_places, axis=1), column_places, axis=2)
        outputs = network(padded * tf.constant(scales))
        outputs = {"probabilities" if k == "semantics" else k: v for k, v in outputs.items()}
        return {
            name: tf.cast(value, tf.float32)[:, above : above + rows, left : left + columns]
            for name, value in outputs.items()
            if name != "correction"
        }

    return run


def write_model(folder, stages, serve, channels):
    """Writes a SavedModel.

    Args:
        folder: `Path`.
        stages: Keras models whose weights it holds.
        serve: function of `make_raw_network`.
        channels: int, bands of the image.
    """
    archive = keras.export.ExportArchive()
    for network in stages:
        archive.track(network)
    image = tf.TensorSpec((None, None, None, channels), tf.float32, name="image")
    archive.add_endpoint("serve", serve, [image])
    archive.write_out(str(folder), verbose=False)
