"""What is known of a trained network without its data set: for predict.py and export.py."""

import argparse
import json
from pathlib import Path

from datasets.records.record import Record, parse_record
from runs.folders import WEIGHTS, weights_digest
from runs.stored import FILE, StoredRun, read_stored
from settings.loading import Settings
from settings.table import SettingsError


def trained_record(values: dict, options: argparse.Namespace) -> Record:
    """Makes the record of the data set that a network was trained on from its settings.json.

    Args:
        values: settings by name, of which checkpoint_dir and dataset_name count.
        options: has `model`, a weight file, or None.

    Raises:
        SettingsError: if there is no trained network, or its settings.json cannot be used.
        ResumeError: if settings.json is damaged.
    """
    folder = Path(values["checkpoint_dir"]) / values["dataset_name"] / "mtl"
    path = Path(options.model) if options.model else folder / WEIGHTS
    if path.name != WEIGHTS or not path.is_file():
        raise SettingsError(
            f"There are no trained weights at {path}. Train with the same checkpoint_dir and "
            f"dataset_name, or give --model=<folder>/{WEIGHTS}, a file that training wrote."
        )
    stored = read_stored(path.parent)
    try:
        if stored is None:
            raise FileNotFoundError("there is none")
        return _record(stored, path.parent)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SettingsError(
            f"{path.with_name(FILE)} cannot be used ({type(error).__name__}: {error}). It must lie "
            f"beside {WEIGHTS}, as training wrote it."
        ) from None


def _record(stored: StoredRun, folder: Path) -> Record:
    if stored.stage != "mtl":
        raise ValueError("these are the weights of stage 2; name those of stage 1, mtl")
    texts = stored.identity["class_codes"]
    keys = {
        "name": stored.settings["dataset_name"],
        "gsd": stored.gsd,
        "classes": [
            {"name": name, "codes": _codes(text)}
            for name, text in zip(stored.classes, texts, strict=True)
        ],
        "rgb_scale": stored.identity["rgb_scale"],
        "sar_scale": stored.identity.get("sar_scale", 1.0),
    }
    return parse_record(keys, folder, str(folder / FILE))


def _codes(text: str) -> list:
    """Returns label codes, stored as Python writes a tuple of them, as a dataset.toml gives them.

    They are read as JSON, since what comes from strangers is not given to Python's own parser.
    """
    return json.loads(text.translate(str.maketrans("()", "[]")).replace(",]", "]"))


def model_identity(settings: Settings, corrected: bool) -> dict[str, str]:
    """Returns the digests of the weights of each stage that takes part."""
    stages = ("mtl", "dae") if corrected else ("mtl",)
    return {stage: weights_digest(settings, stage) for stage in stages}
