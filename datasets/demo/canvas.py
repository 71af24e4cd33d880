"""The canvas on which a scene is built: what stands where, how high, in which colour.

Positions are metres from the canvas' north-west corner: x to the east, y to the south.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Window = tuple[slice, slice]  # rows, columns

GROUND, VEGETATION, BUILDING = 1, 2, 3  # label codes


@dataclass(frozen=True)
class Rect:
    """A turned rectangle.

    Attributes:
        x, y: centre, metres.
        angle: radians from the x axis towards the y axis, to the direction "along".
        length, width: metres along and across.
    """

    x: float
    y: float
    angle: float
    length: float
    width: float

    def part(self, along: float, across: float, length: float, width: float) -> "Rect":
        """Returns a rectangle of that size whose centre lies there in the axes of this one."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        x = self.x + along * cosine - across * sine
        y = self.y + along * sine + across * cosine
        return Rect(x, y, self.angle, length, width)

    def turned(self) -> "Rect":
        """Returns the same area with along and across exchanged."""
        return Rect(self.x, self.y, self.angle + np.pi / 2, self.width, self.length)


class Canvas:
    """A scene in the making; all arrays are (rows, columns) or (rows, columns, 3).

    Attributes:
        terrain: float32, metres.
        gsd: metres per pixel.
        lumps: float32, smooth noise about 0 with deviation 1: the texture of crowns.
        heights: float32, metres above the terrain.
        labels: uint8 label codes.
        colours: float32, linear reflectance 0 to 1.
        taken: bool, True where no further building may stand.
    """

    def __init__(self, terrain: np.ndarray, gsd: float, lumps: np.ndarray):
        self.terrain = terrain
        self.gsd = gsd
        self.lumps = lumps
        self.heights = np.zeros(terrain.shape, "float32")
        self.labels = np.full(terrain.shape, GROUND, "uint8")
        self.colours = np.full((*terrain.shape, 3), 0.2, "float32")
        self.taken = np.zeros(terrain.shape, bool)

    def frame(self, rect: Rect, margin: float = 0.0) -> tuple[Window, np.ndarray, np.ndarray]:
        """Returns the window around a rectangle and the coordinates in its axes.

        Args:
            rect: the rectangle.
            margin: metres around it.

        Returns:
            (window, along, across): the window, empty outside the canvas, and two float32 arrays
            of its shape, metres from the centre of the rectangle.
        """
        reach = np.hypot(rect.length, rect.width) / 2 + margin
        rows = span(rect.y, reach, self.gsd, self.terrain.shape[0])
        columns = span(rect.x, reach, self.gsd, self.terrain.shape[1])
        y = (np.arange(rows.start, rows.stop, dtype="float32")[:, None] + 0.5) * self.gsd - rect.y
        x = (np.arange(columns.start, columns.stop, dtype="float32") + 0.5) * self.gsd - rect.x
        cosine, sine = np.float32(np.cos(rect.angle)), np.float32(np.sin(rect.angle))
        return (rows, columns), x * cosine + y * sine, y * cosine - x * sine

    def inside(self, rect: Rect, margin: float = 0.0) -> tuple[Window, np.ndarray]:
        """Returns (window, mask) of a rectangle and `margin` metres around it."""
        window, along, across = self.frame(rect, 2 * margin)
        mask = abs(along) <= rect.length / 2 + margin
        return window, mask & (abs(across) <= rect.width / 2 + margin)

    def claim(self, rect: Rect, margin: float) -> bool:
        """Takes a rectangle and `margin` metres around it; returns False if some of it is taken."""
        window, mask = self.inside(rect, margin)
        if (self.taken[window] & mask).any():
            return False
        self.taken[window] |= mask
        return True

    def paint(self, rect: Rect, colour: np.ndarray) -> None:
        """Colours a rectangle of ground."""
        window, mask = self.inside(rect)
        self.colours[window][mask] = colour

    def raise_to(self, window: Window, tops: np.ndarray, label: int, colours: np.ndarray) -> None:
        """Puts an object on the canvas where it is higher than what is there.

        Args:
            window: around the object.
            tops: float32 of the window's shape, metres above ground; -inf beside the object.
            label: label code.
            colours: (3,) or (rows, columns, 3) of the window.
        """
        above = tops > self.heights[window]
        self.heights[window][above] = tops[above]
        self.labels[window][above] = label
        colours = np.broadcast_to(colours, (*above.shape, 3))
        self.colours[window][above] = colours[above]


def span(centre: float, reach: float, gsd: float, length: int) -> slice:
    """Returns the slice of pixels within `reach` metres of `centre`, cut to 0..length."""
    first = min(max(int((centre - reach) // gsd), 0), length)
    last = min(max(int((centre + reach) // gsd) + 1, first), length)
    return slice(first, last)


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], wavelength: float) -> np.ndarray:
    """Draws smooth noise about 0 with a deviation near 1.

    Args:
        rng: of the noise.
        shape: (rows, columns).
        wavelength: pixels between independent values.

    Returns:
        float32 of that shape.
    """
    coarse = [int(np.ceil(size / wavelength)) + 3 for size in shape]
    values = rng.standard_normal(coarse, dtype="float32")
    values = cv2.resize(values, None, fx=wavelength, fy=wavelength, interpolation=cv2.INTER_CUBIC)
    row, column = (
        rng.integers(0, have - want + 1) for have, want in zip(values.shape, shape, strict=True)
    )
    values = values[row : row + shape[0], column : column + shape[1]]
    return values * np.float32(1.25)  # the interpolation takes a fifth of the deviation
