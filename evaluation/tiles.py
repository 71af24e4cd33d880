"""Windows through a network on all replicas, and tiles through windows into measures."""

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from datasets.crops.targets import normal_targets
from evaluation.measures.metrics import SplitMetrics
from evaluation.measures.tile_maps import TileMaps


def evaluate_tiles(
    tiles, read_tile, predict_tile_maps, record, on_tile=None, progress="", find_normals=None
):
    """Measures predictions on tiles, one after the other.

    Args:
        tiles: sequence of `datasets.tiles.folders.Tile`.
        read_tile: function (tile) -> dict of `datasets.tiles.samples.read_tile_window`.
        predict_tile_maps: function (image) -> dict of `predict_maps`.
        record: `datasets.records.record.Record`, for the classes.
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
        measured = TileMaps(
            tile.name,
            sample["heights"],
            maps["heights"],
            sample["valid"],
            sample["classes"],
            maps.get("classes"),
            find_normals(sample) if "normals" in maps and find_normals else None,
            maps.get("normals"),
            maps.get("correction"),
        )
        values = metrics.add(measured)
        if on_tile:
            on_tile(tile, sample, maps, values)
    return metrics


def true_normals(sample, gsd, coding):
    """Derives the unit normals of a tile from its true heights, as training does.

    Args:
        sample: dict of `datasets.tiles.samples.read_tile_window`.
        gsd: float, metres per pixel.
        coding: "unit", or "published" with its own slopes (`datasets.crops.targets`).

    Returns:
        float32 (rows, columns, 3); NaN where a height that takes part is not valid.
    """
    heights = np.where(sample["valid"], sample["heights"], np.float32("nan"))
    batch = tf.constant(heights[None, ..., None], "float32")
    normals = normal_targets(batch, gsd, coding)[0].numpy()
    normals = normals * 2 - 1 if coding == "published" else normals
    return np.where(sample["valid"][..., None], normals, np.float32("nan"))
