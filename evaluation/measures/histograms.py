"""Quantiles of any number of pixels from counts in fixed bins, which add up over tiles."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bins:
    """Bins of one width, centred on its multiples; what lies beyond counts in the outermost.

    Counts of two sets of pixels add up to the counts of both. A quantile from them is at most
    half a bin off, so long as it is not beyond the outermost centres.

    Attributes:
        width: float, in the unit of the values.
        lowest: int, the first bin's centre in widths.
        highest: int, the last bin's centre in widths.
    """

    width: float
    lowest: int
    highest: int

    @property
    def centres(self):
        """Returns float64 (bins,), the value that stands for each bin."""
        return np.arange(self.lowest, self.highest + 1) * self.width

    def count(self, values):
        """Counts values by bin.

        Args:
            values: float (pixels,), finite.

        Returns:
            int64 (bins,).
        """
        nearest = np.rint(values / self.width).clip(self.lowest, self.highest)
        return np.bincount(nearest.astype("int64") - self.lowest, minlength=len(self.centres))


def quantile(values, counts, share):
    """Returns a quantile of repeated values, as `numpy.quantile` defines it.

    Args:
        values: float (bins,), ascending.
        counts: int (bins,), how often each value occurs; at least one does.
        share: float, 0 to 1; 0.5 = the median.

    Returns:
        float: linear between the two neighbouring values.
    """
    last = np.cumsum(counts)
    place = (last[-1] - 1) * share
    below = int(place)
    above = min(below + 1, int(last[-1]) - 1)
    low, high = values[np.searchsorted(last, (below, above), side="right")]
    return float(low + (high - low) * (place - below))


def absolute_quantile(values, counts, share, centre=0.0):
    """Returns a quantile of |value - centre|; arguments as of `quantile`."""
    found = np.flatnonzero(counts)
    distances = np.abs(values[found] - centre)
    order = np.argsort(distances)
    return quantile(distances[order], counts[found][order], share)
