"""The measures of metrics.json as HTML tables."""

from evaluation.measures.height_metrics import HEIGHT_MEASURES
from evaluation.report.html_page import html_table
from evaluation.report.tables import MEASURES, interval_text, measure_text

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

OTHER_LABELS = {  # path into metrics.json: how a reader knows what the terminal does not show
    ("buildings", "true"): "true buildings",
    ("buildings", "predicted"): "predicted buildings",
    ("buildings", "matched"): "pairs with IoU >= 0.5",
    ("buildings", "height_bias"): "bias, median heights of these buildings (m)",
    ("normals", "valid_pixels"): "valid pixels",
    ("normals", "rmse_angle"): "normals, root mean square of the angle (degrees)",
}


def headline_tables(columns):
    """Returns the heights in both conventions, their intervals, and the other measures.

    Args:
        columns: dict of title to a dict with the keys of metrics.json; the first is the network.

    Returns:
        str of HTML.
    """
    kinds = {"mean of tiles": (), "pooled": ("pooled",)}
    header = [f"{title}, {kind}" for title in columns for kind in kinds]
    rows = [
        [height_label(key)]
        + [measure_text(run, (*path, key)) for run in columns.values() for path in kinds.values()]
        for key in HEIGHT_MEASURES
    ]
    lines = [
        [label, *(measure_text(run, keys) for run in columns.values())]
        for keys, label in MEASURES.items()
        if keys[0] not in ("pooled", *HEIGHT_MEASURES)
    ]
    lines = [line for line in lines if set(line[1:]) != {"-"}]
    return "\n".join(
        [
            html_table("Heights", ["measure", *header], rows),
            intervals_html(next(iter(columns.values()))["intervals"]),
            html_table("Buildings, classes and normals", ["measure", *columns], lines),
        ]
    )


def height_label(key):
    """Returns how a reader knows one of `HEIGHT_MEASURES`."""
    return MEASURES.get((key,)) or MEASURES[("pooled", key)].replace(", pooled pixels", "")


def intervals_html(intervals):
    """Returns the table of `evaluation.measures.bootstrap.headline_intervals`; "" for None."""
    if not intervals:
        return ""
    kinds = {"mean_of_tiles": "mean of tiles", "pooled": "pooled pixels"}
    rows = [
        [MEASURES[(key,)], *(interval_text(intervals[kind][key]) for kind in kinds)]
        for key in intervals["pooled"]
    ]
    caption = f"{100 * intervals['level']:.0f} % intervals, by bootstrap over tiles"
    return html_table(caption, ["measure", *kinds.values()], rows)


def detail_tables(measures):
    """Returns what is measured beyond the headline.

    Args:
        measures: dict with the keys of metrics.json.

    Returns:
        str of HTML.
    """
    bins = {bin_label(m): m for m in measures["per_height_bin"].values()}
    edges = {name.replace("_", " "): m for name, m in measures["edges"].items()}
    parts = [
        _groups("By class", measures["per_class"], CLASS_COLUMNS),
        _groups("By true height", bins, GROUP_COLUMNS),
        _groups("Within 3 px of a building's outline, and elsewhere", edges, GROUP_COLUMNS),
        _values("Buildings as objects", "buildings", measures),
        _values("Normals", "normals", measures),
        _conventions(measures["conventions"]),
        confusion_table(measures["confusion"]),
    ]
    return "\n".join(filter(None, parts))


def bin_label(bounds):
    """Returns the name of a bin of true heights, a dict of from and below (metres or None)."""
    low, high = bounds["from"], bounds["below"]
    if low is None:
        return f"below {high:g} m"
    return f"{low:g} m or more" if high is None else f"{low:g} to {high:g} m"


def confusion_table(confusion):
    """Returns the confusion matrix: pixels, and their share of the true class.

    Args:
        confusion: dict of classes (names) and pixels, list of rows: true, columns: predicted.
    """
    rows = []
    for name, counts in zip(confusion["classes"], confusion["pixels"], strict=True):
        total = sum(counts)
        cells = [f"{count} ({count / total:.1%})" if total else "0" for count in counts]
        rows.append([f"true {name}", *cells])
    header = ["pixels", *(f"predicted {name}" for name in confusion["classes"])]
    return html_table("Confusion matrix", header, rows)


def _groups(caption, groups, keys):
    """Returns a table of groups of pixels; "" if none has a pixel."""
    rows = [
        [name, *(measure_text(measures, (key,)) for key in keys)]
        for name, measures in groups.items()
        if measures["valid_pixels"]
    ]
    header = [_header(key) for key in keys]
    return html_table(caption, ["group", *header], rows)


def _header(key):
    """Returns the title of a column of groups."""
    if key in HEIGHT_MEASURES:
        return height_label(key)
    return {"valid_pixels": "valid pixels", "iou": "IoU", "f1": "F1"}.get(key, key)


def _values(caption, kind, measures):
    """Returns a table of the single values below a key of metrics.json."""
    keys = [(kind, key) for key in measures[kind] or ()]
    labels = MEASURES | OTHER_LABELS
    rows = [[labels.get(path, path[1]), measure_text(measures, path)] for path in keys]
    return html_table(caption, ["measure", "value"], [row for row in rows if row[1] != "-"])


def _conventions(conventions):
    """Returns the heights in the conventions of published codes (docs/metrics.md)."""
    keys = ("rmse", "mae", "delta1", "delta2", "delta3")
    rows = [
        [f"{name.replace('_', ' ')}, {kind}", *(measure_text(values, (key,)) for key in keys)]
        for name, run in conventions.items()
        for kind, values in (("mean of tiles", run), ("pooled", run["pooled"]))
    ]
    header = ["convention", *map(height_label, keys)]
    return html_table("In the conventions of published codes", header, rows)
