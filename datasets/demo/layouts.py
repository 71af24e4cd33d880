"""Where things stand: a grid of streets, and a use for each block between them."""

import numpy as np

from datasets.demo.blocks import USES
from datasets.demo.canvas import Rect
from datasets.demo.colours import ASPHALT, MARKING, PAVED, pick_colour
from datasets.demo.objects import add_car, add_grown_tree

ROAD_WIDTH, PAVEMENT_WIDTH = 7.0, 1.5  # metres


def lay_out(canvas, rng, uses):
    """Covers a canvas with streets and fills the blocks between them.

    Args:
        canvas: `Canvas`, empty.
        rng: `numpy.random.Generator`.
        uses: dict of land use (a key of `USES`) to its share of the blocks.
    """
    width, height = canvas.extent
    reach = float(np.hypot(width, height))
    scene = Rect(width / 2, height / 2, rng.uniform(0, np.pi / 2), reach, reach)
    along, across = cut(rng, reach, 62, 84), cut(rng, reach, 46, 64)
    canvas.paint(scene, pick_colour(rng, PAVED))  # the pavements remain
    blocks = [
        scene.part((a + b) / 2, (c + d) / 2, b - a, d - c)
        for a, b in zip(along, along[1:], strict=False)
        for c, d in zip(across, across[1:], strict=False)
    ]
    for at in across:
        add_street(canvas, rng, scene.part(0, at, reach, ROAD_WIDTH))
    for at in along:
        add_street(canvas, rng, scene.part(at, 0, ROAD_WIDTH, reach).turned())
    kerb = ROAD_WIDTH + 2 * PAVEMENT_WIDTH
    for block, use in zip(blocks, share_out(rng, uses, len(blocks)), strict=True):
        USES[use](canvas, rng, block.part(0, 0, block.length - kerb, block.width - kerb))


def share_out(rng, uses, count):
    """Draws `count` uses in random order, each as often as its share says, to within one."""
    steps = (np.arange(count) + rng.random()) / count
    chosen = np.searchsorted(np.cumsum(list(uses.values())), rng.permutation(steps))
    return [list(uses)[index] for index in chosen]


def cut(rng, length, shortest, longest):
    """Returns positions -length/2 to length/2, metres, at random distances."""
    steps = rng.uniform(shortest, longest, int(length / shortest) + 2)
    places = np.cumsum(steps) - steps[0] * rng.random() - length / 2
    return places[places < length / 2 + longest]


def add_street(canvas, rng, rect):
    """Paints a road with a dashed centre line and puts cars and trees beside it."""
    canvas.paint(rect, pick_colour(rng, ASPHALT))
    paint = pick_colour(rng, MARKING)
    for at in np.arange(-rect.length / 2, rect.length / 2, 9.0):
        canvas.paint(rect.part(at, 0, 3.0, 0.25), paint)
        if rng.random() < 0.2:
            side = rng.choice([-1, 1])
            add_car(canvas, rng, rect.part(at, side * 1.9, 4.4, 1.8))
        if rng.random() < 0.25:
            side = rng.choice([-1, 1])
            tree = rect.part(at + 3, side * (ROAD_WIDTH / 2 + 1.5), 0, 0)
            add_grown_tree(canvas, rng, tree.x, tree.y, rng.uniform(1.5, 3.2))
