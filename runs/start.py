"""What the scripts share: from the settings to data, strategy, networks and folders."""

import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows

# isort: split
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from datasets.checks.progress import ensure_demo_data, progress_bar
from datasets.checks.validation import SplitSummary, remembered_check
from datasets.records.record import Record
from datasets.tiles.folders import Tile, list_tiles
from datasets.tiles.samples import Sample, read_tile_window, tile_grid
from devices.precision import choose_precision
from devices.strategy import make_strategy
from devices.workers import WorkersError, find_cluster, is_chief
from runs.folders import output_folder
from settings.loading import Settings


@dataclass(frozen=True)
class Data:
    """The splits of one data set, listed and checked.

    Attributes:
        record: of the data set.
        tiles: by split.
        summaries: by split, what the checks found.
    """

    record: Record
    tiles: dict[str, tuple[Tile, ...]]
    summaries: dict[str, SplitSummary]

    @property
    def gsd(self) -> float:
        """Metres per pixel."""
        return next(iter(self.summaries.values())).gsd


def prepare_data(
    settings: Settings,
    splits: Sequence[str] = ("train", "valid"),
    most_training_tiles: int | None = None,
) -> Data:
    """Makes the demo data where it is asked for and absent, then lists and checks the splits.

    Args:
        settings: the settings in force.
        splits: those that the script needs.
        most_training_tiles: that many, evenly spaced, are enough; None = all.

    Raises:
        DataError: naming every file that cannot be used.
    """
    record = settings.record
    ensure_demo_data(settings.dataset_name, record)
    tiles = {split: list_tiles(record, split, settings.sar_mode == "fusion") for split in splits}
    if most_training_tiles and "train" in tiles:
        tiles["train"] = evenly_spaced(tiles["train"], most_training_tiles)
    summaries = {}
    for split in splits:
        trains = split == "train" and not most_training_tiles
        kept = output_folder(settings, "checks") / f"{split}_{'all' if trains else 'some'}.json"
        crop_size = settings.crop_size if trains else 1
        skip = trains and settings.bad_tiles == "skip"
        with progress_bar(f"checking {split}") as progress:
            found = remembered_check(kept, record, split, tiles[split], crop_size, progress, skip)
        tiles[split] = tuple(tile for tile in tiles[split] if tile.name not in found.unusable)
        summaries[split] = found
    for note in (text for summary in summaries.values() for text in summary.notes):
        print(note)
    for warning in (text for summary in summaries.values() for text in summary.warnings):
        print(f"warning: {warning}")
    return Data(record, tiles, summaries)


def evenly_spaced(items: tuple, most: int) -> tuple:
    """Returns at most `most` of the items, evenly spaced."""
    if len(items) <= most:
        return items
    return tuple(items[i] for i in np.linspace(0, len(items) - 1, most).astype(int))


def start_strategy(
    settings: Settings, cluster: tf.distribute.cluster_resolver.ClusterResolver | None = None
) -> tf.distribute.Strategy:
    """Fixes the random seed and makes the strategy, over a cluster if one is given.

    Raises:
        WorkersError: if there is a cluster, but the script is not for several processes.
    """
    if cluster is None and find_cluster():
        raise WorkersError(
            "This script is not for several workers, but TF_CONFIG or Slurm describes some. Run it "
            "alone, without TF_CONFIG."
        )
    strategy = make_strategy(
        settings.multi_gpu_enabled,
        settings.gpu_devices,
        settings.cpu_replicas,
        settings.gradient_reduction,
        cluster,
    )
    keras.utils.set_random_seed(settings.seed)
    precision, warning = choose_precision(settings.precision)
    keras.config.set_dtype_policy(precision)
    if warning and is_chief(strategy):
        print(f"warning: {warning}")
    return strategy


def computed_settings(settings: Settings) -> dict:
    """Returns the settings in force, with the precision that auto has turned out to be."""
    return settings.values | {"precision": keras.config.dtype_policy().name}


def tile_reader(record: Record) -> Callable[[Tile], Sample]:
    """Returns a function (tile) -> all that is used of the tile as a sample."""

    def read(tile):
        grid = tile_grid(tile, record)
        return read_tile_window(tile, record, 0, 0, grid.rows, grid.columns)

    return read
