"""Confidence intervals by drawing tiles with replacement: the bootstrap (Efron 1979)."""

import numpy as np

from evaluation.measures.class_metrics import mean_ious

LEVEL = 0.95  # percentile interval
DRAWS = 1000
SEED = 0
HEADLINE = ("rmse", "mae", "bias", "delta1")


def draw_counts(tiles):
    """Draws tiles, as many as there are, with replacement.

    Args:
        tiles: int, their number.

    Returns:
        int64 (`DRAWS`, tiles), how often each draw has each tile; always the same.
    """
    return np.random.default_rng(SEED).multinomial(tiles, np.full(tiles, 1 / tiles), DRAWS)


def interval(values):
    """Returns (low, high), the percentiles that hold `LEVEL` of the draws.

    Args:
        values: float (draws,); NaN = a draw without value, left out.

    Returns:
        Two floats; None and None without values.
    """
    values = values[np.isfinite(values)]
    if not values.size:
        return None, None
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def draw_means(values, weights, counts):
    """Returns the weighted mean of each draw.

    Args:
        values: float (tiles,); NaN = the tile has no value.
        weights: float (tiles,), such as the tile's pixels.
        counts: int (draws, tiles) of `draw_counts`.

    Returns:
        float64 (draws,); NaN where no tile of the draw has a value.
    """
    known = np.isfinite(values)
    drawn = counts[:, known] * weights[known]
    total = drawn.sum(axis=1)
    return np.divide(drawn @ values[known], total, np.full(len(counts), np.nan), where=total > 0)


def column(rows, key):
    """Returns the cells of a column as float64 (tiles,), NaN where there is none."""
    return np.array([np.nan if row.get(key) is None else row[key] for row in rows], "float64")


def headline_intervals(rows, confusions):
    """Estimates how far the headline would move with other tiles of the same kind.

    Tiles are drawn whole, since neighbouring pixels err together. The interval is that of the
    percentiles; few tiles make it too narrow.

    Args:
        rows: list of dict of per_tile.csv.
        confusions: int (tiles, classes, classes), or a list of such matrices.

    Returns:
        dict: level, draws, and mean_of_tiles and pooled, dicts of rmse, mae, bias, delta1 and
        miou to dict of value, low, high. None with fewer than two tiles.
    """
    if len(rows) < 2:
        return None
    counts, once = draw_counts(len(rows)), np.ones((1, len(rows)))
    pixels = column(rows, "valid_pixels")
    drawn, value = ({"mean_of_tiles": {}, "pooled": {}} for _ in range(2))
    for found, tiles in ((drawn, counts), (value, once)):
        for key in (*HEADLINE, "miou"):
            found["mean_of_tiles"][key] = draw_means(column(rows, key), np.ones(len(rows)), tiles)
        found["pooled"]["rmse"] = draw_means(column(rows, "mse"), pixels, tiles) ** 0.5
        for key in HEADLINE[1:]:
            found["pooled"][key] = draw_means(column(rows, key), pixels, tiles)
        found["pooled"]["miou"] = mean_ious(np.tensordot(tiles, confusions, 1))
    return {"level": LEVEL, "draws": DRAWS} | {
        kind: {key: _entry(value[kind][key], draws) for key, draws in found.items()}
        for kind, found in drawn.items()
    }


def _entry(value, draws):
    """Returns dict of value, low and high."""
    low, high = interval(draws)
    return {"value": float(value[0]) if np.isfinite(value[0]) else None, "low": low, "high": high}
