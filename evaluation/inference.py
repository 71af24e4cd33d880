"""Windows through a network on all replicas, and tiles through windows into measures."""

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from datasets.targets import normal_targets
from evaluation.metrics import SplitMetrics
from evaluation.windows import predict_tile


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


def evaluate_tiles(
    tiles, read_tile, predict_tile_maps, record, on_tile=None, progress="", find_normals=None
):
    """Measures predictions on tiles, one after the other.

    Args:
        tiles: sequence of `datasets.folders.Tile`.
        read_tile: function (tile) -> dict of `datasets.samples.read_tile_window`.
        predict_tile_maps: function (image) -> dict of `predict_maps`.
        record: `datasets.records.Record`, for the classes.
        on_tile: function (tile, sample, maps, values of the tile), or None.
        progress: str, text before a progress bar; "" = no bar.
        find_normals: function (sample) -> its true normals, such as `true_normals`, for a
            detailed evaluation; None = the headline alone, as in validation.

    Returns:
        `SplitMetrics` over the tiles.
    """
    metrics = SplitMetrics(record.class_names, record.building_index, find_normals is not None)
    for tile in tqdm(tiles, desc=progress, unit="tile", disable=not progress, dynamic_ncols=True):
        sample = read_tile(tile)
        maps = predict_tile_maps(sample["image"])
        values = metrics.update(
            tile.name,
            sample["heights"],
            maps["heights"],
            sample["valid"],
            sample["classes"],
            maps.get("classes"),
        )
        if "correction" in maps:
            metrics.add_correction(maps["correction"], sample["valid"])
        if "normals" in maps and find_normals:
            metrics.add_normals(find_normals(sample), maps["normals"])
        if on_tile:
            on_tile(tile, sample, maps, values)
    return metrics


def true_normals(sample, gsd, coding):
    """Derives the unit normals of a tile from its true heights, as training does.

    Args:
        sample: dict of `datasets.samples.read_tile_window`.
        gsd: float, metres per pixel.
        coding: "unit", or "published" with its own slopes (`datasets.targets`).

    Returns:
        float32 (rows, columns, 3); NaN where a height that takes part is not valid.
    """
    heights = np.where(sample["valid"], sample["heights"], np.float32("nan"))
    batch = tf.constant(heights[None, ..., None], "float32")
    normals = normal_targets(batch, gsd, coding)[0].numpy()
    normals = normals * 2 - 1 if coding == "published" else normals
    return np.where(sample["valid"][..., None], normals, np.float32("nan"))
