"""Objects of a scene, each put on a `Canvas`: buildings, trees, hedges, cars."""

from dataclasses import dataclass

import numpy as np

from datasets.demo.canvas import BUILDING, GROUND, VEGETATION, Rect
from datasets.demo.colours import CARS, CROWN, pick_colour

PARAPET_HEIGHT, PARAPET_WIDTH = 0.9, 0.5  # metres


@dataclass(frozen=True)
class Building:
    """One rectangular wing of a building.

    Attributes:
        rect: footprint; the ridge of a gable or hip roof runs along it.
        eaves: metres from the ground at the centre to the lower edge of the roof.
        roof: a key of `ROOFS`.
        pitch: metres the roof rises per metre; 0 for a flat roof.
    """

    rect: Rect
    eaves: float
    roof: str
    pitch: float


def flat_roof(from_ends, from_sides, across, building):
    """A level roof with a parapet along its edge."""
    return PARAPET_HEIGHT * (np.minimum(from_ends, from_sides) < PARAPET_WIDTH)


def gable_roof(from_ends, from_sides, across, building):
    """Two faces that meet in a ridge."""
    return building.pitch * from_sides


def hip_roof(from_ends, from_sides, across, building):
    """Four faces that rise from the four edges."""
    return building.pitch * np.minimum(from_sides, from_ends)


def shed_roof(from_ends, from_sides, across, building):
    """One face that rises from one long side to the other."""
    return building.pitch * (across + building.rect.width / 2)


# Each returns metres above the eaves from the metres to the nearest end and side.
ROOFS = {"flat": flat_roof, "gable": gable_roof, "hip": hip_roof, "shed": shed_roof}


def add_building(canvas, building, colour):
    """Puts a building on the canvas; its roof is level even where the terrain is not."""
    rect = building.rect
    window, along, across = canvas.frame(rect)
    from_ends, from_sides = rect.length / 2 - abs(along), rect.width / 2 - abs(across)
    rise = ROOFS[building.roof](from_ends, from_sides, across, building)
    terrain = canvas.terrain[window]
    inside = (from_ends >= 0) & (from_sides >= 0)
    if not inside.any():
        return
    tops = building.eaves + rise + terrain[inside].mean() - terrain
    courses = 1 + 0.05 * np.sin(2 * np.pi * across / 0.9) * (building.pitch > 0)
    canvas.raise_to(window, np.where(inside, tops, -np.inf), BUILDING, colour * courses[..., None])


def add_tree(canvas, rng, x, y, radius, height):
    """Puts a tree on the canvas: a lumpy dome that ends at about half its height.

    Args:
        canvas: `Canvas`.
        rng: `numpy.random.Generator`, for the colour.
        x, y: metres.
        radius: of the crown, metres.
        height: metres.
    """
    window, along, across = canvas.frame(Rect(x, y, 0.0, 2 * radius, 2 * radius))
    lumps = canvas.lumps[window]
    share = (along**2 + across**2) / radius**2 * (1 + 0.15 * lumps)
    tops = height * (1 - 0.5 * np.clip(share, 0, 1) + 0.07 * np.clip(lumps, -2, 2))
    colour = pick_colour(rng, CROWN) * (1 + 0.1 * lumps[..., None])
    canvas.raise_to(window, np.where(share <= 1, tops, -np.inf), VEGETATION, colour)


def add_grown_tree(canvas, rng, x, y, radius):
    """Puts a tree on the canvas whose height follows from its crown: 3 to 20 m."""
    height = (1.5 + 2.9 * radius) * np.exp(rng.normal(0, 0.12))
    add_tree(canvas, rng, x, y, radius, float(np.clip(height, 3, 20)))


def add_hedge(canvas, rng, rect, height):
    """Puts a clipped hedge or a row of bushes on the canvas."""
    window, mask = canvas.inside(rect)
    tops = height * (1 + 0.08 * np.clip(canvas.lumps[window], -2, 2))
    colour = pick_colour(rng, CROWN)
    canvas.raise_to(window, np.where(mask, tops, -np.inf), VEGETATION, colour)


def add_car(canvas, rng, rect):
    """Puts a car on the canvas (label: ground): a body 0.9 m high and a cabin of 1.5 m."""
    colour = pick_colour(rng, CARS)
    for length, width, top in ((4.4, 1.8, 0.9), (2.3, 1.6, 1.5)):
        window, mask = canvas.inside(rect.part(0, 0, length, width))
        canvas.raise_to(window, np.where(mask, top, -np.inf), GROUND, colour)
