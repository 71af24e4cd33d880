"""Buildings as objects: their outlines, and pairs of true and predicted ones."""

from dataclasses import astuple, dataclass

import cv2
import numpy as np

OUTLINE_PIXELS = 3  # to either side
SMALLEST_IOU = 0.5  # of a matched pair
CONNECTIVITY = 4  # buildings that touch at a corner are two


def outline_band(classes, building_index):
    """Finds the pixels within 3 px of a building's outline.

    They have a building pixel and a labelled pixel of another class within 3 px (themselves
    included), from centre to centre. Pixels without label and the tile's border make no outline.

    Args:
        classes: int (rows, columns), true class indices; below 0 = no label.
        building_index: int.

    Returns:
        bool (rows, columns).
    """
    offsets = np.arange(-OUTLINE_PIXELS, OUTLINE_PIXELS + 1)
    disc = (np.hypot(*np.meshgrid(offsets, offsets)) <= OUTLINE_PIXELS).astype("uint8")
    building = classes == building_index
    near, near_others = (
        cv2.dilate(mask.astype("uint8"), disc).astype(bool)
        for mask in (building, (classes >= 0) & ~building)
    )
    return near & near_others


@dataclass(frozen=True)
class BuildingSums:
    """Counts of buildings; `a + b` are those of both sets of tiles.

    Attributes:
        true: int, true buildings.
        predicted: int, predicted buildings.
        matched: int, pairs of both.
        measured: int, pairs with valid heights.
        height_error: float, sum over these of predicted - true median height, metres.
        squared_height_error: float, sum of its square, square metres.
        all_measured: int, true buildings with valid heights, matched or not.
        all_squared_height_error: float, as above, over these.
    """

    true: int = 0
    predicted: int = 0
    matched: int = 0
    measured: int = 0
    height_error: float = 0.0
    squared_height_error: float = 0.0
    all_measured: int = 0
    all_squared_height_error: float = 0.0

    def __add__(self, other):
        pairs = zip(astuple(self), astuple(other), strict=True)
        return BuildingSums(*(ours + theirs for ours, theirs in pairs))

    def measures(self):
        """Returns the measures of these buildings; None where there is nothing to measure.

        Returns:
            dict: true, predicted, matched (int), precision = matched / predicted, recall =
            matched / true, f1 = 2 matched / (predicted + true), height_rmse and height_bias
            (metres) of the pairs' median heights, all_height_rmse of all true buildings'.
        """
        return {
            "true": self.true,
            "predicted": self.predicted,
            "matched": self.matched,
            "precision": _mean(self.matched, self.predicted),
            "recall": _mean(self.matched, self.true),
            "f1": _mean(2 * self.matched, self.true + self.predicted),
            "height_rmse": _mean(self.squared_height_error, self.measured, 0.5),
            "height_bias": _mean(self.height_error, self.measured),
            "all_height_rmse": _mean(self.all_squared_height_error, self.all_measured, 0.5),
        }


def _mean(total, count, power=1):
    """Returns (total / count) ** power, or None if there is nothing to count."""
    return (total / count) ** power if count else None


def building_sums(true, found, heights, predicted, valid):
    """Matches the buildings of a tile by IoU, each with one other at most.

    A building is a connected component of its mask (4 neighbours), whatever its size; a pair has
    an IoU of at least 0.5. A building's heights are the medians of true and predicted heights
    over the true building's valid pixels, as in HTC-DC Net's code (compute_median).

    Args:
        true: bool (rows, columns), True on buildings.
        found: bool (rows, columns), True on predicted buildings.
        heights: float (rows, columns), true heights, metres; anything where not valid.
        predicted: float (rows, columns), metres; anything where not valid.
        valid: bool (rows, columns).

    Returns:
        `BuildingSums`.
    """
    count, labels = cv2.connectedComponents(true.astype("uint8"), connectivity=CONNECTIVITY)
    found_count, found_labels = cv2.connectedComponents(
        found.astype("uint8"), connectivity=CONNECTIVITY
    )
    matched = _matched_labels(labels, found_labels)
    measured = valid & (labels > 0)
    errors = _medians(labels[measured], predicted[measured])
    errors -= _medians(labels[measured], heights[measured])
    pairs = errors[np.isin(np.unique(labels[measured]), matched)]
    return BuildingSums(
        count - 1,  # 0 is the background
        found_count - 1,
        len(matched),
        pairs.size,
        float(pairs.sum()),
        float(np.square(pairs).sum()),
        errors.size,
        float(np.square(errors).sum()),
    )


def _matched_labels(labels, found_labels):
    """Returns the labels of the true buildings that have a partner, int (pairs,)."""
    sizes, found_sizes = np.bincount(labels.ravel()), np.bincount(found_labels.ravel())
    both = (labels > 0) & (found_labels > 0)
    meetings = labels[both].astype("int64") * found_sizes.size + found_labels[both]
    meetings, shared = np.unique(meetings, return_counts=True)
    label, found_label = np.divmod(meetings, found_sizes.size)
    union = sizes[label] + found_sizes[found_label] - shared
    close = shared >= SMALLEST_IOU * union
    # Exactly 0.5 is the only IoU that two partners of one building can have.
    first = np.unique(found_label[close], return_index=True)[1]
    return np.unique(label[close][first])


def _medians(labels, heights):
    """Returns the median height of each label, in ascending order: float64 (labels,)."""
    order = np.argsort(labels, kind="stable")
    starts = np.unique(labels[order], return_index=True)[1]
    parts = np.split(heights[order], starts)[1:]
    return np.array([np.median(part) for part in parts], "float64")
