"""The groups of pixels whose heights are measured separately."""

from collections.abc import Sequence

import numpy as np

from evaluation.measures.outlines import outline_band
from evaluation.measures.tile_maps import TileMaps

MID_RISE, HIGH_RISE = 15.0, 40.0  # metres: low < 15 <= mid < 40 <= high
GROUP_MEASURES = (
    "rmse_building",
    "rmse_matched",
    "low_rise_rmse",
    "mid_rise_rmse",
    "high_rise_rmse",
)
HEIGHT_BINS = {  # metres, true heights: from, below; None = no limit
    "below_1": (None, 1.0),
    "1_to_5": (1.0, 5.0),
    "5_to_10": (5.0, 10.0),
    "10_to_15": (10.0, 15.0),
    "15_to_25": (15.0, 25.0),
    "25_to_40": (25.0, 40.0),
    "from_40": (40.0, None),
}
OUTLINE_GROUPS = ("near_outline", "elsewhere")
DELTAS = ("delta1", "delta2", "delta3")
CONVENTIONS = {  # of `published_pairs`: the measures that are published under them
    "clipped": ("rmse", "mae", *DELTAS),
    "dfc2023": DELTAS,
    "true_above_0": ("rmse", "mae", *DELTAS),
    "either_above_3": ("rmse", "mae", *DELTAS),
}
CLIPPED_HEIGHT, SYNRS3D_CLIPPED_HEIGHT = 1e-5, 1e-6  # metres
REFUSED_HEIGHT = 999.0  # metres
HIGH_OBJECT = 3.0  # metres


def building_groups(tile: TileMaps, building_index: int | None) -> dict[str, np.ndarray]:
    """Divides the pixels of true buildings by true height and by whether they were found.

    Args:
        tile: whose predicted classes may be None.
        building_index: class index of buildings, or None.

    Returns:
        `GROUP_MEASURES` to bool (rows, columns); no pixels without labels or without a class of
        buildings.
    """
    none = np.zeros(tile.valid.shape, bool)
    if tile.classes is None or building_index is None:
        return dict.fromkeys(GROUP_MEASURES, none)
    building = tile.valid & (tile.classes == building_index)
    found = none if tile.predicted_classes is None else tile.predicted_classes == building_index
    low, high = tile.heights < MID_RISE, tile.heights >= HIGH_RISE
    masks = (building, building & found, building & low, building & ~low & ~high)
    return dict(zip(GROUP_MEASURES, (*masks, building & high), strict=True))


def class_groups(tile: TileMaps, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the pixels of each true class with a valid height; {} without labels."""
    if tile.classes is None:
        return {}
    return {name: tile.valid & (tile.classes == i) for i, name in enumerate(class_names)}


def bin_groups(tile: TileMaps) -> dict[str, np.ndarray]:
    """Returns the valid pixels of each of `HEIGHT_BINS`, by true height."""
    edges = [low for low, _ in HEIGHT_BINS.values() if low is not None]
    numbers = np.digitize(tile.heights, edges)
    return {name: tile.valid & (numbers == i) for i, name in enumerate(HEIGHT_BINS)}


def outline_groups(tile: TileMaps, building_index: int | None) -> dict[str, np.ndarray]:
    """Returns the valid pixels of each of `OUTLINE_GROUPS`; {} without true buildings."""
    if tile.classes is None or building_index is None:
        return {}
    band = outline_band(tile.classes, building_index)
    return dict(zip(OUTLINE_GROUPS, (tile.valid & band, tile.valid & ~band), strict=True))


def published_pairs(
    heights: np.ndarray, predicted: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns the pixels as published codes compare them; docs/metrics.md names the sources.

    clipped: heights <= 0 become 1e-5 m in truth and prediction, before every measure.
    dfc2023: the same, but predictions below 0 become 999 m. true_above_0: only pixels with a
    true height above 0. either_above_3: heights <= 0 become 1e-6 m in both, and only pixels with
    a true or predicted height above 3 m remain.

    Args:
        heights: float (pixels,), true heights, metres.
        predicted: float (pixels,), metres.

    Returns:
        `CONVENTIONS` to (true heights, predicted heights), each (remaining pixels,).
    """
    true, clipped = (
        np.where(values <= 0, CLIPPED_HEIGHT, values) for values in (heights, predicted)
    )
    above, either = heights > 0, (heights > HIGH_OBJECT) | (predicted > HIGH_OBJECT)
    high_true, high_predicted = (
        np.where(values <= 0, SYNRS3D_CLIPPED_HEIGHT, values)[either]
        for values in (heights, predicted)
    )
    return {
        "clipped": (true, clipped),
        "dfc2023": (true, np.where(predicted < 0, REFUSED_HEIGHT, clipped)),
        "true_above_0": (heights[above], predicted[above]),
        "either_above_3": (high_true, high_predicted),
    }
