"""Objects of a scene, each put on a `Canvas`: buildings, trees, hedges, cars."""

import numpy as np

from datasets.demo.canvas import BUILDING, GROUND, VEGETATION, Canvas, Rect
from datasets.demo.colours import CARS, CROWN, pick_colour

PARAPET_HEIGHT, PARAPET_WIDTH = 0.9, 0.5  # metres


def add_building(
    canvas: Canvas, rect: Rect, eaves: float, roof: str, pitch: float, colour: np.ndarray
) -> None:
    """Puts a building on the canvas; its roof is level even where the terrain is not.

    Args:
        canvas: to draw on.
        rect: footprint; the ridge of a gable or hip roof runs along it.
        eaves: metres from the ground at the centre to the lower edge of the roof.
        roof: "flat" with a parapet along its edge, "gable" of two faces that meet in a ridge, "hip"
            of four faces that rise from the four edges, or "shed", one face that rises from one
            long side to the other.
        pitch: metres the roof rises per metre; 0 for a flat roof.
        colour: float32 (3,), linear reflectance 0 to 1.
    """
    window, along, across = canvas.frame(rect)
    from_ends, from_sides = rect.length / 2 - abs(along), rect.width / 2 - abs(across)
    inside = (from_ends >= 0) & (from_sides >= 0)
    if not inside.any():
        return
    from_edges = np.minimum(from_ends, from_sides)
    rise = {
        "flat": PARAPET_HEIGHT * (from_edges < PARAPET_WIDTH),
        "gable": pitch * from_sides,
        "hip": pitch * from_edges,
        "shed": pitch * (across + rect.width / 2),
    }[roof]
    terrain = canvas.terrain[window]
    tops = eaves + rise + terrain[inside].mean() - terrain
    courses = 1 + 0.05 * np.sin(2 * np.pi * across / 0.9) * (pitch > 0)
    canvas.raise_to(window, np.where(inside, tops, -np.inf), BUILDING, colour * courses[..., None])


def add_tree(
    canvas: Canvas,
    rng: np.random.Generator,
    x: float,
    y: float,
    radius: float,
    height: float | None = None,
) -> None:
    """Puts a tree on the canvas: a lumpy dome that ends at about half its height.

    Args:
        canvas: to draw on.
        rng: of height and colour.
        x, y: metres.
        radius: of the crown, metres.
        height: metres; None = drawn from the radius of the crown, 3 to 20 m.
    """
    if height is None:
        height = float(np.clip((1.5 + 2.9 * radius) * np.exp(rng.normal(0, 0.12)), 3, 20))
    window, along, across = canvas.frame(Rect(x, y, 0.0, 2 * radius, 2 * radius))
    lumps = canvas.lumps[window]
    share = (along**2 + across**2) / radius**2 * (1 + 0.15 * lumps)
    tops = height * (1 - 0.5 * np.clip(share, 0, 1) + 0.07 * np.clip(lumps, -2, 2))
    colour = pick_colour(rng, CROWN) * (1 + 0.1 * lumps[..., None])
    canvas.raise_to(window, np.where(share <= 1, tops, -np.inf), VEGETATION, colour)


def add_hedge(canvas: Canvas, rng: np.random.Generator, rect: Rect, height: float) -> None:
    """Puts a clipped hedge or a row of bushes on the canvas."""
    window, mask = canvas.inside(rect)
    tops = height * (1 + 0.08 * np.clip(canvas.lumps[window], -2, 2))
    colour = pick_colour(rng, CROWN)
    canvas.raise_to(window, np.where(mask, tops, -np.inf), VEGETATION, colour)


def add_car(canvas: Canvas, rng: np.random.Generator, rect: Rect) -> None:
    """Puts a car on the canvas, labelled as ground: a body 0.9 m high and a cabin of 1.5 m."""
    colour = pick_colour(rng, CARS)
    for length, width, top in ((4.4, 1.8, 0.9), (2.3, 1.6, 1.5)):
        window, mask = canvas.inside(rect.part(0, 0, length, width))
        canvas.raise_to(window, np.where(mask, top, -np.inf), GROUND, colour)
