"""Made-up aerial scenes with true heights: the demo's photos, height maps and labels.

A scene is built at half the pixel size, with a margin whose objects cast their shadows into the
picture, lit by the sun over terrain and objects, photographed, and reduced to the pixel size.
What a photo tells of heights here is what a real one tells: the lengths of shadows, the shading
of roof faces, the shapes of footprints and crowns - not the colours.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from datasets.demo.canvas import Canvas, smooth_noise
from datasets.demo.layouts import lay_out
from datasets.demo.sunlight import Sun, direct_light, shadow_depth

OVERSAMPLING = 2
MARGIN = 32.0  # metres
SKY = np.array([0.27, 0.31, 0.37], "float32")  # share of the light from the sky: blue
SUNLIGHT = 1 - SKY
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
        labels: uint8 (rows, columns), codes of `scene_canvas`.
        sun: `Sun`.
    """

    image: np.ndarray
    heights: np.ndarray
    labels: np.ndarray
    sun: Sun


def make_scene(rng, size, gsd, kind):
    """Makes one scene.

    Args:
        rng: `numpy.random.Generator`; the scene depends on nothing else that is random.
        size: rows and columns, pixels.
        gsd: metres per pixel.
        kind: index of `KINDS`, the mixture of land uses.

    Returns:
        `Scene`.
    """
    fine, border = gsd / OVERSAMPLING, round(MARGIN / gsd) * OVERSAMPLING
    shape = (size * OVERSAMPLING + 2 * border,) * 2
    canvas = Canvas(make_terrain(rng, shape, fine), fine, smooth_noise(rng, shape, 1.4 / fine))
    lay_out(canvas, rng, KINDS[kind])
    sun = Sun(azimuth=rng.uniform(140, 220), elevation=rng.uniform(38, 52))
    light = illuminate(canvas, sun)
    middle = slice(border, border + size * OVERSAMPLING)
    image = photograph(rng, (canvas.colours * light)[middle, middle], fine)
    heights, labels = highest_return(canvas.heights[middle, middle], canvas.labels[middle, middle])
    return Scene(image, heights, labels, sun)


def make_terrain(rng, shape, gsd):
    """Returns gently rolling ground, float32 metres: a deviation of 1 m, waves of some 100 m."""
    return smooth_noise(rng, shape, 50 / gsd)


def illuminate(canvas, sun):
    """Computes the light on every point; 1 on level ground in the sun.

    Args:
        canvas: `Canvas`.
        sun: `Sun`.

    Returns:
        float32 (rows, columns, 3).
    """
    surface = canvas.terrain + canvas.heights
    # Half a metre of depth: the sun is no point, and the march resamples the surface.
    lit = 1 - np.clip((shadow_depth(surface, canvas.gsd, sun) - 0.1) / 0.4, 0, 1)
    level = np.float32(np.sin(np.radians(sun.elevation)))
    direct = lit * direct_light(surface, canvas.gsd, sun) / level
    return SKY + SUNLIGHT * direct[..., None]


def photograph(rng, radiance, gsd):
    """Turns radiance into a photo: ground texture, exposure, colour cast, blur, noise, coding.

    Args:
        rng: `numpy.random.Generator`.
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


def highest_return(heights, labels):
    """Reduces heights and labels to the picture's pixels: the highest point of each counts.

    Args:
        heights: float32 (rows, columns), both multiples of `OVERSAMPLING`, metres.
        labels: of the same shape.

    Returns:
        (heights, labels), each (rows / OVERSAMPLING, columns / OVERSAMPLING).
    """

    def cells(values):
        rows, columns = (size // OVERSAMPLING for size in values.shape)
        split = values.reshape(rows, OVERSAMPLING, columns, OVERSAMPLING)
        return split.transpose(0, 2, 1, 3).reshape(rows, columns, -1)

    heights, labels = cells(heights), cells(labels)
    highest = heights.argmax(axis=-1)[..., None]
    return (
        np.take_along_axis(heights, highest, -1)[..., 0],
        np.take_along_axis(labels, highest, -1)[..., 0],
    )
