"""Made-up aerial scenes with true heights: the demo's photos, height maps and labels.

A scene is built at half the pixel size, with a margin whose objects cast their shadows into the
picture, lit by the sun over terrain and objects, photographed, and reduced to the pixel size.
As in a real photo, heights show in the lengths of shadows, the shading of roof faces and the
shapes of footprints and crowns, not in the colours.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.demo.canvas import Canvas, smooth_noise
from datasets.demo.sunlight import Sun, direct_light, shadow_depth
from datasets.demo.town import lay_out

OVERSAMPLING = 2
MARGIN = 32.0  # metres
SKY = np.array([0.27, 0.31, 0.37], "float32")  # share of the light from the sky: blue
KINDS = (
    {"houses": 0.8, "park": 0.2},
    {"flats": 0.6, "halls": 0.2, "paved": 0.1, "park": 0.1},
    {"houses": 0.4, "field": 0.2, "halls": 0.3, "park": 0.1},
    {"towers": 0.3, "flats": 0.4, "paved": 0.1, "park": 0.2},
)


@dataclass(frozen=True)
class Scene:
    """What a tile holds.

    Attributes:
        image: uint8 (rows, columns, 3), red, green, blue.
        heights: float32 (rows, columns), metres above ground.
        labels: uint8 (rows, columns), codes of `datasets.demo.canvas`.
        sun: where it stands.
    """

    image: np.ndarray
    heights: np.ndarray
    labels: np.ndarray
    sun: Sun


def make_scene(rng: np.random.Generator, size: int, gsd: float, kind: int) -> Scene:
    """Makes one scene.

    Args:
        rng: of all random choices.
        size: rows and columns, pixels.
        gsd: metres per pixel.
        kind: index of `KINDS`, the mixture of land uses.
    """
    fine, border = gsd / OVERSAMPLING, round(MARGIN / gsd) * OVERSAMPLING
    shape = (size * OVERSAMPLING + 2 * border,) * 2
    terrain = smooth_noise(rng, shape, 50 / fine)  # rolling ground of 1 m, waves of some 100 m
    canvas = Canvas(terrain, fine, smooth_noise(rng, shape, 1.4 / fine))
    lay_out(canvas, rng, KINDS[kind])
    sun = Sun(azimuth=rng.uniform(140, 220), elevation=rng.uniform(38, 52))
    light = illuminate(canvas, sun)
    middle = slice(border, border + size * OVERSAMPLING)
    image = photograph(rng, (canvas.colours * light)[middle, middle], fine)
    heights, labels = highest_return(canvas.heights[middle, middle], canvas.labels[middle, middle])
    return Scene(image, heights, labels, sun)


def illuminate(canvas: Canvas, sun: Sun) -> np.ndarray:
    """Computes the light on every point, float32 (rows, columns, 3); 1 on level sunlit ground."""
    surface = canvas.terrain + canvas.heights
    # The shadow's edge spans 0.4 m: the sun is no point, and the march resamples the surface.
    lit = 1 - np.clip((shadow_depth(surface, canvas.gsd, sun) - 0.1) / 0.4, 0, 1)
    level = np.float32(np.sin(np.radians(sun.elevation)))
    direct = lit * direct_light(surface, canvas.gsd, sun) / level
    return SKY + (1 - SKY) * direct[..., None]


def photograph(rng: np.random.Generator, radiance: np.ndarray, gsd: float) -> np.ndarray:
    """Turns radiance into a photo: ground texture, exposure, colour cast, blur, noise, coding.

    Args:
        rng: of grain, exposure and noise.
        radiance: float32 (rows, columns, 3), linear, about 0 to 1.
        gsd: metres per pixel of `radiance`.

    Returns:
        uint8 (rows / OVERSAMPLING, columns / OVERSAMPLING, 3).
    """
    shape = radiance.shape[:2]
    grain = sum(0.07 * smooth_noise(rng, shape, max(1, metres / gsd)) for metres in (0.4, 1.5, 8))
    cast = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.04, 3)).astype("float32")
    radiance = radiance * np.exp(grain)[..., None] * cast
    radiance = cv2.resize(
        radiance, None, fx=1 / OVERSAMPLING, fy=1 / OVERSAMPLING, interpolation=cv2.INTER_AREA
    )
    radiance = cv2.GaussianBlur(radiance, (0, 0), 0.6)
    codes = 255 * np.clip(0.012 + 0.96 * radiance, 0, 1) ** (1 / 2.2)
    codes += rng.normal(0, 2.5, codes.shape)
    return np.clip(np.rint(codes), 0, 255).astype("uint8")


def highest_return(heights: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduces heights and labels to the picture's pixels: the highest point of each counts.

    Args:
        heights: float32 (rows, columns), both multiples of `OVERSAMPLING`, metres.
        labels: of the same shape.

    Returns:
        (heights, labels), each (rows / OVERSAMPLING, columns / OVERSAMPLING).
    """

    def cells(values: np.ndarray) -> np.ndarray:
        rows, columns = (size // OVERSAMPLING for size in values.shape)
        split = values.reshape(rows, OVERSAMPLING, columns, OVERSAMPLING)
        return split.transpose(0, 2, 1, 3).reshape(rows, columns, -1)

    heights, labels = cells(heights), cells(labels)
    highest = heights.argmax(axis=-1)[..., None]
    return (
        np.take_along_axis(heights, highest, -1)[..., 0],
        np.take_along_axis(labels, highest, -1)[..., 0],
    )
