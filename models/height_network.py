"""The trained networks as one function of an image, in Python or as a SavedModel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import keras
import tensorflow as tf
from keras import ops

from models.dae import dae_input
from models.dropout import samples_from

Outputs = dict[str, tf.Tensor]
Network = Callable[[tf.Tensor], Outputs]

STRIDE = 32  # of the encoder
DROPOUT_SAMPLES = 8  # as many as there are views
# Of a square: whether rows and columns are swapped, and then which of the two are reversed.
VIEWS = tuple(product((False, True), repeat=3))
ORIGINAL = VIEWS[0]


@dataclass(frozen=True)
class Extras:
    """What to compute beyond heights and classes.

    Attributes:
        normal_coding: "unit" or "published", of the network's normals; None = no normals.
        views: True = return the mean over the eight flips and rotations of the (square) windows.
        spread: True = also return the standard deviation of the heights: over the views, or if
            `views` is off over samples of dropout (Gal and Ghahramani, ICML 2016).
    """

    normal_coding: str | None = None
    views: bool = False
    spread: bool = False


def make_height_network(
    mtl: Callable, dae: keras.Model | None = None, extras: Extras | None = None
) -> Network:
    """Chains stage 1 and, where given, the correction of stage 2.

    Args:
        mtl: Keras model of `models.mtl.build_mtl`.
        dae: Keras model of `models.dae.build_dae`.
        extras: None = none.

    Returns:
        Function (image (batch, rows, columns, channels), 0-255) -> dict: `heights` (..., 1) metres,
        `semantics` (..., class_count) probabilities where the network has classes, `correction`
        (..., 1) metres where there is a stage 2 (already subtracted), and according to `extras`
        `normals` (..., 3), unit vectors, where the network has them (their mean over views is
        shorter), and `uncertainty` (..., 1) metres.
    """
    extras = extras or Extras()

    def predict(image, view=ORIGINAL):
        turned = _reverse(_swap(image, view), view)
        return _turned_back(_predict(mtl, dae, turned, extras.normal_coding), view)

    def height_network(image):
        if extras.views:
            outputs = [predict(image, view) for view in VIEWS]
            mean = {name: sum(o[name] for o in outputs) / float(len(VIEWS)) for name in outputs[0]}
            return mean | ({"uncertainty": _deviation(outputs)} if extras.spread else {})
        result = predict(image)
        if extras.spread:
            samples = []
            for number in range(DROPOUT_SAMPLES):
                # Other numbers, and so other masks, for each window and each repetition.
                with samples_from(number * ops.shape(image)[0], always=True):
                    samples.append(predict(image))
            result["uncertainty"] = _deviation(samples)
        return result

    return height_network


def _predict(mtl, dae, image, normal_coding):
    """Returns the outputs for an image as it is."""
    outputs = mtl(image, training=False)
    result = {"heights": outputs["heights"]}
    if "semantics" in outputs:
        result["semantics"] = ops.softmax(outputs["semantics"], axis=-1)
    if normal_coding and "normals" in outputs:
        normals = outputs["normals"]
        normals = normals * 2.0 - 1.0 if normal_coding == "published" else normals
        result["normals"] = ops.normalize(normals, axis=-1)
    if dae is not None:
        result["correction"] = dae(dae_input(image, outputs), training=False)
        result["heights"] = outputs["heights"] - result["correction"]
    return result


def _deviation(outputs: Sequence[Outputs]) -> tf.Tensor:
    """Returns the population standard deviation of the heights over a list of outputs."""
    return ops.std(ops.stack([output["heights"] for output in outputs]), axis=0)


def _turned_back(outputs, view):
    """Returns the outputs of a turned image in the position and the directions of the original."""
    swapped, rows, columns = view
    outputs = {name: _swap(_reverse(x, view), view) for name, x in outputs.items()}
    if "normals" in outputs:
        # The first component points along the columns, the second along the rows.
        normals = outputs["normals"]
        normals = ops.take(normals, [1, 0, 2], axis=-1) if swapped else normals
        signs = (rows, columns) if swapped else (columns, rows)
        outputs["normals"] = normals * ops.array([*(1.0 - 2.0 * sign for sign in signs), 1.0])
    return outputs


def _swap(x, view):
    return ops.transpose(x, (0, 2, 1, 3)) if view[0] else x


def _reverse(x, view):
    axes = [axis for axis, backwards in enumerate(view) if axis and backwards]
    return ops.flip(x, axis=axes) if axes else x


def make_raw_network(network: Network, scales: Sequence[float]) -> Network:
    """Makes a network that takes images as they are stored, of any size.

    Args:
        network: of `make_height_network`.
        scales: of each band; 0-255 = stored x scale.

    Returns:
        Function (image float32 (batch, rows, columns, bands)) -> dict of float32 tensors: `heights`
        (..., 1) metres, and where the network has them `probabilities` and `normals`, which are
        unit vectors even if the network returns means over views. Images are padded to multiples of
        32 with their mirror image on both sides, as predict.py does, and the outputs are cropped to
        the size of the image.
    """

    def mirrored(length):
        missing = -length % STRIDE
        place = tf.range(length + missing) - missing // 2
        place %= 2 * length  # the image and its mirror image, repeated without end
        return tf.minimum(place, 2 * length - 1 - place), missing // 2

    def run(image):
        rows, columns = tf.shape(image)[1], tf.shape(image)[2]
        (row_places, above), (column_places, left) = mirrored(rows), mirrored(columns)
        padded = tf.gather(tf.gather(image, row_places, axis=1), column_places, axis=2)
        outputs = network(padded * tf.constant(scales))
        outputs = {"probabilities" if k == "semantics" else k: v for k, v in outputs.items()}
        result = {
            name: tf.cast(value, tf.float32)[:, above : above + rows, left : left + columns]
            for name, value in outputs.items()
            if name != "correction"
        }
        return result | {n: _unit_vectors(v) for n, v in result.items() if n == "normals"}

    return run


def _unit_vectors(vectors: tf.Tensor) -> tf.Tensor:
    """Does what `prediction.tiles.unit_vectors` does, in the graph of a SavedModel."""
    length = tf.norm(vectors, axis=-1, keepdims=True)
    return tf.where(length > 0, tf.math.divide_no_nan(vectors, length), [0.0, 0.0, 1.0])


def write_model(folder: Path, stages: Sequence[keras.Model], serve: Network, channels: int) -> None:
    """Writes the trained networks as a SavedModel.

    Args:
        folder: to write to.
        stages: the networks whose weights it holds.
        serve: of `make_raw_network`.
        channels: bands of the image.
    """
    archive = keras.export.ExportArchive()
    for network in stages:
        archive.track(network)
    image = tf.TensorSpec((None, None, None, channels), tf.float32, name="image")
    archive.add_endpoint("serve", serve, [image])
    archive.write_out(str(folder), verbose=False)
