"""The measures of metrics.json as tables: text for the terminal and README, HTML for the report."""

from collections.abc import Mapping, Sequence

from evaluation.measures.height_metrics import HEIGHT_MEASURES
from evaluation.report.html_page import html_table
from project.files import plain

MEASURES = {  # path into metrics.json: label
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
OTHER_LABELS = {  # path into metrics.json: label of what the report alone shows
    ("buildings", "true"): "true buildings",
    ("buildings", "predicted"): "predicted buildings",
    ("buildings", "matched"): "pairs with IoU >= 0.5",
    ("buildings", "height_bias"): "bias, median heights of these buildings (m)",
    ("normals", "valid_pixels"): "valid pixels",
    ("normals", "rmse_angle"): "normals, root mean square of the angle (degrees)",
}
COUNTS = {("tiles",): "tiles", ("valid_pixels",): "valid pixels"}
INTERVAL_KINDS = {"mean_of_tiles": "mean of tiles", "pooled": "pooled pixels"}
GROUP_COLUMNS = (
    "valid_pixels",
    "rmse",
    "mae",
    "bias",
    "median_error",
    "nmad",
    "p90_absolute_error",
)
CLASS_COLUMNS = ("iou", "precision", "recall", "f1", "valid_pixels", "rmse", "mae", "bias", "nmad")


def metrics_table(columns: Mapping[str, dict]) -> str:
    """Lays out measures side by side, as aligned text that is also a Markdown table.

    Args:
        columns: column title, such as "MTL", to a dict with the keys of metrics.json.

    Returns:
        Several lines without a final line break. A measure that is None is shown as "-"; one that
        is None in every column has no line.
    """
    classes = {name: None for values in columns.values() for name in values.get("per_class") or {}}
    ious = {("per_class", name, "iou"): f"IoU, {name}" for name in classes}
    cells = {
        label: [measure_text(values, path) for values in columns.values()]
        for path, label in (MEASURES | ious | COUNTS).items()
    }
    rows = [[label, *texts] for label, texts in cells.items() if set(texts) != {"-"}]
    return text_table([["measure", *columns], *rows])


def verdict(title: str, measured: dict) -> str:
    """Returns a sentence if a network is no better than the training mean; "" if it is better.

    It compares the pooled RMSE with the three decimals that the tables show.

    Args:
        title: of the network, such as "MTL + DAE".
        measured: the content of metrics.json.
    """
    error, of_mean = (run["pooled"]["rmse"] for run in (measured, measured["training_mean"]))
    if error is None or round(error, 3) < round(of_mean, 3):
        return ""
    return (
        f"{title} is no better than predicting the mean height of the training tiles everywhere: "
        f"its RMSE over all pixels is {error:.3f} m, that of the mean {of_mean:.3f} m."
    )


def intervals_table(intervals: dict) -> str:
    """Lays out the intervals of `evaluation.measures.bootstrap.headline_intervals` as text.

    Returns:
        Several lines without a final line break; measures without an interval have no line.
    """
    header = [f"{100 * intervals['level']:.0f} % interval", *INTERVAL_KINDS.values()]
    rows = [row for row in _interval_rows(intervals) if set(row[1:]) != {"-"}]
    return text_table([header, *rows])


def text_table(lines: Sequence[Sequence[str]]) -> str:
    """Lays out cells as aligned text that is also a Markdown table.

    Args:
        lines: the cells of each line, the header first.

    Returns:
        Several lines without a final line break.
    """
    lines = [[_markdown(cell) for cell in line] for line in lines]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    texts = []
    for first, *others in (lines[0], rule, *lines[1:]):
        pairs = zip(others, widths[1:], strict=True)
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in pairs)]
        texts.append(f"| {' | '.join(cells)} |")
    return "\n".join(texts)


def _markdown(cell: str) -> str:
    """Returns a cell on one line, whose bars do not end it."""
    return " ".join(cell.split()).replace("|", "\\|")


def measure_text(values: dict, path: Sequence[str]) -> str:
    """Returns the text of a measure: three decimals, counts as they are, "-" if it is None.

    Args:
        values: dict with the keys of metrics.json.
        path: the keys that lead to the measure.
    """
    found: object = values
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    value = plain(found)
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def headline_tables(columns: Mapping[str, dict]) -> str:
    """Returns HTML of the heights in both conventions, their intervals, and the other measures.

    Args:
        columns: title to a dict with the keys of metrics.json; the first is the network's.
    """
    kinds: dict[str, tuple] = {"mean of tiles": (), "pooled": ("pooled",)}
    header = [f"{title}, {kind}" for title in columns for kind in kinds]
    rows = [
        [height_label(key)]
        + [measure_text(run, (*path, key)) for run in columns.values() for path in kinds.values()]
        for key in HEIGHT_MEASURES
    ]
    lines = [
        [label, *(measure_text(run, path) for run in columns.values())]
        for path, label in MEASURES.items()
        if path[0] not in ("pooled", *HEIGHT_MEASURES)
    ]
    lines = [line for line in lines if set(line[1:]) != {"-"}]
    return "\n".join(
        [
            html_table("Heights", ["measure", *header], rows),
            _interval_html(next(iter(columns.values()))["intervals"]),
            html_table("Buildings, classes and normals", ["measure", *columns], lines),
        ]
    )


def height_label(key: str) -> str:
    """Returns the label of one of `HEIGHT_MEASURES`."""
    return MEASURES.get((key,)) or MEASURES[("pooled", key)].replace(", pooled pixels", "")


def detail_tables(measures: dict) -> str:
    """Returns HTML of what is measured beyond the headline.

    Args:
        measures: dict with the keys of metrics.json.
    """
    bins = {bin_label(m): m for m in measures["per_height_bin"].values()}
    edges = {name.replace("_", " "): m for name, m in measures["edges"].items()}
    parts = [
        _group_table("By class", measures["per_class"], CLASS_COLUMNS),
        _group_table("By true height", bins, GROUP_COLUMNS),
        _group_table("Within 3 px of a building's outline, and elsewhere", edges, GROUP_COLUMNS),
        _value_table("Buildings as objects", "buildings", measures),
        _value_table("Normals", "normals", measures),
        _convention_table(measures["conventions"]),
        confusion_table(measures["confusion"]),
    ]
    return "\n".join(filter(None, parts))


def bin_label(bounds: dict) -> str:
    """Returns the name of a bin of true heights, given its `from` and `below` (metres or None)."""
    low, high = bounds["from"], bounds["below"]
    if low is None:
        return f"below {high:g} m"
    return f"{low:g} m or more" if high is None else f"{low:g} to {high:g} m"


def confusion_table(confusion: dict) -> str:
    """Returns HTML of the confusion matrix: pixels, and their share of the true class.

    Args:
        confusion: `classes`, the names, and `pixels`, a list of rows (true) of columns (predicted).
    """
    rows = []
    for name, counts in zip(confusion["classes"], confusion["pixels"], strict=True):
        total = sum(counts)
        cells = [f"{count} ({count / total:.1%})" if total else "0" for count in counts]
        rows.append([f"true {name}", *cells])
    header = ["pixels", *(f"predicted {name}" for name in confusion["classes"])]
    return html_table("Confusion matrix", header, rows)


def _interval_rows(intervals: dict) -> list[list[str]]:
    """Returns the label and both intervals of each measure of `headline_intervals`."""

    def text(entry):
        return "-" if entry["low"] is None else f"{entry['low']:.3f} to {entry['high']:.3f}"

    return [
        [MEASURES[(key,)], *(text(intervals[kind][key]) for kind in INTERVAL_KINDS)]
        for key in intervals["pooled"]
    ]


def _interval_html(intervals: dict | None) -> str:
    """Returns HTML of the table of `headline_intervals`; "" for None."""
    if not intervals:
        return ""
    caption = f"{100 * intervals['level']:.0f} % intervals, by bootstrap over tiles"
    return html_table(caption, ["measure", *INTERVAL_KINDS.values()], _interval_rows(intervals))


def _group_table(caption: str, groups: Mapping[str, dict], keys: Sequence[str]) -> str:
    """Returns HTML of a table of groups of pixels; "" if no group has a pixel."""
    names = {"valid_pixels": "valid pixels", "iou": "IoU", "f1": "F1"}
    header = [height_label(key) if key in HEIGHT_MEASURES else names.get(key, key) for key in keys]
    rows = [
        [name, *(measure_text(measures, (key,)) for key in keys)]
        for name, measures in groups.items()
        if measures["valid_pixels"]
    ]
    return html_table(caption, ["group", *header], rows)


def _value_table(caption: str, kind: str, measures: dict) -> str:
    """Returns HTML of a table of the single values under a key of metrics.json."""
    labels = MEASURES | OTHER_LABELS
    rows = [
        [labels.get((kind, key), key), measure_text(measures, (kind, key))]
        for key in measures[kind] or ()
    ]
    return html_table(caption, ["measure", "value"], [row for row in rows if row[1] != "-"])


def _convention_table(conventions: dict) -> str:
    """Returns HTML of the heights in the conventions of published codes (docs/metrics.md)."""
    keys = ("rmse", "mae", "delta1", "delta2", "delta3")
    rows = [
        [f"{name.replace('_', ' ')}, {kind}", *(measure_text(values, (key,)) for key in keys)]
        for name, run in conventions.items()
        for kind, values in (("mean of tiles", run), ("pooled", run["pooled"]))
    ]
    header = ["convention", *map(height_label, keys)]
    return html_table("In the conventions of published codes", header, rows)
