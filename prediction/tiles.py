"""Windows through a network on all replicas, and whole tiles predicted from them."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from prediction.streaming import BatchPredictor, Windows, stream_windows


def make_predictor(
    strategy: tf.distribute.Strategy, network: Callable[[tf.Tensor], dict[str, tf.Tensor]]
) -> BatchPredictor:
    """Compiles a network for batches of windows, which are divided among the replicas.

    Args:
        strategy: over the replicas.
        network: images (batch, rows, columns, channels) of 0-255 -> outputs by name.

    Returns:
        Function of float32 (n, rows, columns, channels). A batch that does not divide by the
        replicas is filled up with copies of its last window, whose predictions are dropped: a
        replica without any window would fail in TensorFlow.
    """
    several = strategy.num_replicas_in_sync > 1
    replicas = len(strategy.extended.worker_devices) if several else 1  # those of this process

    @tf.function(reduce_retracing=True)
    def run(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return strategy.run(network, args=(images,))

    def predict(images: np.ndarray) -> dict[str, np.ndarray]:
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


def predict_maps(
    image: np.ndarray,
    predict: BatchPredictor,
    window_size: int,
    overlap: float,
    batch_windows: int,
) -> dict[str, np.ndarray]:
    """Predicts the maps of one tile.

    Args:
        image: float32 (rows, columns, channels), 0-255.
        predict: of `make_predictor`.
        window_size: pixels.
        overlap: share of a window.
        batch_windows: windows per batch.

    Returns:
        `heights` float32 (rows, columns), metres; `classes` int64 (rows, columns) where
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


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Scales vectors, such as means of unit vectors, to length 1.

    Args:
        vectors: float32 (..., 3).

    Returns:
        float32 (..., 3); a vector of length 0 becomes (0, 0, 1), level ground.
    """
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    level = np.array([0, 0, 1], "float32")
    return np.where(length > 0, vectors / np.where(length > 0, length, 1), level)


def predict_tile(
    image: np.ndarray,
    predict_batch: BatchPredictor,
    window_size: int,
    overlap: float,
    batch_windows: int,
) -> dict[str, np.ndarray]:
    """Predicts a whole tile from overlapping windows, blended with `blend_weights`.

    An axis shorter than the window is padded by mirroring, and the result is cropped back.

    Args:
        image: float32 (rows, columns, channels), 0-255.
        predict_batch: called with at most `batch_windows` windows of one row.
        window_size: pixels.
        overlap: in [0, 1), share of a window; step = window_size * (1 - overlap).
        batch_windows: windows per call of `predict_batch`.

    Returns:
        float32 (rows, columns, channels) by name. Blended class probabilities still add up to 1;
        their argmax is the class index.

    Raises:
        ValueError: if an argument is out of range, or an output has not the windows' shape.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(
            f"image has shape {image.shape}; expected (rows, columns, bands), none of them 0."
        )
    rows, columns = image.shape[:2]
    windows = Windows(rows, columns, window_size, overlap)
    result: dict[str, np.ndarray] = {}

    def read(row: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        return image[row : row + rows], np.ones((rows, image.shape[1]), bool)

    def write(row: int, outputs: dict[str, np.ndarray], valid: np.ndarray) -> None:
        for name, values in outputs.items():
            shape = (*image.shape[:2], values.shape[-1])
            whole = result.setdefault(name, np.empty(shape, "float32"))
            whole[row : row + len(values)] = values

    stream_windows(windows, read, predict_batch, write, batch_windows)
    return result
