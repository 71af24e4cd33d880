"""Angles between predicted and true surface normals."""

from dataclasses import dataclass

import numpy as np

from evaluation.measures.histograms import Bins, quantile

ANGLE_BINS = Bins(0.01, 0, 18_000)  # degrees
ANGLE_THRESHOLDS = {"within_11_25": 11.25, "within_22_5": 22.5, "within_30": 30.0}  # degrees


@dataclass(frozen=True)
class NormalSums:
    """Sums over a set of pixels; `a + b` are the sums of both sets together.

    Attributes:
        pixels: their number.
        angle: sum of the angles, degrees.
        squared_angle: sum of their squares, square degrees.
        close: int64 (3,), pixels within each of `ANGLE_THRESHOLDS`.
        histogram: int64 (bins,), pixels by angle in `ANGLE_BINS`.
    """

    pixels: int
    angle: float
    squared_angle: float
    close: np.ndarray
    histogram: np.ndarray

    def __add__(self, other: "NormalSums") -> "NormalSums":
        return NormalSums(
            self.pixels + other.pixels,
            self.angle + other.angle,
            self.squared_angle + other.squared_angle,
            self.close + other.close,
            self.histogram + other.histogram,
        )

    def measures(self) -> dict[str, float | None]:
        """Returns the six measures of Fouhey, Gupta, Hebert (2013, doi:10.1109/ICCV.2013.421).

        Returns:
            valid_pixels; mean_angle, median_angle (at most 0.005 off) and rmse_angle, degrees;
            within_11_25, within_22_5 and within_30, the share of pixels with an angle below so
            many degrees. None without pixels.
        """
        names = ("mean_angle", "median_angle", "rmse_angle", *ANGLE_THRESHOLDS)
        if self.pixels == 0:
            return {"valid_pixels": 0, **dict.fromkeys(names)}
        mean, square = self.angle / self.pixels, self.squared_angle / self.pixels
        median = quantile(ANGLE_BINS.centres, self.histogram, 0.5)
        shares = (self.close / self.pixels).tolist()
        values = dict(zip(names, (mean, median, square**0.5, *shares), strict=True))
        return {"valid_pixels": self.pixels, **values}


def normal_sums(normals: np.ndarray, predicted: np.ndarray) -> NormalSums:
    """Sums up the angles between normals.

    angle = atan2(|n x m|, n . m) in degrees, which does not depend on the vectors' exact lengths.
    The arccos of the product of float32 unit vectors would be up to 0.03 degrees off near 0.

    Args:
        normals: float (pixels, 3), true unit normals, finite.
        predicted: float (pixels, 3), predicted unit normals, finite.
    """
    normals, predicted = np.asarray(normals, "float64"), np.asarray(predicted, "float64")
    sines = np.linalg.norm(np.cross(normals, predicted), axis=-1)
    angles = np.degrees(np.arctan2(sines, (normals * predicted).sum(axis=-1)))
    return NormalSums(
        angles.size,
        float(angles.sum()),
        float(np.square(angles).sum()),
        np.array([(angles < limit).sum() for limit in ANGLE_THRESHOLDS.values()]),
        ANGLE_BINS.count(angles),
    )
