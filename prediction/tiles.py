"""Windows through a network on all replicas, and whole tiles predicted from them."""

import numpy as np
import tensorflow as tf

from prediction.streaming import stream_windows
from prediction.windows import Windows


def make_predictor(strategy, network):
    """Compiles a network for batches of windows that are shared out over the replicas.

    Args:
        strategy: `tf.distribute.Strategy`.
        network: function (images (batch, rows, columns, 3) of 0-255) -> dict of tensors.

    Returns:
        Function (float32 array (n, rows, columns, 3)) -> dict of name to array (n, ...). A
        batch that does not divide by the replicas is filled up with its last window, and what
        comes out for the filling is dropped.
    """
    several = strategy.num_replicas_in_sync > 1
    replicas = len(strategy.extended.worker_devices) if several else 1  # those of this process

    @tf.function(reduce_retracing=True)
    def run(images):
        return strategy.run(network, args=(images,))

    def predict(images):
        share = -(-len(images) // replicas)
        filling = np.repeat(images[-1:], share * replicas - len(images), axis=0)
        filled = np.concatenate([images, filling]).reshape(replicas, share, *images.shape[1:])
        batch = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(filled[context.replica_id_in_sync_group])
        )
        return {
            name: np.concatenate(strategy.experimental_local_results(value))[: len(images)]
            for name, value in run(batch).items()
        }

    return predict


def predict_maps(image, predict, window_size, overlap, batch_windows):
    """Predicts the maps of one tile.

    Args:
        image: float32 (rows, columns, channels), 0-255.
        predict: function of `make_predictor`.
        window_size: int, pixels.
        overlap: float, share of a window.
        batch_windows: int, windows per batch.

    Returns:
        dict: `heights` float32 (rows, columns), metres; `classes` int64 (rows, columns) where
        the network predicts classes; `normals` float32 (rows, columns, 3), unit vectors, where it
        is asked for them; `correction` float32 (rows, columns), metres, already subtracted, where
        there is a stage 2.
    """
    outputs = predict_tile(image, predict, window_size, overlap, batch_windows)
    maps = {"heights": outputs["heights"][..., 0]}
    if "semantics" in outputs:
        maps["classes"] = outputs["semantics"].argmax(axis=-1)
    if "normals" in outputs:
        maps["normals"] = unit_vectors(outputs["normals"])
    if "correction" in outputs:
        maps["correction"] = outputs["correction"][..., 0]
    return maps


def unit_vectors(vectors):
    """Scales vectors, such as means of unit vectors, to length 1.

    Args:
        vectors: float32 (..., 3).

    Returns:
        float32 (..., 3); a vector of length 0 becomes (0, 0, 1), level ground.
    """
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    level = np.array([0, 0, 1], "float32")
    return np.where(length > 0, vectors / np.where(length > 0, length, 1), level)


def predict_tile(image, predict_batch, window_size, overlap, batch_windows):
    """Predicts a whole tile from overlapping windows, blended with `blend_weights`.

    An axis shorter than the window is padded by mirroring, equally on both sides, and the
    result is cropped back. Sums are kept in float32: all weights are positive, so with the
    36 windows per pixel of the published overlap of 5/6 they lose at most about 2e-6 of a
    value, at half the memory of float64.

    Args:
        image: float32 (rows, columns, channels), 0-255.
        predict_batch: function of float32 (n, window_size, window_size, channels) returning a
            dict of name to array (n, window_size, window_size, channels); n <= batch_windows.
        window_size: int, pixels.
        overlap: float in [0, 1), share of a window; step = window_size * (1 - overlap).
        batch_windows: int, windows per call of `predict_batch`, all of one row of windows.

    Returns:
        dict of name to float32 (rows, columns, channels). Blended class probabilities still
        add up to 1; their argmax is the class index.

    Raises:
        ValueError: if an argument is out of range, or an output has not the windows' shape.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(
            f"image has shape {image.shape}; expected (rows, columns, bands), none of them 0."
        )
    windows = Windows(*image.shape[:2], window_size, overlap)
    result = {}

    def read(row, rows):
        return image[row : row + rows], np.ones((rows, image.shape[1]), bool)

    def write(row, outputs, valid):
        for name, values in outputs.items():
            shape = (*image.shape[:2], values.shape[-1])
            whole = result.setdefault(name, np.empty(shape, "float32"))
            whole[row : row + len(values)] = values

    stream_windows(windows, read, predict_batch, write, batch_windows)
    return result
