"""Two evaluated runs side by side, with the differences tile by tile."""

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.measures.bootstrap import column, draw_counts, draw_means, interval
from evaluation.report.tables import metrics_table, text_table
from project.errors import UserError
from project.files import read_json

LOWER_IS_BETTER = {  # column of per_tile.csv: label
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
NAMED = 5  # tiles that an error message names


class ComparisonError(UserError):
    """Two runs that cannot be compared."""


@dataclass(frozen=True)
class Run:
    """What an evaluation has written.

    Attributes:
        title: what the user calls the run.
        metrics: the content of metrics.json.
        rows: of per_tile.csv, in the order of the tiles' names.
    """

    title: str
    metrics: dict
    rows: list[dict]


def read_run(title: str, folder: Path) -> Run:
    """Reads the metrics.json and per_tile.csv of an evaluated run.

    Raises:
        ComparisonError: if one of the files is missing or damaged.
    """
    try:
        metrics = read_json(folder / "metrics.json")
        metrics_table({title: metrics})  # raises unless it has what the table shows
        with (folder / "per_tile.csv").open(newline="", encoding="utf-8") as file:
            rows = [_values(row) for row in csv.DictReader(file)]
        rows.sort(key=lambda row: (row["tile"], row["valid_pixels"]))
        return Run(title, metrics, rows)
    except FileNotFoundError as error:
        raise ComparisonError(
            f"{title}: there is no {error.filename}. Name two folders that test_dsm.py has "
            "written, such as --compare=test_mtl,test_dae."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise ComparisonError(f"{folder} is damaged ({error}). Evaluate the run again.") from None


def require_same_tiles(one: Run, other: Run) -> None:
    """Checks that two runs were measured on the same tiles, with as many valid pixels in each.

    Raises:
        ComparisonError: naming the tiles that only one of the runs has, or whose valid pixels
            differ.
    """
    ours, theirs = ({row["tile"]: row["valid_pixels"] for row in r.rows} for r in (one, other))
    problems = [
        f"only in {run.title}: {_some(tiles)}"
        for run, tiles in ((one, ours.keys() - theirs), (other, theirs.keys() - ours))
        if tiles
    ]
    changed = [tile for tile in ours if tile in theirs and ours[tile] != theirs[tile]]
    if changed:
        problems.append(f"with different valid pixels: {_some(changed)}")
    if problems:
        raise ComparisonError(
            f"{one.title} and {other.title} were measured on different tiles; "
            f"{'; '.join(problems)}. Evaluate both on the same data set and split."
        )


def paired_differences(one: Run, other: Run) -> list[dict]:
    """Estimates how two runs of the same tiles differ, from their differences on each tile.

    The bootstrap draws the same tiles for both runs, so that the difficulty of a tile cancels.

    Returns:
        For each measure a dict: measure, its label; one and other, the means over the tiles on
        which both runs have a value; difference = other - one; low and high, by bootstrap over
        tiles, None with fewer than two; better, the number of tiles on which other is better,
        None for a measure that has no better direction; tiles, their number.
    """
    measures = LOWER_IS_BETTER | HIGHER_IS_BETTER | NEITHER
    pairs = {key: (column(one.rows, key), column(other.rows, key)) for key in measures}
    return [
        {"measure": measures[key], **_difference(key, *pair)}
        for key, pair in pairs.items()
        if np.isfinite(np.subtract(*pair)).any()
    ]


def compare(titles: Sequence[str], folders: Sequence[Path]) -> str:
    """Reads two runs and returns their comparison as text for the terminal.

    Args:
        titles: what the user calls the two runs.
        folders: of their evaluations.

    Raises:
        ComparisonError: if a run cannot be read, or if they were measured on different tiles.
    """
    one, other = (read_run(*pair) for pair in zip(titles, folders, strict=True))
    require_same_tiles(one, other)
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


def _difference(key: str, ours: np.ndarray, theirs: np.ndarray) -> dict:
    """Returns the entries of `paired_differences` for one measure."""
    known = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs, tiles = ours[known], theirs[known], int(known.sum())
    differences = theirs - ours
    draws = draw_means(differences, np.ones(tiles), draw_counts(tiles))
    low, high = interval(draws) if tiles > 1 else (None, None)
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


def _other_settings(one: Run, other: Run) -> list[str]:
    """Returns a line for each setting in which the runs differ."""
    ours, theirs = one.metrics.get("settings", {}), other.metrics.get("settings", {})
    return [
        f"setting {name}: {ours.get(name)} / {theirs.get(name)}"
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]


def _values(row: dict[str, str]) -> dict:
    """Returns a row of per_tile.csv as numbers; the name of the tile stays text."""
    numbers = {key: float(text) if text else None for key, text in row.items() if key != "tile"}
    return {"tile": row["tile"], **numbers}


def _some(tiles: Collection[str]) -> str:
    """Names the first tiles of a collection."""
    names = sorted(tiles)
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest
