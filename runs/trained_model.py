"""The trained networks that predict.py uses, and what is known of them without their data set."""

import ast
import json
from pathlib import Path

from datasets.records.record import ClassLabel, Record
from settings.table import SettingsError

WEIGHTS = "best.weights.h5"


def trained_record(values, options):
    """Makes the record of the data set that a network was trained on from its settings.json.

    Args:
        values: dict of settings, of which checkpoint_dir and dataset_name count.
        options: namespace with `model`, a weight file, or None.

    Returns:
        `datasets.records.record.Record`; it recommends the dropout of the training.

    Raises:
        SettingsError: if there is no trained network, or its settings.json is damaged.
    """
    folder = Path(values["checkpoint_dir"]) / values["dataset_name"] / "mtl"
    path = Path(options.model) if options.model else folder / WEIGHTS
    if path.name != WEIGHTS or not path.is_file():
        raise SettingsError(
            f"There are no trained weights at {path}. Train with the same checkpoint_dir and "
            f"dataset_name, or give --model=<folder>/{WEIGHTS}, a file that training wrote."
        )
    stored = path.with_name("settings.json")
    try:
        return _record(json.loads(stored.read_text(encoding="utf-8")), path.parent)
    except (OSError, ValueError, KeyError, TypeError, SyntaxError) as error:
        raise SettingsError(
            f"{stored} cannot be used ({type(error).__name__}: {error}). It must lie beside "
            f"{WEIGHTS}, as training wrote it."
        ) from None


def _record(stored, folder):
    """Returns the `Record` of a stage 1's settings.json."""
    if stored["stage"] != "mtl":
        raise ValueError("these are the weights of stage 2; name those of stage 1, mtl")
    identity = stored["identity"]
    codes = [ast.literal_eval(text) for text in identity["class_codes"]]
    return Record(
        name=stored["settings"]["dataset_name"],
        folder=folder,
        gsd=stored["gsd"],
        classes=tuple(
            ClassLabel(first, name, tuple(more))
            for name, (first, *more) in zip(stored["classes"], codes, strict=True)
        ),
        rgb_scale=identity["rgb_scale"],
        sar_scale=identity.get("sar_scale", 1.0),
        recommended={"dropout": stored["settings"]["dropout"]},
    )


def model_identity(settings, corrected):
    """Returns dict: the digests of the weights of each stage that takes part."""
    from runs.folders import weights_digest

    stages = ("mtl", "dae") if corrected else ("mtl",)
    return {stage: weights_digest(settings, stage) for stage in stages}
