"""Buildings as objects: their outlines, and pairs of true and predicted ones."""

from dataclasses import astuple, dataclass

import cv2
import numpy as np

from evaluation.measures.tile_maps import TileMaps

OUTLINE_PIXELS = 3  # on either side
SMALLEST_IOU = 0.5  # of a matched pair
CONNECTIVITY = 4  # buildings that touch only at a corner are two buildings


def outline_band(classes: np.ndarray, building_index: int) -> np.ndarray:
    """Finds the pixels within 3 px of a building's outline.

    Such a pixel has a building pixel and a labelled pixel of another class within 3 px, measured
    from centre to centre; it may itself be one of the two. Pixels without a label and the tile's
    border form no outline.

    Args:
        classes: int (rows, columns), true class indices; below 0 = no label.
        building_index: class index of buildings.

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
        true: number of true buildings.
        predicted: number of predicted buildings.
        matched: number of pairs of a true and a predicted building.
        measured: number of pairs with valid heights.
        height_error: sum over these pairs of predicted - true median height, metres.
        squared_height_error: sum of its square, square metres.
        all_measured: number of true buildings with valid heights, matched or not.
        all_squared_height_error: sum of the squared errors over these, square metres.
    """

    true: int = 0
    predicted: int = 0
    matched: int = 0
    measured: int = 0
    height_error: float = 0.0
    squared_height_error: float = 0.0
    all_measured: int = 0
    all_squared_height_error: float = 0.0

    def __add__(self, other: "BuildingSums") -> "BuildingSums":
        pairs = zip(astuple(self), astuple(other), strict=True)
        return BuildingSums(*(ours + theirs for ours, theirs in pairs))

    def measures(self) -> dict[str, float | None]:
        """Returns the measures of these buildings; None where there is nothing to measure.

        Returns:
            The counts true, predicted and matched; precision = matched / predicted, recall =
            matched / true, f1 = 2 matched / (predicted + true); height_rmse and height_bias of the
            pairs' median heights, and all_height_rmse of those of all true buildings, metres.
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


def _mean(total: float, count: int, power: float = 1) -> float | None:
    """Returns (total / count) ** power, or None if there is nothing to count."""
    return (total / count) ** power if count else None


def building_sums(tile: TileMaps, building_index: int | None) -> BuildingSums:
    """Matches the true and predicted buildings of a tile by IoU, each with at most one other.

    A building is a connected component of labelled pixels (4 neighbours), whatever its size; a
    pair has an IoU of at least 0.5. A building's heights are the medians of true and predicted
    heights over the true building's valid pixels, as in HTC-DC Net's code (compute_median).

    Args:
        tile: its maps.
        building_index: class index of buildings, or None.

    Returns:
        The sums; all 0 without labels, predicted classes or a class of buildings.
    """
    if building_index is None or tile.classes is None or tile.predicted_classes is None:
        return BuildingSums()
    labelled = tile.classes >= 0
    true, found = (
        labelled & (classes == building_index) for classes in (tile.classes, tile.predicted_classes)
    )
    count, labels = cv2.connectedComponents(true.astype("uint8"), connectivity=CONNECTIVITY)
    found_count, found_labels = cv2.connectedComponents(
        found.astype("uint8"), connectivity=CONNECTIVITY
    )
    matched = _matched_labels(labels, found_labels)
    measured = tile.valid & (labels > 0)
    errors = _medians(labels[measured], tile.predicted_heights[measured])
    errors -= _medians(labels[measured], tile.heights[measured])
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


def _matched_labels(labels: np.ndarray, found_labels: np.ndarray) -> np.ndarray:
    """Returns the labels of the true buildings that have a partner, int (pairs,), ascending."""
    sizes, found_sizes = np.bincount(labels.ravel()), np.bincount(found_labels.ravel())
    both = (labels > 0) & (found_labels > 0)
    meetings = labels[both].astype("int64") * found_sizes.size + found_labels[both]
    meetings, shared = np.unique(meetings, return_counts=True)
    label, found_label = np.divmod(meetings, found_sizes.size)
    union = sizes[label] + found_sizes[found_label] - shared
    close = shared >= SMALLEST_IOU * union
    # A building can have two partners only if both pairs have an IoU of exactly 0.5.
    first = np.unique(found_label[close], return_index=True)[1]
    return np.unique(label[close][first])


def _medians(labels: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Returns the median height of each label, in ascending order: float64 (labels,)."""
    order = np.argsort(labels, kind="stable")
    starts = np.unique(labels[order], return_index=True)[1]
    parts = np.split(heights[order], starts)[1:]
    return np.array([np.median(part) for part in parts], "float64")
