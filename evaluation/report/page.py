"""Writes report.html: all of an evaluation in one file that loads nothing else."""

import csv
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import keras
import tensorflow as tf

from evaluation.report.curves import curves_figure, read_rows
from evaluation.report.figures import PRINT_DPI, HeightPairs, density_figure, errors_figure
from evaluation.report.gallery import html_gallery
from evaluation.report.html_page import html_figure, html_note, html_page, html_table
from evaluation.report.tables import bin_label, detail_tables, headline_tables, verdict
from project.drawing import png_bytes
from project.files import write_bytes
from runs.folders import output_folder, weights_digest
from runs.stored import read_stored, stored_stage
from settings.loading import Settings
from settings.table import TABLE, Kind, show

HISTORY = "history.csv"
PLACES = ("shortcut_path", "checkpoint_dir", "output_dir")


def write_report_page(evaluation, columns: dict[str, dict]) -> None:
    """Writes report.html, density.png and errors.png into the folder of the evaluation.

    Args:
        evaluation: `evaluation.split.SplitEvaluation` of the test split, after its run.
        columns: title to a dict with the keys of metrics.json; the first is the network's.
    """
    settings, record, folder = evaluation.settings, evaluation.record, evaluation.folder
    (title, measured), *_ = columns.items()
    stages = ("mtl", "dae") if evaluation.stage == "dae" else ("mtl",)
    cards, tiles = evaluation.gallery.cards(), evaluation.gallery.tiles
    sections = {
        "Result": html_note(verdict(title, measured)) + headline_tables(columns),
        "Where the error is": _figures(folder, evaluation.pairs, measured),
        "Tiles": html_gallery(cards, tiles, record.class_names),
        "Details": detail_tables(measured),
        "Training": "\n".join(filter(None, (training_html(settings, stage) for stage in stages))),
        "Provenance and settings": _provenance(evaluation, stages)
        + _settings_table(settings, stages),
    }
    lead = (
        f"{measured['tiles']} tiles, {measured['valid_pixels']:,} valid pixels, "
        f"{evaluation.gsd:.2f} m per pixel. Heights in metres above ground; errors are predicted - "
        "true. docs/metrics.md says how each measure is computed."
    )
    page = html_page(f"{record.name}, {evaluation.split} split: {title}", lead, sections)
    write_bytes(folder / "report.html", page.encode())


def _figures(folder: Path, pairs: HeightPairs, measured: dict) -> str:
    """Writes the figures of the whole split and returns them as HTML."""
    bins = {
        bin_label(m).replace(" to ", "-").replace(" m or more", "+ m"): m  # fits below a bar
        for m in measured["per_height_bin"].values()
    }
    groups = {"by true height": bins}
    if any(measures["valid_pixels"] for measures in measured["per_class"].values()):
        groups["by class"] = measured["per_class"]
    density = png_bytes(density_figure(pairs), PRINT_DPI)
    errors = png_bytes(errors_figure(groups))
    write_bytes(folder / "density.png", density)
    write_bytes(folder / "errors.png", errors)
    return "\n".join(
        [
            html_figure(density, "Predicted over true heights of all valid pixels", "wide half"),
            html_figure(errors, f"RMSE, MAE and bias {' and '.join(groups)}; shares of the pixels"),
        ]
    )


def training_html(settings: Settings, stage: str) -> str:
    """Returns the training curves of a stage ("mtl" or "dae") as HTML.

    Returns:
        "" without a history; a sentence instead of curves if history and weights come from
        different runs.
    """
    folder = output_folder(settings, stage)
    if not (folder / HISTORY).is_file():
        return ""
    if read_stored(folder) != stored_stage(settings, stage):
        return f"<p>Stage {stage.upper()}: {HISTORY} and the weights come from different runs.</p>"
    files = [folder / f"{name}.csv" for name in ("history", "validation")]
    caption = f"Training of stage {stage.upper()}: losses and validation over the steps"
    try:
        history, validation = (read_rows(file) if file.is_file() else [] for file in files)
        if any(isinstance(row.get("loss"), str) for row in history):
            raise ValueError
        return html_figure(png_bytes(curves_figure(history, validation)), caption)
    except (ValueError, KeyError, TypeError, csv.Error):
        return f"<p>Stage {stage.upper()}: {HISTORY} or validation.csv is damaged.</p>"


def _provenance(evaluation, stages: Sequence[str]) -> str:
    """Returns the table of what was evaluated."""
    settings, record = evaluation.settings, evaluation.record
    weights = evaluation.stored.encoder_weights
    rows = [
        ("data", f"{record.name}, {evaluation.split} split; {record.source or 'no source stated'}"),
        ("licence", record.licence or "not stated"),
        ("encoder", f"{settings.backbone}, began with weights: {weights}"),
    ]
    for stage in stages:
        stored = stored_stage(settings, stage)
        name, seed = stage.upper(), stored.settings["seed"]
        rows.append((name, f"{stored.parameters} parameters, trained with seed {seed}"))
        rows.append((f"weights of {name}", f"SHA-256 {weights_digest(settings, stage)}"))
    now = datetime.now().astimezone().isoformat(" ", "minutes")
    rows.append(("evaluated", f"{now}; TensorFlow {tf.__version__}, Keras {keras.__version__}"))
    return html_table("Provenance", ("what", "value"), rows, words=True)


def _settings_table(settings: Settings, stages: Sequence[str]) -> str:
    """Returns the table of settings that differ from the built-in default, here or in a training.

    It names no folders of this machine, since users send the page to others.
    """
    trained = [stored_stage(settings, stage).settings for stage in stages]
    rows = []
    for name, value in settings.values.items():
        values = [value, *(stored.get(name) for stored in trained)]
        if name not in PLACES and any(value != TABLE[name].default for value in values):
            here, *there = map(show, values)
            source = settings.sources[name]
            stored = source.kind is Kind.STORED
            rows.append((name, *there, here, "settings.json of MTL" if stored else str(source)))
    header = ["setting", *(f"training of {stage.upper()}" for stage in stages)]
    caption = "Settings that are not built-in defaults"
    return html_table(caption, (*header, "this evaluation", "from"), rows, words=True)
