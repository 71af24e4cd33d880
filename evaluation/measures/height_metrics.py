"""Height measures from sums that add up over tiles and groups of pixels."""

from dataclasses import dataclass

import numpy as np

from evaluation.measures.histograms import Bins, absolute_quantile, quantile

ERROR_MEASURES = ("bias", "median_error", "nmad", "p90_absolute_error")
HEIGHT_MEASURES = ("rmse", "mae", "mse", "r2", "delta1", "delta2", "delta3", *ERROR_MEASURES)
DELTA_THRESHOLDS = (1.25, 1.25**2, 1.25**3)
SMALLEST_HEIGHT = 1e-5  # metres; ratios need positive heights
ERROR_BINS = Bins(0.01, -30_000, 30_000)  # metres: 1 cm, -300 m to 300 m
NORMAL_MAD = 1.4826  # standard deviation / median absolute deviation of a normal distribution


@dataclass(frozen=True)
class HeightSums:
    """Sums over a set of pixels; `a + b` are the sums of both sets together.

    Attributes:
        pixels: their number.
        error: sum of predicted - true, metres.
        absolute_error: sum of |predicted - true|, metres.
        squared_error: sum of (predicted - true)^2, square metres.
        mean: mean true height, metres.
        spread: sum of (true - mean)^2, square metres.
        close: number of pixels within each of `DELTA_THRESHOLDS`.
        histogram: int64 (bins,), pixels by predicted - true in `ERROR_BINS`; None = no pixels.
    """

    pixels: int = 0
    error: float = 0.0
    absolute_error: float = 0.0
    squared_error: float = 0.0
    mean: float = 0.0
    spread: float = 0.0
    close: tuple[int, ...] = (0, 0, 0)
    histogram: np.ndarray | None = None

    def __add__(self, other: "HeightSums") -> "HeightSums":
        """Merges two sets; mean and spread by Chan, Golub, LeVeque (1979), free of cancellation."""
        if self.histogram is None or other.histogram is None:
            return self if self.pixels else other
        pixels = self.pixels + other.pixels
        shift = other.mean - self.mean
        share = other.pixels / pixels
        return HeightSums(
            pixels,
            self.error + other.error,
            self.absolute_error + other.absolute_error,
            self.squared_error + other.squared_error,
            self.mean + shift * share,
            self.spread + other.spread + shift**2 * self.pixels * share,
            tuple(a + b for a, b in zip(self.close, other.close, strict=True)),
            self.histogram + other.histogram,
        )

    def measures(self) -> dict[str, float | None]:
        """Returns the height measures of these pixels; None where there is nothing to measure.

        mse = mean of (predicted - true)^2, rmse its root, mae = mean of |predicted - true|,
        r2 = 1 - SSE / SST with SST about the mean true height of the same pixels (None where
        all true heights are equal), delta_i = share of pixels whose larger ratio of predicted
        and true height is below 1.25^i (see `height_sums`), bias = mean of predicted - true,
        median_error its median, nmad = 1.4826 x median of |error - median_error|,
        p90_absolute_error = 90th percentile of |error| (Höhle and Höhle 2009,
        doi:10.1016/j.isprsjprs.2009.02.003). The last three come from `ERROR_BINS`: within
        300 m, median and percentile are at most 0.5 cm off, nmad at most 1.5 cm.

        Returns:
            `HEIGHT_MEASURES`: mse in square metres, r2 and delta_i without unit, the others in
            metres.
        """
        if self.histogram is None:
            return dict.fromkeys(HEIGHT_MEASURES)
        mse = self.squared_error / self.pixels
        r2 = 1.0 - self.squared_error / self.spread if self.spread > 0 else None
        deltas = [count / self.pixels for count in self.close]
        centres = ERROR_BINS.centres
        median = quantile(centres, self.histogram, 0.5)
        errors = (
            self.error / self.pixels,
            median,
            NORMAL_MAD * absolute_quantile(centres, self.histogram, 0.5, median),
            absolute_quantile(centres, self.histogram, 0.9),
        )
        values = (mse**0.5, self.absolute_error / self.pixels, mse, r2, *deltas, *errors)
        return dict(zip(HEIGHT_MEASURES, values, strict=True))


def height_sums(heights: np.ndarray, predicted: np.ndarray) -> HeightSums:
    """Sums up one set of pixels, in float64.

    For delta only, heights <= 0 become 1e-5 m in truth and prediction, as in the published
    tables: flat ground that is predicted as 0 or less counts as right.

    Args:
        heights: float (pixels,), true heights, metres, finite.
        predicted: float (pixels,), metres, finite.
    """
    if heights.size == 0:
        return HeightSums()
    heights, predicted = heights.astype("float64"), predicted.astype("float64")
    error = predicted - heights
    # Relative to the first height, so that the spread of equal heights is exactly 0.
    relative = heights - heights[0]
    return HeightSums(
        heights.size,
        float(error.sum()),
        float(np.abs(error).sum()),
        float(np.square(error).sum()),
        float(heights[0] + relative.mean()),
        float(np.square(relative - relative.mean()).sum()),
        _close_pixels(heights, predicted),
        ERROR_BINS.count(error),
    )


def _close_pixels(heights: np.ndarray, predicted: np.ndarray) -> tuple[int, ...]:
    """Counts the pixels within each of `DELTA_THRESHOLDS`."""
    true = np.where(heights <= 0, SMALLEST_HEIGHT, heights)
    guess = np.where(predicted <= 0, SMALLEST_HEIGHT, predicted)
    ratio = np.maximum(guess / true, true / guess)
    return tuple(int((ratio < threshold).sum()) for threshold in DELTA_THRESHOLDS)
