"""What the scripts share: from the settings to data, strategy, networks and folders."""

import quiet_tensorflow  # noqa: F401  first, so that it silences what follows

# isort: split
import contextlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from datasets.demo_tiles import ensure_demo
from datasets.folders import DataError, list_tiles
from datasets.labels import LabelError
from datasets.rasters.reading import RasterError
from datasets.remembered import remembered_check
from datasets.samples import read_tile_window, tile_grid
from datasets.tile_cache import CacheError
from models.backbones import WeightsError, first_line
from settings import SettingsError
from training.audit import AuditError
from training.devices import DeviceError, make_strategy
from training.interrupts import Interrupted
from training.loop import TrainingError
from training.precision import choose_precision
from training.resume import ResumeError
from training.workers import LOST_WORKER, WorkersError, find_cluster, in_cluster, is_chief

# What a user can mend; anything else is a fault of the program and keeps its traceback.
USER_ERRORS = (
    AuditError,
    CacheError,
    DataError,
    RasterError,
    LabelError,
    SettingsError,
    DeviceError,
    ResumeError,
    TrainingError,
    WeightsError,
    WorkersError,
)


@dataclass(frozen=True)
class Data:
    """The splits of one data set, listed and checked.

    Attributes:
        record: `datasets.records.Record`.
        tiles: dict of split to tuple of `datasets.folders.Tile`.
        summaries: dict of split to `datasets.validation.SplitSummary`.
    """

    record: object
    tiles: dict
    summaries: dict

    @property
    def gsd(self):
        """Metres per pixel."""
        return next(iter(self.summaries.values())).gsd


@contextlib.contextmanager
def clear_errors():
    """Ends the script with one line instead of a traceback where the user can act on it."""
    try:
        yield
    except tf.errors.OpError as error:
        # A tile that could not be read in the input pipeline: its error comes as text.
        names = "|".join(kind.__name__ for kind in USER_ERRORS)
        found = re.search(rf"\b(?:{names}): (.*)$", error.message, re.MULTILINE)
        if not found and in_cluster() and isinstance(error, LOST_WORKER):
            reason = first_line(error)
            sys.exit(
                f"error: another worker is gone ({type(error).__name__}: {reason}). Its own output "
                "says why. The same command, with resume=auto, goes on from the last state."
            )
        if not found:
            raise
        sys.exit(f"error: {found[1]}")
    except Interrupted as stopped:
        print(f"\n{stopped} The same command, with resume=auto, goes on from there.")
        sys.exit(130)
    except (*USER_ERRORS, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\nInterrupted.")
        sys.exit(130)


def prepare_data(settings, splits=("train", "valid"), most_training_tiles=None):
    """Makes the demo data where it is asked for and absent, then lists and checks the splits.

    Args:
        settings: `settings.Settings`.
        splits: names of the splits that the script needs.
        most_training_tiles: int, that many, evenly spaced, are enough; None = all.

    Returns:
        `Data`.

    Raises:
        DataError: naming every file that cannot be used.
    """
    record = settings.record
    if settings.dataset_name == "Demo" and not (record.folder / "dataset.toml").is_file():
        with progress_bar("making the demo data") as progress:
            ensure_demo(record.folder, progress)
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
    for warning in (text for summary in summaries.values() for text in summary.warnings):
        print(f"warning: {warning}")
    return Data(record, tiles, summaries)


@contextlib.contextmanager
def progress_bar(title):
    """Shows a progress bar while it lasts; yields its function (done, total)."""
    with tqdm(desc=title, unit="tile", leave=False, dynamic_ncols=True, delay=1) as bar:

        def progress(done, total):
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def evenly_spaced(items, most):
    """Returns at most `most` of the items, evenly spaced."""
    if len(items) <= most:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, most).astype(int)]


def start_strategy(settings, cluster=None):
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


def output_folder(settings, name):
    """Returns the folder of a stage's or an evaluation's results."""
    return Path(settings.output_dir) / settings.dataset_name / name


def tile_reader(record):
    """Returns a function (tile) -> all that is used of the tile as a sample."""

    def read(tile):
        grid = tile_grid(tile, record)
        return read_tile_window(tile, record, 0, 0, grid.rows, grid.columns)

    return read
