"""What the scripts share: from the settings to data, strategy, networks and folders."""

import quiet_tensorflow  # noqa: F401  first, so that it silences what follows

# isort: split
import contextlib
import hashlib
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
from models.dae import build_dae, dae_channels
from models.mtl import NetworkOptions, build_mtl
from settings import SettingsError, adopt_network
from training.audit import AuditError
from training.devices import DeviceError, make_strategy
from training.interrupts import Interrupted
from training.loop import TrainingError
from training.precision import choose_precision
from training.resume import ResumeError, read_stored
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


def network_options(settings):
    """Returns the `NetworkOptions` of the settings."""
    names = NetworkOptions.__dataclass_fields__
    return NetworkOptions(**{name: getattr(settings, name) for name in names})


def class_count(settings):
    """Returns the classes that the network predicts; 0 = no semantic decoder."""
    return len(settings.record.classes) if settings.sem_flag else 0


def build_stage1(settings, backbone_weights=None):
    """Builds the MTL; call it under the strategy's scope."""
    options, classes = network_options(settings), class_count(settings)
    return build_mtl(options, classes, settings.norm_flag, backbone_weights)


def build_stage2(settings):
    """Builds the DAE; call it under the strategy's scope."""
    channels = dae_channels(class_count(settings), settings.norm_flag)
    return build_dae(channels, network_options(settings).style, settings.dae_start)


def stage_folder(settings, stage):
    """Returns the folder of a stage's weights and state: beside --model, where a script has it."""
    model = getattr(settings.options, "model", None)
    if model:
        folder = Path(model).parent
        return folder if stage == "mtl" else folder.with_name(stage)
    return Path(settings.checkpoint_dir) / settings.dataset_name / stage


def output_folder(settings, name):
    """Returns the folder of a stage's or an evaluation's results."""
    return Path(settings.output_dir) / settings.dataset_name / name


def stored_stage(settings, stage):
    """Returns the content of settings.json of a trained stage.

    Raises:
        FileNotFoundError: if the stage has no weights yet.
    """
    folder = weights_file(settings, stage).parent
    stored = read_stored(folder)
    if stored is None:
        raise FileNotFoundError(f"There is no settings.json in {folder}, beside the weights.")
    return stored


def adopt_stored_network(settings):
    """Takes the network's settings from stage 1's settings.json.

    Raises:
        FileNotFoundError: if stage 1 has not been trained.
        SettingsError: if its network does not fit the command line or the data set's classes.
    """
    stored = stored_stage(settings, "mtl")
    origin = str(stage_folder(settings, "mtl") / "settings.json")
    names = stored["classes"]
    if names != list(settings.record.class_names):
        raise SettingsError(
            f"The network was trained on the classes {names} ({origin}), but the data set has "
            f"{list(settings.record.class_names)}. Train it anew, or restore the record."
        )
    return adopt_network(settings, stored["settings"], origin)


def is_trained(settings, stage):
    """Says whether a stage has weights."""
    return (stage_folder(settings, stage) / "best.weights.h5").is_file()


def weights_digest(settings, stage):
    """Returns the SHA-256 of a stage's best weights."""
    return hashlib.sha256(weights_file(settings, stage).read_bytes()).hexdigest()


def weights_file(settings, stage):
    """Returns the path of a stage's best weights.

    Raises:
        FileNotFoundError: if it has none yet.
    """
    path = stage_folder(settings, stage) / "best.weights.h5"
    if not path.is_file():
        raise FileNotFoundError(
            f"There are no trained weights at {path}. Run train_{stage}.py with the same "
            "dataset_name and checkpoint_dir first."
        )
    return path


def load_stage(settings, stage, model):
    """Loads the best weights of a stage into a network built like it.

    Raises:
        FileNotFoundError: if the stage has no weights yet.
        ResumeError: if they are damaged or of another network.
    """
    path = weights_file(settings, stage)
    try:
        model.load_weights(path)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise ResumeError(
            f"{path} cannot be loaded ({reason}): it is damaged or of another network. Train anew."
        ) from None


def tile_reader(record):
    """Returns a function (tile) -> all that is used of the tile as a sample."""

    def read(tile):
        grid = tile_grid(tile, record)
        return read_tile_window(tile, record, 0, 0, grid.rows, grid.columns)

    return read


def use_correction(settings):
    """Decides whether stage 2 takes part in an evaluation.

    Raises:
        FileNotFoundError: if `correction` is true and stage 2 has not been trained.
        SettingsError: if `correction` is true and stage 2 was trained on another stage 1.
    """
    folder = stage_folder(settings, "dae")
    if settings.correction == "false":
        return False
    if settings.correction == "auto" and not is_trained(settings, "dae"):
        return False
    trained_on = stored_stage(settings, "dae")["identity"]["mtl_weights"]
    if trained_on == weights_digest(settings, "mtl"):
        return True
    message = f"{folder} was trained on an earlier stage 1. Run train_dae.py again."
    if settings.correction == "true":
        raise SettingsError(message)
    print(f"warning: {message} Going on without the correction.")
    return False
