"""Overlapping windows: where they lie, how they are weighted, and a tile predicted from them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

ROUNDING = 1e-6  # pixels; 0.9 of 320 px overlaps by 288 px, not by 289
SMALLEST_WEIGHT = 1e-6  # of one axis; keeps a pixel that only one corner covers away from 0 / 0


def window_origins(length, window, step):
    """Lists where windows start along one axis so that they cover it.

    Args:
        length: int, pixels of the axis.
        window: int, pixels of a window.
        step: int, pixels from one window to the next, at most `window`.

    Returns:
        list of int: 0, step, 2 * step, ..., the last one aligned to the end; [0] where one
        window is enough.

    Raises:
        ValueError: if an argument is below 1, or the step leaves gaps between windows.
    """
    if min(length, window, step) < 1 or step > window:
        raise ValueError(
            f"Got length {length}, window {window}, step {step}; expected positive pixel counts "
            "and a step of at most one window. Choose a smaller step (a larger overlap)."
        )
    if length <= window:
        return [0]
    return [*range(0, length - window, step), length - window]


def blend_weights(window, sigma=0.2):
    """Makes the weights with which overlapping windows are averaged.

    exp(-(x^2 + y^2) / (2 sigma^2)) on a grid from -1 to 1 in both axes, as in the published
    DSMNet code: the middle of a window counts most, because a network sees least at its border.

    Args:
        window: int, pixels.
        sigma: float > 0, width of the Gaussian as a share of half a window.

    Returns:
        float32 (window, window), all > 0; the scale is arbitrary.

    Raises:
        ValueError: if `window` or `sigma` is not positive.
    """
    if window < 1 or sigma <= 0:
        raise ValueError(f"Expected window >= 1 and sigma > 0, got {window} and {sigma}.")
    axis = np.linspace(-1.0, 1.0, window) if window > 1 else np.zeros(1)
    profile = np.maximum(np.exp(-np.square(axis) / (2.0 * sigma**2)), SMALLEST_WEIGHT)
    return np.outer(profile, profile).astype("float32")


@dataclass(frozen=True)
class Windows:
    """Where the windows of an image lie.

    An axis shorter than the window is padded equally on both sides; origins count in the padded
    image.

    Attributes:
        rows, columns: int, pixels of the image.
        size: int, pixels of a window.
        overlap: float in [0, 1), share of a window; step = size * (1 - overlap), rounded
            down, as the published code does.
    """

    rows: int
    columns: int
    size: int
    overlap: float

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"Got window_size {self.size}; expected at least 1 pixel.")
        if not 0 <= self.overlap < 1:
            raise ValueError(
                f"overlap is {self.overlap}; expected a share of the window from 0 to below 1, "
                "such as 0.5."
            )

    @property
    def step(self):
        """Pixels from one window to the next."""
        return max(1, int(self.size * (1 - self.overlap) + ROUNDING))

    @cached_property
    def padding(self):
        """Pixels added: ((above, below), (left, right))."""
        missing = (max(0, self.size - length) for length in (self.rows, self.columns))
        return tuple((count // 2, count - count // 2) for count in missing)

    @cached_property
    def row_origins(self):
        """Upper rows of the rows of windows, in the padded image."""
        return window_origins(max(self.rows, self.size), self.size, self.step)

    @cached_property
    def column_origins(self):
        """Left columns of the windows of a row, in the padded image."""
        return window_origins(max(self.columns, self.size), self.size, self.step)

    @property
    def count(self):
        """Number of windows."""
        return len(self.row_origins) * len(self.column_origins)

    @cached_property
    def weights(self):
        """float32 (size, size, 1) of `blend_weights`."""
        return blend_weights(self.size)[..., None]

    def last_row(self, number):
        """Returns the end of the image's rows that are done after row `number` of windows."""
        above = self.padding[0][0]
        following = self.row_origins[number + 1 : number + 2]
        return min(self.rows, following[0] - above if following else self.rows)

    def first_number(self, row):
        """Returns the number of the first row of windows that reaches below `row` of the image."""
        row += self.padding[0][0]
        return next(i for i, origin in enumerate(self.row_origins) if origin + self.size > row)
