"""A town: streets, blocks between them, and the uses of a block, from house lots to fields.

Every use has flat ground in the colours and sizes of roofs: courts, car parks, bare soil.
"""

from collections.abc import Callable, Iterator

import numpy as np

from datasets.demo.canvas import Canvas, Rect
from datasets.demo.colours import ASPHALT, GRASS, MARKING, PAVED, ROOF, WATER, pick_colour
from datasets.demo.objects import add_building, add_car, add_hedge, add_tree

ROAD_WIDTH, PAVEMENT_WIDTH = 7.0, 1.5  # metres


def lay_out(canvas: Canvas, rng: np.random.Generator, uses: dict[str, float]) -> None:
    """Covers an empty canvas with streets and fills the blocks between them.

    Args:
        canvas: to draw on.
        rng: of all random choices.
        uses: share of the blocks by land use, a key of `USES`.
    """
    height, width = (pixels * canvas.gsd for pixels in canvas.terrain.shape)
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


def share_out(rng: np.random.Generator, uses: dict[str, float], count: int) -> list[str]:
    """Draws uses in random order, each as often as its share says, to within one."""
    steps = (np.arange(count) + rng.random()) / count
    chosen = np.searchsorted(np.cumsum(list(uses.values())), rng.permutation(steps))
    return [list(uses)[index] for index in chosen]


def cut(rng: np.random.Generator, length: float, shortest: float, longest: float) -> np.ndarray:
    """Returns positions from -length/2 to length/2, metres, at random distances."""
    steps = rng.uniform(shortest, longest, int(length / shortest) + 2)
    places = np.cumsum(steps) - steps[0] * rng.random() - length / 2
    return places[places < length / 2 + longest]


def add_street(canvas: Canvas, rng: np.random.Generator, rect: Rect) -> None:
    """Paints a road with a dashed centre line, and puts cars on it and trees beside it."""
    canvas.paint(rect, pick_colour(rng, ASPHALT))
    paint = pick_colour(rng, MARKING)
    for at in np.arange(-rect.length / 2, rect.length / 2, 9.0):
        canvas.paint(rect.part(at, 0, 3.0, 0.25), paint)
        if rng.random() < 0.2:
            add_car(canvas, rng, rect.part(at, rng.choice([-1, 1]) * 1.9, 4.4, 1.8))
        if rng.random() < 0.25:
            tree = rect.part(at + 3, rng.choice([-1, 1]) * (ROAD_WIDTH / 2 + 1.5), 0, 0)
            add_tree(canvas, rng, tree.x, tree.y, rng.uniform(1.5, 3.2))


def scatter(rng: np.random.Generator, rect: Rect, count: int) -> Iterator[Rect]:
    """Draws points of a rectangle, as rectangles without length and width."""
    for along, across in rng.uniform(-0.5, 0.5, (count, 2)):
        yield rect.part(along * rect.length, across * rect.width, 0, 0)


def add_trees(
    canvas: Canvas,
    rng: np.random.Generator,
    rect: Rect,
    per_hectare: float,
    largest: float = 5.0,
) -> None:
    """Scatters trees and a few bushes over the free ground of a rectangle.

    Args:
        canvas: to draw on.
        rng: of all random choices.
        rect: where they may stand.
        per_hectare: trees to try; those on taken ground are left out.
        largest: radius of a crown, metres.
    """
    count = rng.poisson(per_hectare * rect.length * rect.width / 1e4)
    for at in scatter(rng, rect, count):
        radius = rng.uniform(1.5, largest)
        if canvas.claim(Rect(at.x, at.y, 0.0, radius, radius), 0.3):
            add_tree(canvas, rng, at.x, at.y, radius)
    for at in scatter(rng, rect, count // 3):
        size = rng.uniform(1.0, 2.5, 2)
        if canvas.claim(Rect(at.x, at.y, 0.0, *size), 0.3):
            bush = Rect(at.x, at.y, rng.uniform(0, 3), *size)
            add_hedge(canvas, rng, bush, rng.uniform(0.7, 1.8))


def add_parking(canvas: Canvas, rng: np.random.Generator, rect: Rect, full: float = 0.5) -> None:
    """Paints a parking lot with its stalls, and puts cars into the share `full` of them."""
    if not canvas.claim(rect, 0.5):
        return
    canvas.paint(rect, pick_colour(rng, PAVED))
    paint = pick_colour(rng, MARKING)
    for across in np.arange(-rect.width / 2 + 3, rect.width / 2 - 2, 8.0):
        for along in np.arange(-rect.length / 2 + 1.5, rect.length / 2 - 1.2, 2.7):
            canvas.paint(rect.part(along - 1.35, across, 0.2, 4.8), paint)
            if rng.random() < full:
                add_car(canvas, rng, rect.part(along, across, 1.8, 4.4).turned())


def add_flat_decoys(canvas: Canvas, rng: np.random.Generator, rect: Rect, count: int) -> None:
    """Paints courts, slabs and bare beds: of the size and colour of roofs, but without height."""
    for at in scatter(rng, rect.part(0, 0, rect.length - 16, rect.width - 16), count):
        slab = at.part(0, 0, rng.uniform(9, 24), rng.uniform(7, 15))
        if canvas.claim(slab, 0.5):
            colour = pick_colour(rng, PAVED)
            canvas.paint(slab, colour)
            if rng.random() < 0.5:  # two tones, like the two faces of a roof
                half = slab.part(0, slab.width / 4, slab.length, slab.width / 2)
                canvas.paint(half, colour * rng.uniform(0.6, 0.9))


def erect(
    canvas: Canvas, rng: np.random.Generator, rect: Rect, eaves: float, roof: str, pitch: float
) -> np.ndarray | None:
    """Puts up a building, as `add_building`; returns its colour, or None where ground is taken."""
    if not canvas.claim(rect, 1.5):
        return None
    colour = pick_colour(rng, ROOF)
    add_building(canvas, rect, eaves, roof, pitch, colour)
    if roof == "flat":
        for _ in range(rng.poisson(rect.length * rect.width / 250)):
            along, across = rng.uniform(-0.35, 0.35, 2) * (rect.length, rect.width)
            plant = rect.part(along, across, *rng.uniform(1.5, 4, 2))  # of air conditioning
            add_building(canvas, plant, eaves + rng.uniform(1.2, 2.5), "shed", 0.0, colour)
    return colour


def fill_houses(canvas: Canvas, rng: np.random.Generator, block: Rect) -> None:
    """Fills a block with two rows of house lots, back to back."""
    canvas.paint(block, pick_colour(rng, GRASS))
    count = max(1, round(block.length / 17))
    size = block.length / count
    for side in (-1, 1):
        for number in range(count):
            along = (number + 0.5) * size - block.length / 2
            across = side * block.width / 4
            fill_lot(canvas, rng, block.part(along, across, size, block.width / 2), side)
    add_trees(canvas, rng, block, 230, largest=5.0)


def fill_lot(canvas: Canvas, rng: np.random.Generator, lot: Rect, street_side: int) -> None:
    """Fills a lot with a house and a drive, and at random with a car, a hut and a hedge.

    Args:
        canvas: to draw on.
        rng: of all random choices.
        lot: along the street.
        street_side: 1 if the street lies on the positive side across the lot, else -1.
    """
    canvas.paint(lot, pick_colour(rng, GRASS if rng.random() < 0.85 else PAVED))
    drive = lot.part(lot.length / 2 - 2, street_side * lot.width / 4, 3, lot.width / 2)
    canvas.paint(drive, pick_colour(rng, PAVED))
    if rng.random() < 0.6:
        add_car(canvas, rng, drive.part(0, 0, 1.8, 4.4).turned())
    add_house(canvas, rng, lot, street_side)
    if rng.random() < 0.4:
        hut = lot.part(-lot.length / 2 + 3, -street_side * (lot.width / 2 - 3), 4, 3)
        erect(canvas, rng, hut, 2.6, "gable", 0.3)
    if rng.random() < 0.5:
        fence = lot.part(-lot.length / 2 + 0.5, 0, 1.0, lot.width)
        add_hedge(canvas, rng, fence, rng.uniform(1.0, 2.2))


def add_house(canvas: Canvas, rng: np.random.Generator, lot: Rect, street_side: int) -> None:
    """Puts a house on a lot; three in ten have a second wing and form an L."""
    length, width = rng.uniform(10.5, 14), rng.uniform(8.5, 11.5)
    house = lot.part(rng.uniform(-1, 1), street_side * rng.uniform(-1, 2), length, width)
    house = house.turned() if rng.random() < 0.35 else house
    roof = rng.choice(["gable", "gable", "hip", "hip", "flat", "shed"])
    pitch = {"flat": 0.0, "shed": rng.uniform(0.1, 0.25)}.get(roof, rng.uniform(0.45, 0.9))
    eaves = rng.uniform(3.6, 6.0)
    colour = erect(canvas, rng, house, eaves, roof, pitch)
    if colour is not None and rng.random() < 0.3:
        along = rng.choice([-1, 1]) * house.length / 4
        wing = house.part(along, -street_side * 4, 5.5, 9).turned()
        canvas.claim(wing, 1.5)
        add_building(canvas, wing, eaves, roof, pitch, colour)


def fill_flats(canvas: Canvas, rng: np.random.Generator, block: Rect) -> None:
    """Fills a block with long buildings of flats, 9 to 25 m high, lawns and parking."""
    canvas.paint(block, pick_colour(rng, GRASS if rng.random() < 0.6 else PAVED))
    for side in (-1, 1):
        length, width = rng.uniform(0.6, 0.9) * block.length, rng.uniform(12, 16)
        slab = block.part(0, side * (block.width / 2 - width / 2 - 2), length, width)
        roof = rng.choice(["flat", "flat", "hip", "gable"])
        pitch = 0.0 if roof == "flat" else rng.uniform(0.35, 0.6)
        erect(canvas, rng, slab, rng.uniform(9, 20), roof, pitch)
    add_parking(canvas, rng, block.part(0, 0, rng.uniform(20, 40), 11))
    add_flat_decoys(canvas, rng, block, 2)
    add_trees(canvas, rng, block, 260)


def fill_towers(canvas: Canvas, rng: np.random.Generator, block: Rect) -> None:
    """Fills a block with a nearly square tower, 25 to 60 m high, and a low building."""
    canvas.paint(block, pick_colour(rng, PAVED))
    side = rng.uniform(17, 24)
    tower = block.part(-block.length / 4, 0, side, side * rng.uniform(0.8, 1.0))
    erect(canvas, rng, tower, 25 + rng.gamma(2.0, 4.0), "flat", 0.0)
    hall = block.part(block.length / 5, 0, rng.uniform(16, 24), rng.uniform(18, 26))
    erect(canvas, rng, hall, rng.uniform(6, 12), "flat", 0.0)
    add_parking(canvas, rng, block.part(block.length / 8, block.width / 2 - 6, 24, 11))
    add_trees(canvas, rng, block, 260)


def fill_halls(canvas: Canvas, rng: np.random.Generator, block: Rect) -> None:
    """Fills a block with large low halls on a paved yard."""
    canvas.paint(block, pick_colour(rng, PAVED))
    for side in (-1, 1):
        length, width = rng.uniform(18, 26), rng.uniform(0.6, 0.85) * block.width
        hall = block.part(side * block.length / 4, 0, length, width)
        roof = rng.choice(["flat", "shed", "gable"])
        pitch = {"flat": 0.0, "shed": 0.06, "gable": 0.2}[roof]
        # The ridge runs along the longer side, which lies across the block.
        hall = hall.turned() if roof == "gable" else hall
        erect(canvas, rng, hall, rng.uniform(5, 11), roof, pitch)
    add_parking(canvas, rng, block.part(0, block.width / 2 - 6, block.length * 0.8, 11), 0.4)
    add_flat_decoys(canvas, rng, block, 3)
    add_trees(canvas, rng, block, 120)


def fill_park(canvas: Canvas, rng: np.random.Generator, block: Rect) -> None:
    """Fills a block with grass, trees, a path, courts and sometimes a pond."""
    canvas.paint(block, pick_colour(rng, GRASS))
    canvas.paint(block.part(0, rng.uniform(-9, 9), block.length, 2.5), pick_colour(rng, PAVED))
    if rng.random() < 0.5:
        pond = block.part(*rng.uniform((-8, -8, 12, 9), (8, 8, 22, 16)))
        canvas.claim(pond, 0.5)
        canvas.paint(pond, pick_colour(rng, WATER))
    add_flat_decoys(canvas, rng, block, 3)
    add_trees(canvas, rng, block, 420, largest=6.0)


def fill_field(canvas: Canvas, rng: np.random.Generator, block: Rect) -> None:
    """Fills a block with strips of bare soil, crop and grass beside a hedge."""
    strips = rng.integers(2, 4)
    for number in range(strips):
        across = ((number + 0.5) / strips - 0.5) * block.width
        colour = pick_colour(rng, PAVED if rng.random() < 0.6 else GRASS)
        canvas.paint(block.part(0, across, block.length, block.width / strips), colour)
    hedge = block.part(0, rng.choice([-1, 1]) * block.width / 2, block.length, 2.0)
    add_hedge(canvas, rng, hedge, rng.uniform(1.2, 2.5))
    add_trees(canvas, rng, hedge.part(0, 0, hedge.length, 7), 600, largest=5.0)
    add_flat_decoys(canvas, rng, block, 2)


def fill_paved(canvas: Canvas, rng: np.random.Generator, block: Rect) -> None:
    """Fills a block with car parks and paved or bare ground, in the colours of roofs."""
    canvas.paint(block, pick_colour(rng, PAVED))
    for side in (-1, 1):
        lot = block.part(side * block.length / 4, 0, block.length / 2 - 3, block.width - 6)
        add_parking(canvas, rng, lot, full=rng.uniform(0.2, 0.8))
    add_trees(canvas, rng, block, 120)


USES: dict[str, Callable[[Canvas, np.random.Generator, Rect], None]] = {
    "houses": fill_houses,
    "flats": fill_flats,
    "towers": fill_towers,
    "halls": fill_halls,
    "park": fill_park,
    "field": fill_field,
    "paved": fill_paved,
}
