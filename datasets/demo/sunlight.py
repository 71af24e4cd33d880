"""Sunlight on a surface: direct light by slope, and cast shadows."""

from dataclasses import dataclass

import cv2
import numpy as np

BELOW_EVERYTHING = -1e4  # metres; what lies outside the surface casts no shadow


@dataclass(frozen=True)
class Sun:
    """Where the sun stands.

    Attributes:
        azimuth: degrees clockwise from north (rows run to the south, columns to the east).
        elevation: degrees above the horizon.
    """

    azimuth: float
    elevation: float

    @property
    def towards(self) -> tuple[float, float, float]:
        """Unit vector from the ground to the sun: (east, south, up)."""
        azimuth, elevation = np.radians([self.azimuth, self.elevation])
        level = np.cos(elevation)
        return level * np.sin(azimuth), -level * np.cos(azimuth), np.sin(elevation)


def direct_light(surface: np.ndarray, gsd: float, sun: Sun, steepest: float = 2.0) -> np.ndarray:
    """Computes Lambert's cosine law, max(0, normal . direction to the sun).

    Args:
        surface: float (rows, columns), elevation in metres.
        gsd: metres per pixel.
        sun: where it stands.
        steepest: metres per metre; a steeper slope counts as this steep, so that the brightness of
            a wall, which the photo sees as a line, does not reveal its height.

    Returns:
        float32 (rows, columns), 0 to 1.
    """
    slope_y, slope_x = np.gradient(surface.astype("float32"), np.float32(gsd))
    # Both slopes shrink by one factor, so that steep faces keep their aspect.
    excess = np.maximum(1, np.sqrt(slope_x**2 + slope_y**2) / steepest)
    slope_x, slope_y = slope_x / excess, slope_y / excess
    east, south, up = (np.float32(part) for part in sun.towards)
    cosine = (up - slope_x * east - slope_y * south) / np.sqrt(1 + slope_x**2 + slope_y**2)
    return np.maximum(cosine, 0)


def shadow_depth(surface: np.ndarray, gsd: float, sun: Sun) -> np.ndarray:
    """Computes how far each point lies below the lowest ray of the sun that reaches its place.

    The surface is turned so that light travels along the rows; each row is then marched once: a
    ray that grazes a point sinks by tan(elevation) per metre, so the highest ray above a place is
    a running maximum.

    Args:
        surface: float (rows, columns), elevation in metres: terrain with all objects.
        gsd: metres per pixel.
        sun: where it stands.

    Returns:
        float32 (rows, columns), metres; 0 in the sun.
    """
    rows, columns = surface.shape
    side = int(np.ceil(np.hypot(rows, columns))) + 2
    turn = turn_into_light(rows, columns, side, sun)
    turned = cv2.warpAffine(
        surface.astype("float32"),
        turn,
        (side, side),
        flags=cv2.INTER_NEAREST,
        borderValue=BELOW_EVERYTHING,
    )
    sinking = (np.arange(side) * gsd * np.tan(np.radians(sun.elevation))).astype("float32")
    rays = np.maximum.accumulate(turned + sinking, axis=1) - sinking
    rays = cv2.warpAffine(
        rays, turn, (columns, rows), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return np.maximum(rays - surface, 0)


def turn_into_light(rows: int, columns: int, side: int, sun: Sun) -> np.ndarray:
    """Returns the 2 x 3 matrix (source to turned pixels) that lets light travel along +x."""
    east, south, _ = sun.towards
    length = np.hypot(east, south)
    cosine, sine = -east / length, -south / length
    turn = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0]])
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2])
    turn[:, 2] = (side - 1) / 2 - turn[:, :2] @ middle
    return turn
