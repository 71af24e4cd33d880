"""Result files (JSON, CSV) and the table of measures for terminal and README."""

from project.files import plain

MEASURES = {  # path into metrics.json: how a reader knows it
    ("rmse",): "RMSE (m)",
    ("mae",): "MAE (m)",
    ("mse",): "MSE (m2)",
    ("r2",): "R2",
    ("delta1",): "delta1 (< 1.25)",
    ("delta2",): "delta2 (< 1.25^2)",
    ("delta3",): "delta3 (< 1.25^3)",
    ("bias",): "bias, mean error (m)",
    ("nmad",): "NMAD (m)",
    ("p90_absolute_error",): "90th percentile of absolute error (m)",
    ("pooled", "rmse"): "RMSE, pooled pixels (m)",
    ("pooled", "mae"): "MAE, pooled pixels (m)",
    ("pooled", "r2"): "R2, pooled pixels",
    ("pooled", "bias"): "bias, pooled pixels (m)",
    ("pooled", "median_error"): "median error, pooled pixels (m)",
    ("pooled", "nmad"): "NMAD, pooled pixels (m)",
    ("pooled", "p90_absolute_error"): "90th percentile of absolute error, pooled pixels (m)",
    ("rmse_building",): "RMSE, buildings (m)",
    ("rmse_matched",): "RMSE, buildings also found (m)",
    ("low_rise_rmse",): "RMSE, buildings < 15 m (m)",
    ("mid_rise_rmse",): "RMSE, buildings 15 to 40 m (m)",
    ("high_rise_rmse",): "RMSE, buildings >= 40 m (m)",
    ("edges", "near_outline", "rmse"): "RMSE, within 3 px of a building outline (m)",
    ("edges", "elsewhere", "rmse"): "RMSE, elsewhere (m)",
    ("buildings", "precision"): "buildings with IoU >= 0.5, precision",
    ("buildings", "recall"): "buildings with IoU >= 0.5, recall",
    ("buildings", "f1"): "buildings with IoU >= 0.5, F1",
    ("buildings", "height_rmse"): "RMSE, median heights of these buildings (m)",
    ("buildings", "all_height_rmse"): "RMSE, median heights of all true buildings (m)",
    ("normals", "mean_angle"): "normals, mean angle (degrees)",
    ("normals", "median_angle"): "normals, median angle (degrees)",
    ("normals", "within_11_25"): "normals, share below 11.25 degrees",
    ("normals", "within_22_5"): "normals, share below 22.5 degrees",
    ("normals", "within_30"): "normals, share below 30 degrees",
    ("miou",): "mIoU",
    ("overall_accuracy",): "overall accuracy",
    ("fwiou",): "frequency weighted IoU",
    ("mean_f1",): "mean F1",
    ("correction", "std"): "correction, standard deviation (m)",
}
COUNTS = {("tiles",): "tiles", ("valid_pixels",): "valid pixels"}


def metrics_table(columns):
    """Lays out measures side by side, as aligned text that is also a Markdown table.

    Args:
        columns: dict of column title, such as "MTL", to a dict with the keys of metrics.json.

    Returns:
        str of several lines without a final line break; "-" for a measure that is None, no line
        for one that is None in every column.
    """
    names = dict.fromkeys(name for values in columns.values() for name in _per_class(values))
    ious = {("per_class", name, "iou"): f"IoU, {name}" for name in names}
    measures = MEASURES | ious | COUNTS
    cells = {
        label: [measure_text(values, keys) for values in columns.values()]
        for keys, label in measures.items()
    }
    lines = [["measure", *columns]]
    lines += [[label, *line] for label, line in cells.items() if set(line) != {"-"}]
    return text_table(lines)


def intervals_table(intervals):
    """Lays out the confidence intervals of `evaluation.measures.bootstrap.headline_intervals`.

    Args:
        intervals: dict with the keys of that function.

    Returns:
        str of several lines without a final line break.
    """
    kinds = {"mean_of_tiles": "mean of tiles", "pooled": "pooled pixels"}
    level = f"{100 * intervals['level']:.0f} % interval"
    lines = [(level, *kinds.values())] + [
        (MEASURES[(key,)], *(interval_text(intervals[kind][key]) for kind in kinds))
        for key in intervals["pooled"]
    ]
    return text_table([line for line in lines if set(line[1:]) != {"-"}])


def interval_text(entry):
    """Returns the text of an interval, a dict of low and high."""
    if entry["low"] is None:
        return "-"
    return f"{entry['low']:.3f} to {entry['high']:.3f}"


def text_table(lines):
    """Lays out cells as aligned text that is also a Markdown table.

    Args:
        lines: list of sequences of str, the header first.

    Returns:
        str of several lines without a final line break.
    """
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_align(line, widths) for line in (lines[0], rule, *lines[1:]))


def _align(cells, widths):
    """Joins cells to a line: the first to the left, the others to the right."""
    first, *others = zip(cells, widths, strict=True)
    texts = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(texts)} |"


def measure_text(values, keys):
    """Returns the text of a measure: three decimals, counts as they are, "-" if it is None.

    Args:
        values: dict with the keys of metrics.json.
        keys: tuple of str, the path into it.
    """
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    value = plain(values)
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _per_class(values):
    """Returns the class names of a column; none where the run has no classes."""
    return values.get("per_class") or {}
