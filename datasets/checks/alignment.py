"""By how many pixels the heights are shifted against the photo, from the edges of both."""

from dataclasses import dataclass

import cv2
import numpy as np

REACH = 16  # pixels: the largest shift that is tried
LEAST_SIZE = 2 * REACH + 32  # pixels: smaller pieces say nothing
STEEPEST = 0.5  # metres per pixel: steeper edges are limited to it, so roofs count like low walls
STRONGEST = 98  # percentile of the photo's edges: stronger ones are limited to it
# What makes a shift suspicious; docs/checking.md says how these values were chosen.
LEAST_SHIFT = 3.0  # pixels; smaller shifts come from leaning roofs, or from chance
LEAST_CORRELATION = 0.1  # of a single tile
LEAST_SHARPNESS = {"tile": 6.0, "split": 5.0}  # correlation / its standard deviation over shifts
LEAST_GAIN = 0.5  # share of the correlation that is lost without the shift


@dataclass(frozen=True)
class Offset:
    """The shift at which the heights match the photo best.

    Attributes:
        rows, columns: pixels to move the heights by, downwards and to the right.
        correlation: of the edges after that shift.
        at_zero: of the edges without a shift.
        sharpness: `correlation` in standard deviations over all shifts tried.
    """

    rows: int
    columns: int
    correlation: float
    at_zero: float
    sharpness: float

    def is_suspicious(self, scope: str = "tile") -> bool:
        """Returns whether photo and heights seem misaligned, in a "tile" or a whole "split"."""
        floor = LEAST_CORRELATION if scope == "tile" else 0.0
        return bool(
            np.hypot(self.rows, self.columns) > LEAST_SHIFT
            and self.correlation > floor
            and self.sharpness > LEAST_SHARPNESS[scope]
            and self.correlation - self.at_zero > LEAST_GAIN * self.correlation
        )


class MeanCorrelation:
    """The weighted mean of the correlations of several pieces."""

    def __init__(self):
        self._sum, self._weight = 0.0, 0

    def add(self, correlation: np.ndarray | None, weight: int = 1) -> None:
        """Adds a result of `edge_correlation`; None counts for nothing."""
        if correlation is not None:
            self._sum = self._sum + correlation * weight
            self._weight += weight

    @property
    def mean(self) -> np.ndarray | None:
        """Shaped as `edge_correlation` returns; None if no piece has edges."""
        return self._sum / self._weight if self._weight else None

    @property
    def offset(self) -> Offset | None:
        """`find_offset` of the mean."""
        return None if self.mean is None else find_offset(self.mean)


def edge_correlation(
    image: np.ndarray, has_image: np.ndarray, heights: np.ndarray, valid: np.ndarray
) -> np.ndarray | None:
    """Correlates the edges of photo and heights for every shift up to `REACH` pixels.

    An edge is the gradient with its angle doubled: it keeps its orientation, but light on dark
    equals dark on light (J. Bigun, G. Granlund, "Optimal orientation detection of linear
    symmetry", ICCV 1987). Roof lines match then, the texture of trees does not.

    Args:
        image: float32 (rows, columns, 3).
        has_image: bool (rows, columns).
        heights: float32 (rows, columns), metres.
        valid: bool (rows, columns), where heights are not NaN.

    Returns:
        float32 (2 REACH + 1, 2 REACH + 1), -1 to 1, with no shift in the middle; None if the piece
        is too small or has no edges.
    """
    if min(valid.shape) < LEAST_SIZE:
        return None
    grey_edges = _edges(image.mean(axis=-1), has_image)
    grey_edges = _limited(grey_edges, np.percentile(_strength(grey_edges), STRONGEST))
    height_edges = _limited(_edges(heights, valid), STEEPEST)
    inner = np.ascontiguousarray(height_edges[REACH:-REACH, REACH:-REACH])
    if not grey_edges.any() or not inner.any():
        return None
    return cv2.matchTemplate(grey_edges, inner, cv2.TM_CCORR_NORMED)


def find_offset(correlation: np.ndarray) -> Offset:
    """Finds the shift with the largest correlation.

    Args:
        correlation: float (2 REACH + 1, 2 REACH + 1), of `edge_correlation` or a mean of several.
    """
    row, column = np.unravel_index(np.argmax(correlation), correlation.shape)
    peak = float(correlation[row, column])
    spread = float(correlation.std())
    return Offset(
        rows=int(row) - REACH,
        columns=int(column) - REACH,
        correlation=peak,
        at_zero=float(correlation[REACH, REACH]),
        sharpness=peak / spread if spread > 0 else 0.0,
    )


def _edges(values, valid):
    """Returns float32 (rows, columns, 2): gradients per pixel with doubled angle; 0 at nodata."""
    filled = np.where(valid, values, 0).astype("float32")
    x, y = (cv2.Sobel(filled, cv2.CV_32F, *order, ksize=3) / 8 for order in ((1, 0), (0, 1)))
    inside = cv2.erode(valid.astype("uint8"), np.ones((3, 3), "uint8")).astype(bool)
    strength = np.where(inside, np.hypot(x, y), 0)
    scale = np.divide(1, strength, out=np.zeros_like(strength), where=strength > 1e-6)
    return np.stack([(x * x - y * y) * scale, 2 * x * y * scale], axis=-1)


def _strength(edges):
    return np.hypot(edges[..., 0], edges[..., 1])


def _limited(edges, limit):
    """Returns the edges with their strength limited."""
    scale = np.minimum(1, limit / np.maximum(_strength(edges), 1e-6))
    return edges * scale[..., None].astype("float32")
