"""Quantiles of any number of pixels from counts in fixed bins, which add up over tiles."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bins:
    """Bins of one width, centred on its multiples; values beyond count in the outermost bins.

    The counts of two sets of pixels add up to the counts of both. A quantile from them is at most
    half a bin off, unless it lies beyond the outermost centres.

    Attributes:
        width: in the unit of the values.
        lowest: centre of the first bin / width.
        highest: centre of the last bin / width.
    """

    width: float
    lowest: int
    highest: int

    @property
    def centres(self) -> np.ndarray:
        """float64 (bins,), the value that represents each bin."""
        return np.arange(self.lowest, self.highest + 1) * self.width

    def count(self, values: np.ndarray) -> np.ndarray:
        """Counts values by bin.

        Args:
            values: float (pixels,), finite.

        Returns:
            int64 (bins,).
        """
        nearest = np.rint(values / self.width).clip(self.lowest, self.highest)
        return np.bincount(nearest.astype("int64") - self.lowest, minlength=len(self.centres))


def quantile(values: np.ndarray, counts: np.ndarray, share: float) -> float:
    """Returns a quantile of repeated values, as `numpy.quantile` defines it.

    Args:
        values: float (bins,), ascending.
        counts: int (bins,), how often each value occurs; at least one does.
        share: 0 to 1; 0.5 = the median.

    Returns:
        The quantile, interpolated linearly between the two neighbouring values.
    """
    last = np.cumsum(counts)
    place = (last[-1] - 1) * share
    below = int(place)
    above = min(below + 1, int(last[-1]) - 1)
    low, high = values[np.searchsorted(last, (below, above), side="right")]
    return float(low + (high - low) * (place - below))


def absolute_quantile(
    values: np.ndarray, counts: np.ndarray, share: float, centre: float = 0.0
) -> float:
    """Returns a quantile of |value - centre|; the other arguments are those of `quantile`."""
    found = np.flatnonzero(counts)
    distances = np.abs(values[found] - centre)
    order = np.argsort(distances)
    return quantile(distances[order], counts[found][order], share)
