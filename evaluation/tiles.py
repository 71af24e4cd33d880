"""Measures the predictions on the tiles of a split."""

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from datasets.crops.targets import normal_targets
from datasets.records.record import Record
from datasets.tiles.folders import Tile
from datasets.tiles.samples import Sample
from evaluation.measures.metrics import SplitMetrics
from evaluation.measures.tile_maps import TileMaps


def evaluate_tiles(
    tiles: Iterable[Tile],
    read_tile: Callable[[Tile], Sample],
    predict_tile_maps: Callable[[np.ndarray], dict[str, np.ndarray]],
    record: Record,
    on_tile: Callable[[Tile, Sample, dict[str, np.ndarray], dict], None] | None = None,
    progress: str = "",
    find_normals: Callable[[Sample], np.ndarray] | None = None,
) -> SplitMetrics:
    """Measures predictions on tiles, one after the other.

    Args:
        tiles: to measure.
        read_tile: reads all of a tile that is used.
        predict_tile_maps: makes the maps of `prediction.tiles.predict_maps` from an image.
        record: of the data set, for the classes.
        on_tile: is called for each tile with its sample, its maps and its row of
            `SplitMetrics.rows`; None = nothing is.
        progress: text before a progress bar; "" = no bar.
        find_normals: derives the true normals of a sample, as `true_normals` does, for a detailed
            evaluation; None = the headline alone, as in validation.
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
            find_normals(sample) if find_normals and "normals" in maps else None,
            maps.get("normals"),
            maps.get("correction"),
        )
        row = metrics.add(measured)
        if on_tile:
            on_tile(tile, sample, maps, row)
    return metrics


def true_normals(sample: Sample, gsd: float, coding: str) -> np.ndarray:
    """Derives the unit normals of a tile from its true heights, as training does.

    Args:
        sample: the whole tile.
        gsd: metres per pixel.
        coding: "unit", or "published", whose slopes differ (`datasets.crops.targets`).

    Returns:
        float32 (rows, columns, 3); NaN where one of the heights that a normal depends on is not
        valid.
    """
    heights = np.where(sample["valid"], sample["heights"], np.float32("nan"))
    batch = tf.constant(heights[None, ..., None], "float32")
    normals = normal_targets(batch, gsd, coding)[0].numpy()
    normals = normals * 2 - 1 if coding == "published" else normals
    return np.where(sample["valid"][..., None], normals, np.float32("nan"))
