"""How far heights lie beside the photo, by the edges of both."""

from dataclasses import dataclass

import cv2
import numpy as np

REACH = 16  # pixels: the largest shift that is looked for
LEAST_SIZE = 2 * REACH + 32  # pixels: smaller pieces say nothing
STEEPEST = 0.5  # metres per pixel, beyond which an edge counts no more: roofs and low walls alike
STRONGEST = 98  # percentile of the photo's edges, beyond which they count no more
# What makes a shift suspicious; see docs/checking.md on how these were chosen.
LEAST_SHIFT = 3.0  # pixels; what is less is the lean of roofs, or chance
LEAST_CORRELATION = 0.1  # of a single tile
LEAST_SHARPNESS = {"tile": 6.0, "split": 5.0}  # correlation / its standard deviation over shifts
LEAST_GAIN = 0.5  # share of the correlation that is lost without the shift


@dataclass(frozen=True)
class Offset:
    """Where the heights fit the photo best.

    Attributes:
        rows, columns: pixels by which the heights have to move, downwards and to the right.
        correlation: of the edges there.
        at_zero: the same without a shift.
        sharpness: `correlation` in standard deviations over all shifts looked at.
    """

    rows: int
    columns: int
    correlation: float
    at_zero: float
    sharpness: float

    def is_suspicious(self, scope="tile"):
        """Says whether photo and heights seem misaligned, as a "tile" or in the whole "split"."""
        floor = LEAST_CORRELATION if scope == "tile" else 0.0
        return bool(
            np.hypot(self.rows, self.columns) > LEAST_SHIFT
            and self.correlation > floor
            and self.sharpness > LEAST_SHARPNESS[scope]
            and self.correlation - self.at_zero > LEAST_GAIN * self.correlation
        )


def edge_correlation(image, has_image, heights, valid):
    """Correlates the edges of photo and heights for every shift up to `REACH` pixels.

    An edge is the gradient with its angle doubled, so that it keeps its direction while light on
    dark equals dark on light (as in J. Bigun, G. Granlund, "Optimal orientation detection of linear
    symmetry", ICCV 1987). Roof lines fit there, texture of trees does not.

    Args:
        image: float32 (rows, columns, 3).
        has_image: bool (rows, columns).
        heights: float32 (rows, columns), metres.
        valid: bool (rows, columns), where heights are not NaN.

    Returns:
        float32 (2 REACH + 1, 2 REACH + 1), -1 to 1, no shift in the middle; None where the piece
        is too small or without an edge.
    """
    if min(valid.shape) < LEAST_SIZE:
        return None
    grey_edges = _edges(image.mean(axis=-1), has_image)
    strength = np.hypot(grey_edges[..., 0], grey_edges[..., 1])
    grey_edges = _limited(grey_edges, strength, np.percentile(strength, STRONGEST))
    height_edges = _edges(heights, valid)
    height_edges = _limited(height_edges, np.hypot(*np.moveaxis(height_edges, -1, 0)), STEEPEST)
    inner = np.ascontiguousarray(height_edges[REACH:-REACH, REACH:-REACH])
    if not grey_edges.any() or not inner.any():
        return None
    return cv2.matchTemplate(grey_edges, inner, cv2.TM_CCORR_NORMED)


def find_offset(correlation):
    """Finds the shift with the largest correlation.

    Args:
        correlation: float (2 REACH + 1, 2 REACH + 1), of `edge_correlation` or a mean of several.

    Returns:
        `Offset`.
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


def _limited(edges, strength, limit):
    """Returns the edges with their strength limited."""
    return edges * np.minimum(1, limit / np.maximum(strength, 1e-6))[..., None].astype("float32")
