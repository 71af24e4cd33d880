"""Figure of a training run: losses and validation measures over the steps."""

import contextlib
import csv
import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from evaluation.report.tables import MEASURES
from project.drawing import png_bytes
from project.files import write_bytes

LOSSES = {  # column of history.csv: label
    "loss": "weighted sum",
    "height_loss": "height",
    "semantic_loss": "semantic",
    "normal_loss": "normals",
    "deep_height_loss": "height, coarser stages",
}
# Columns of validation.csv: label as in the tables
ERRORS = {name: MEASURES[(name,)] for name in ("rmse", "mae")}  # metres
SHARES = {name: MEASURES[(name,)] for name in ("delta1", "miou", "overall_accuracy")}
COLOURS = ("#000000", "#D55E00", "#009E73", "#0072B2", "#CC79A7")  # Okabe and Ito (2008)
LEGEND = {  # below the axes, where it hides no curve
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.14),
    "ncols": 3,
    "fontsize": 9,
    "columnspacing": 1.2,
    "handlelength": 1.2,
    "frameon": False,
}
SMOOTHED_SHARE = 0.04  # length of the running mean / length of the run
LOG_RATIO = 10.0  # losses that span more than this ratio get a logarithmic axis


def read_rows(path: str | os.PathLike) -> list[dict[str, float | str | None]]:
    """Reads a CSV file with a header, such as history.csv.

    Returns:
        One dict per row. A cell is a float where its text is a number, None where it is empty,
        and else a str. What is damaged comes as it is, up to what cannot be divided into cells.
    """
    rows: list[dict[str, float | str | None]] = []
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        with contextlib.suppress(csv.Error):
            for row in csv.DictReader(file, restkey=""):
                rows.append({key: _number(row[key]) for key in row if key})
    return rows


def training_curves(
    path: str | os.PathLike, history: Sequence[dict], validation: Sequence[dict]
) -> None:
    """Draws `curves_figure` into a PNG file."""
    write_bytes(path, png_bytes(curves_figure(history, validation)))


def curves_figure(history: Sequence[dict], validation: Sequence[dict]) -> Figure:
    """Draws the losses (raw values faint, running mean strong) and the validation measures.

    Args:
        history: rows of history.csv; a loss that is absent, None or "" in all rows is not drawn.
        validation: rows with step, rmse and mae (metres), and any of delta1, miou and
            overall_accuracy.
    """
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    losses, errors, shares = figure.subplots(1, 3, sharex=True)
    _draw_losses(losses, history)
    _draw_measures(errors, validation, ERRORS, "Validation error", "metres")
    _draw_measures(shares, validation, SHARES, "Validation shares", "share of pixels, or IoU")
    shares.set_ylim(0, 1)
    return figure


def _draw_losses(panel: Axes, history: Sequence[dict]) -> None:
    """Draws each loss that the history has."""
    drawn = []
    for (name, label), colour in zip(LOSSES.items(), COLOURS, strict=True):
        steps, values = _series(history, name)
        if not values.size:
            continue
        drawn.append(values)
        length = max(1, int(values.size * SMOOTHED_SHARE))
        panel.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        smoothed = np.convolve(values, np.full(length, 1 / length), mode="valid")
        middle = steps[(length - 1) // 2 :][: smoothed.size]
        marker = "o" if values.size == 1 else None  # a line of one point would be invisible
        panel.plot(middle, smoothed, color=colour, label=label, marker=marker, markersize=3)
    _finish(panel, "Training losses", "mean over the batch")
    every = np.concatenate(drawn) if drawn else np.zeros(1)
    # A logarithmic axis would hide values of 0 or below.
    if every.min() > 0 and every.max() > LOG_RATIO * every.min():
        panel.set_yscale("log")
        panel.yaxis.set_major_formatter("{x:g}")  # that of a logarithmic axis writes formulas
        panel.yaxis.set_minor_formatter(NullFormatter())


def _draw_measures(
    panel: Axes, validation: Sequence[dict], labels: Mapping[str, str], title: str, unit: str
) -> None:
    """Draws the measures that the validation rows have."""
    for (name, label), colour in zip(labels.items(), COLOURS[1:], strict=False):
        steps, values = _series(validation, name)
        if values.size:
            panel.plot(steps, values, color=colour, label=label, marker="o", markersize=3)
    _finish(panel, title, unit)


def _finish(panel: Axes, title: str, unit: str) -> None:
    """Adds titles, grid and, below the axes, a legend, or says that there is nothing to see yet."""
    panel.set(title=title, xlabel="step", ylabel=unit)
    panel.grid(alpha=0.3)
    if panel.lines:
        panel.legend(**LEGEND)
    else:
        panel.text(0.5, 0.5, "no values yet", transform=panel.transAxes, ha="center")


def _series(rows: Sequence[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns steps and values of one column, float64, without cells that are no number."""
    pairs = [(row.get("step"), row.get(name)) for row in rows]
    numbers = [pair for pair in pairs if all(isinstance(number, float | int) for number in pair)]
    points = np.array(numbers, "float64").reshape(-1, 2)
    steps, values = points[np.isfinite(points).all(axis=1)].T
    return steps, values


def _number(text: str | None) -> float | str | None:
    """Returns a CSV cell as float, None or str."""
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return text
