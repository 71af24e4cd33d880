"""Pictures of a training run: losses and validation measures over the steps."""

import csv

import numpy as np
from matplotlib.figure import Figure

from evaluation.report.figures import save_figure

LOSSES = ("loss", "height_loss", "semantic_loss", "normal_loss", "deep_height_loss")
ERRORS = ("rmse", "mae")  # metres
SHARES = ("delta1", "miou", "overall_accuracy")
COLOURS = ("#000000", "#D55E00", "#009E73", "#0072B2", "#CC79A7")  # Okabe and Ito (2008)
SMOOTHED_SHARE = 0.04  # of the run, the length of the running mean
LOG_RATIO = 10.0  # a logarithmic axis where the losses span more than this


def read_rows(path):
    """Reads a CSV file such as history.csv.

    Args:
        path: str or path of a CSV file with a header.

    Returns:
        list of dict, one per row: float where the text is a number, None where it is empty,
        else str.
    """
    with open(path, newline="", encoding="utf-8") as file:
        return [{key: _number(text) for key, text in row.items()} for row in csv.DictReader(file)]


def training_curves(path, history, validation):
    """Draws `curves_figure` into a PNG file, written atomically."""
    save_figure(path, curves_figure(history, validation))


def curves_figure(history, validation):
    """Draws losses (raw faint, running mean strong) and validation measures.

    Args:
        history: list of dict, the rows of history.csv; a loss that is absent, None or "" in
            all rows is not drawn.
        validation: list of dict with step and rmse, mae (metres), and what there is of
            delta1, miou, overall_accuracy.

    Returns:
        matplotlib `Figure`.
    """
    figure = Figure(figsize=(13, 4), layout="constrained")
    panels = figure.subplots(1, 3)
    _draw_losses(panels[0], history)
    _draw_measures(panels[1], validation, ERRORS, "Validation error", "metres")
    _draw_measures(panels[2], validation, SHARES, "Validation shares", "share of pixels, or IoU")
    panels[2].set_ylim(0, 1)
    for panel in panels:
        panel.set_xlabel("step")
        panel.grid(alpha=0.3)
    return figure


def _draw_losses(panel, history):
    """Draws each loss that the history has."""
    drawn = []
    for name, colour in zip(LOSSES, COLOURS, strict=True):
        steps, values = _series(history, name)
        if not values.size:
            continue
        drawn.append(values)
        length = max(1, int(values.size * SMOOTHED_SHARE))
        panel.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        smoothed = np.convolve(values, np.full(length, 1 / length), mode="valid")
        middle = steps[(length - 1) // 2 :][: smoothed.size]
        panel.plot(middle, smoothed, color=colour, label=name, **_marker(values))
    panel.set_title("Training losses")
    panel.set_ylabel("mean over the batch")
    _finish(panel, drawn)
    if drawn and _spans_decades(np.concatenate(drawn)):
        panel.set_yscale("log")


def _draw_measures(panel, validation, names, title, unit):
    """Draws the measures that the validation rows have."""
    drawn = []
    for name, colour in zip(names, COLOURS[1:], strict=False):
        steps, values = _series(validation, name)
        if values.size:
            drawn.append(values)
            panel.plot(steps, values, color=colour, label=name, marker="o", markersize=3)
    panel.set_title(title)
    panel.set_ylabel(unit)
    _finish(panel, drawn)


def _finish(panel, drawn):
    """Adds the legend, or says that there is nothing to see yet."""
    if drawn:
        panel.legend()
    else:
        panel.text(0.5, 0.5, "no values yet", transform=panel.transAxes, ha="center")


def _series(rows, name):
    """Returns (steps, values) of one column as float arrays, without empty or NaN cells."""
    pairs = [(row["step"], row[name]) for row in rows if row.get(name) not in (None, "")]
    points = np.array(pairs, "float64").reshape(-1, 2)
    steps, values = points[np.isfinite(points).all(axis=1)].T
    return steps, values


def _marker(values):
    """Returns the style that makes a single point visible."""
    return {"marker": "o", "markersize": 3} if values.size == 1 else {}


def _spans_decades(values):
    """Tells whether a logarithmic axis shows more: all values above 0 and far apart."""
    return values.min() > 0 and values.max() > LOG_RATIO * values.min()


def _number(text):
    """Returns a CSV cell as float, None or str."""
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return text
