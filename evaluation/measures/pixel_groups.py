"""The groups of pixels whose heights are measured apart."""

import numpy as np

from evaluation.measures.outlines import outline_band

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
CONVENTIONS = {  # of `published_pairs`: what is published under them
    "clipped": ("rmse", "mae", *DELTAS),
    "dfc2023": DELTAS,
    "true_above_0": ("rmse", "mae", *DELTAS),
    "either_above_3": ("rmse", "mae", *DELTAS),
}
CLIPPED_HEIGHT, SYNRS3D_CLIPPED_HEIGHT = 1e-5, 1e-6  # metres
REFUSED_HEIGHT = 999.0  # metres
HIGH_OBJECT = 3.0  # metres


def building_groups(heights, valid, classes, predicted_classes, building_index):
    """Returns the pixels of true buildings, by what is known of them.

    Args:
        heights: float (rows, columns), true heights, metres.
        valid: bool (rows, columns).
        classes: int (rows, columns), true class indices, or None.
        predicted_classes: int (rows, columns), or None.
        building_index: int, class index of buildings, or None.

    Returns:
        dict of `GROUP_MEASURES` to bool (rows, columns); no pixels without labels or a
        building class.
    """
    none = np.zeros(valid.shape, bool)
    if classes is None or building_index is None:
        return dict.fromkeys(GROUP_MEASURES, none)
    building = valid & (classes == building_index)
    found = none if predicted_classes is None else predicted_classes == building_index
    low, high = heights < MID_RISE, heights >= HIGH_RISE
    masks = (building, building & found, building & low, building & ~low & ~high)
    return dict(zip(GROUP_MEASURES, (*masks, building & high), strict=True))


def class_groups(valid, classes, class_names):
    """Returns dict of class name to bool (rows, columns), its pixels with a valid height."""
    if classes is None:
        return {}
    return {name: valid & (classes == index) for index, name in enumerate(class_names)}


def bin_groups(heights, valid):
    """Returns dict of `HEIGHT_BINS` to bool (rows, columns), by true height."""
    numbers = np.digitize(heights, [low for low, _ in HEIGHT_BINS.values() if low is not None])
    return {name: valid & (numbers == i) for i, name in enumerate(HEIGHT_BINS)}


def outline_groups(valid, classes, building_index):
    """Returns dict of `OUTLINE_GROUPS` to bool (rows, columns); {} without true buildings."""
    if classes is None or building_index is None:
        return {}
    band = outline_band(classes, building_index)
    return dict(zip(OUTLINE_GROUPS, (valid & band, valid & ~band), strict=True))


def published_pairs(heights, predicted):
    """Returns the pixels as published codes compare them; sources in docs/metrics.md.

    clipped: heights <= 0 become 1e-5 m in truth and prediction, before every measure.
    dfc2023: the same, but predictions below 0 become 999 m. true_above_0: only pixels with a
    true height above 0. either_above_3: heights <= 0 become 1e-6 m in both, and only pixels with a
    true or predicted height above 3 m are left.

    Args:
        heights: float (pixels,), true heights, metres.
        predicted: float (pixels,), metres.

    Returns:
        dict of `CONVENTIONS` to (true heights, predicted heights), each (pixels left,).
    """
    both = heights, predicted
    true, clipped = (np.where(values <= 0, CLIPPED_HEIGHT, values) for values in both)
    above, either = heights > 0, (heights > HIGH_OBJECT) | (predicted > HIGH_OBJECT)
    return {
        "clipped": (true, clipped),
        "dfc2023": (true, np.where(predicted < 0, REFUSED_HEIGHT, clipped)),
        "true_above_0": tuple(values[above] for values in both),
        "either_above_3": tuple(
            np.where(values <= 0, SYNRS3D_CLIPPED_HEIGHT, values)[either] for values in both
        ),
    }
