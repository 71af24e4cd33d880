"""Confidence intervals by drawing tiles with replacement: the bootstrap (Efron 1979)."""

from collections.abc import Sequence

import numpy as np

from evaluation.measures.class_metrics import mean_ious

LEVEL = 0.95  # percentile interval
DRAWS = 1000
SEED = 0
HEADLINE = ("rmse", "mae", "bias", "delta1")


def draw_counts(tiles: int) -> np.ndarray:
    """Draws as many tiles as there are, with replacement.

    Args:
        tiles: their number.

    Returns:
        int64 (`DRAWS`, tiles), how often each draw has each tile; the same in every call.
    """
    return np.random.default_rng(SEED).multinomial(tiles, np.full(tiles, 1 / tiles), DRAWS)


def interval(values: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """Returns (low, high), the percentiles that hold `LEVEL` of the draws.

    Args:
        values: float (draws,); NaN = a draw without value, which is left out.

    Returns:
        The two values; (None, None) if no draw has a value.
    """
    values = values[np.isfinite(values)]
    if not values.size:
        return None, None
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def draw_means(values: np.ndarray, weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns the weighted mean of each draw.

    Args:
        values: float (tiles,); NaN = the tile has no value.
        weights: float (tiles,), such as the number of pixels.
        counts: int (draws, tiles) of `draw_counts`.

    Returns:
        float64 (draws,); NaN where no tile of the draw has a value.
    """
    known = np.isfinite(values)
    drawn = counts[:, known] * weights[known]
    total = drawn.sum(axis=1)
    return np.divide(drawn @ values[known], total, np.full(len(counts), np.nan), where=total > 0)


def column(rows: Sequence[dict], key: str) -> np.ndarray:
    """Returns the cells of a column as float64 (tiles,), NaN where a cell is None or missing."""
    return np.array([np.nan if row.get(key) is None else row[key] for row in rows], "float64")


def headline_intervals(rows: Sequence[dict], confusions: np.ndarray) -> dict | None:
    """Estimates how far the headline would move with other tiles of the same kind.

    Whole tiles are drawn, since the errors of neighbouring pixels are correlated. The intervals
    are percentile intervals; with few tiles they are too narrow.

    Args:
        rows: of per_tile.csv.
        confusions: int (tiles, classes, classes).

    Returns:
        level, draws, and mean_of_tiles and pooled: each maps rmse, mae, bias, delta1 and miou to
        a dict of value, low, high. None with fewer than two tiles.
    """
    if len(rows) < 2:
        return None
    values = _headline(rows, confusions, np.ones((1, len(rows)), int))
    drawn = _headline(rows, confusions, draw_counts(len(rows)))
    return {"level": LEVEL, "draws": DRAWS} | {
        kind: {key: _entry(value, drawn[kind][key]) for key, value in found.items()}
        for kind, found in values.items()
    }


def _headline(
    rows: Sequence[dict], confusions: np.ndarray, counts: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Returns mean_of_tiles and pooled: measure to float64 (draws,), of draws with these counts."""
    tiles, pixels = np.ones(len(rows)), column(rows, "valid_pixels")
    cells = {key: column(rows, key) for key in ("mse", *HEADLINE, "miou")}
    pooled = {key: draw_means(cells[key], pixels, counts) for key in HEADLINE}
    pooled["rmse"] = draw_means(cells["mse"], pixels, counts) ** 0.5
    pooled["miou"] = mean_ious(np.tensordot(counts, confusions, 1))
    means = {key: draw_means(cells[key], tiles, counts) for key in (*HEADLINE, "miou")}
    return {"mean_of_tiles": means, "pooled": pooled}


def _entry(value: np.ndarray, draws: np.ndarray) -> dict[str, float | None]:
    """Returns value, low and high."""
    low, high = interval(draws)
    return {"value": float(value[0]) if np.isfinite(value[0]) else None, "low": low, "high": high}
