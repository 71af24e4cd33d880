"""Two evaluated runs side by side, with the differences tile by tile."""

import csv
import json
from dataclasses import dataclass

import numpy as np

from evaluation.measures.bootstrap import column, draw_counts, draw_means, interval
from evaluation.report.tables import metrics_table, text_table
from project.errors import UserError

LOWER_IS_BETTER = {  # columns of per_tile.csv: how a reader knows them
    "rmse": "RMSE (m)",
    "mae": "MAE (m)",
    "nmad": "NMAD (m)",
    "p90_absolute_error": "90th percentile of absolute error (m)",
    "rmse_building": "RMSE, buildings (m)",
    "near_outline_rmse": "RMSE, within 3 px of a building outline (m)",
    "elsewhere_rmse": "RMSE, elsewhere (m)",
    "normals_mean_angle": "normals, mean angle (degrees)",
}
HIGHER_IS_BETTER = {
    "delta1": "delta1 (< 1.25)",
    "miou": "mIoU",
    "overall_accuracy": "overall accuracy",
    "buildings_f1": "buildings with IoU >= 0.5, F1",
}
NEITHER = {"bias": "bias, mean error (m)"}
NAMED = 5  # tiles in an error message


class ComparisonError(UserError):
    """Two runs that cannot be compared."""


@dataclass(frozen=True)
class Run:
    """What an evaluation has written.

    Attributes:
        title: str, how the folder was named by the user.
        metrics: dict, the content of metrics.json.
        rows: list of dict, the rows of per_tile.csv in the order of their tiles' names.
    """

    title: str
    metrics: dict
    rows: list


def read_run(title, folder):
    """Reads an evaluated run.

    Args:
        title: str.
        folder: path with metrics.json and per_tile.csv.

    Returns:
        `Run`.

    Raises:
        ComparisonError: if one of the files is absent or damaged.
    """
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        with (folder / "per_tile.csv").open(newline="", encoding="utf-8") as file:
            rows = [_values(row) for row in csv.DictReader(file)]
        return Run(title, metrics, sorted(rows, key=lambda row: row["tile"]))
    except FileNotFoundError as error:
        raise ComparisonError(
            f"{title}: there is no {error.filename}. Give two folders that test_dsm.py has "
            "written, such as --compare=test_mtl,test_dae."
        ) from None
    except (ValueError, KeyError) as error:
        raise ComparisonError(f"{folder} is damaged ({error}). Evaluate it anew.") from None


def require_same_tiles(one, other):
    """Checks that two runs were measured on the same pixels, as far as their files tell.

    Raises:
        ComparisonError: naming tiles that only one of them has, or that differ in valid pixels.
    """
    ours, theirs = ({row["tile"]: row["valid_pixels"] for row in r.rows} for r in (one, other))
    problems = [
        f"only in {run.title}: {_some(tiles)}"
        for run, tiles in ((one, ours.keys() - theirs), (other, theirs.keys() - ours))
        if tiles
    ]
    changed = [tile for tile in ours if tile in theirs and ours[tile] != theirs[tile]]
    if changed:
        problems.append(f"with other valid pixels: {_some(changed)}")
    if problems:
        raise ComparisonError(
            f"{one.title} and {other.title} were measured on different tiles; "
            f"{'; '.join(problems)}. Evaluate both on the same data set and split."
        )


def paired_differences(one, other):
    """Estimates the differences of two runs from those of each tile.

    Tiles are drawn for both runs together, so that what makes a tile hard for both cancels.

    Args:
        one, other: `Run` of the same tiles.

    Returns:
        list of dict: measure, one, other (means of the tiles that both have a value for),
        difference = other - one, low, high (bootstrap over tiles, None with fewer than two),
        better = tiles in which other is better (None where neither direction is), tiles.
    """
    measures = LOWER_IS_BETTER | HIGHER_IS_BETTER | NEITHER
    pairs = {key: (column(one.rows, key), column(other.rows, key)) for key in measures}
    return [
        {"measure": measures[key], **_difference(key, *pair)}
        for key, pair in pairs.items()
        if np.isfinite(np.subtract(*pair)).any()
    ]


def comparison_text(one, other):
    """Returns the comparison of two runs of the same tiles as text for the terminal."""
    lines = [("measure", one.title, other.title, "difference", "95 % interval", "better tiles")]
    for row in paired_differences(one, other):
        wide = "-" if row["low"] is None else f"{row['low']:+.3f} to {row['high']:+.3f}"
        better = "-" if row["better"] is None else f"{row['better']} of {row['tiles']}"
        values = (f"{row['one']:.3f}", f"{row['other']:.3f}", f"{row['difference']:+.3f}")
        lines.append((row["measure"], *values, wide, better))
    return "\n".join(
        [
            metrics_table({one.title: one.metrics, other.title: other.metrics}),
            f"\nTile by tile, {other.title} - {one.title}, means over the tiles:",
            text_table(lines),
            *_other_settings(one, other),
        ]
    )


def compare(titles, folders):
    """Reads two runs and returns their comparison as text.

    Args:
        titles: pair of str.
        folders: pair of paths.

    Raises:
        ComparisonError: if a run cannot be read, or they were measured on different tiles.
    """
    one, other = (read_run(*pair) for pair in zip(titles, folders, strict=True))
    require_same_tiles(one, other)
    return comparison_text(one, other)


def _difference(key, ours, theirs):
    """Returns the entries of `paired_differences` for one measure."""
    known = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs, tiles = ours[known], theirs[known], int(known.sum())
    differences, low, high = theirs - ours, None, None
    if tiles > 1:
        low, high = interval(draw_means(differences, np.ones(tiles), draw_counts(tiles)))
    better = differences < 0 if key in LOWER_IS_BETTER else differences > 0
    return {
        "one": float(ours.mean()),
        "other": float(theirs.mean()),
        "difference": float(differences.mean()),
        "low": low,
        "high": high,
        "better": None if key in NEITHER else int(better.sum()),
        "tiles": tiles,
    }


def _other_settings(one, other):
    """Returns a line for each setting in which the runs differ."""
    ours, theirs = one.metrics.get("settings", {}), other.metrics.get("settings", {})
    return [
        f"setting {name}: {ours.get(name)} / {theirs.get(name)}"
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]


def _values(row):
    """Returns a row of per_tile.csv with numbers; the tile's name stays text."""
    numbers = {key: float(text) if text else None for key, text in row.items() if key != "tile"}
    return {"tile": row["tile"], **numbers}


def _some(tiles):
    """Names the first tiles of a collection."""
    names = sorted(tiles)
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest
