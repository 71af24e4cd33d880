"""The uses of a block between streets, from house lots to fields, and what they consist of.

Every use has flat ground in the colours and sizes of roofs: courts, car parks, bare soil.
"""

import numpy as np

from datasets.demo.canvas import Rect
from datasets.demo.colours import GRASS, MARKING, PAVED, ROOF, WATER, pick_colour
from datasets.demo.objects import Building, add_building, add_car, add_grown_tree, add_hedge


def scatter(rng, rect, count):
    """Draws `count` points of a `Rect`, as (x, y) in metres."""
    for along, across in rng.uniform(-0.5, 0.5, (count, 2)):
        point = rect.part(along * rect.length, across * rect.width, 0, 0)
        yield point.x, point.y


def add_trees(canvas, rng, rect, per_hectare, largest=5.0):
    """Scatters trees and a few bushes over the free ground of a `Rect`.

    Args:
        canvas: `Canvas`.
        rng: `numpy.random.Generator`.
        rect: `Rect`.
        per_hectare: trees to try; those on taken ground are left out.
        largest: radius of a crown, metres.
    """
    count = rng.poisson(per_hectare * rect.length * rect.width / 1e4)
    for x, y in scatter(rng, rect, count):
        radius = rng.uniform(1.5, largest)
        if canvas.claim(Rect(x, y, 0.0, radius, radius), 0.3):
            add_grown_tree(canvas, rng, x, y, radius)
    for x, y in scatter(rng, rect, count // 3):
        size = rng.uniform(1.0, 2.5, 2)
        if canvas.claim(Rect(x, y, 0.0, *size), 0.3):
            add_hedge(canvas, rng, Rect(x, y, rng.uniform(0, 3), *size), rng.uniform(0.7, 1.8))


def add_parking(canvas, rng, rect, full=0.5):
    """Paints a parking lot with its stalls and fills a share of them with cars."""
    if not canvas.claim(rect, 0.5):
        return
    canvas.paint(rect, pick_colour(rng, PAVED))
    paint = pick_colour(rng, MARKING)
    for across in np.arange(-rect.width / 2 + 3, rect.width / 2 - 2, 8.0):
        for along in np.arange(-rect.length / 2 + 1.5, rect.length / 2 - 1.2, 2.7):
            stall = rect.part(along, across, 4.4, 1.8)
            canvas.paint(rect.part(along - 1.35, across, 0.2, 4.8), paint)
            if rng.random() < full:
                add_car(canvas, rng, Rect(stall.x, stall.y, rect.angle + np.pi / 2, 4.4, 1.8))


def add_flat_decoys(canvas, rng, rect, count):
    """Paints courts, slabs and bare beds: size and colour of roofs, but no height."""
    for x, y in scatter(rng, rect.part(0, 0, rect.length - 16, rect.width - 16), count):
        slab = Rect(x, y, rect.angle, rng.uniform(9, 24), rng.uniform(7, 15))
        if not canvas.claim(slab, 0.5):
            continue
        colour = pick_colour(rng, PAVED)
        canvas.paint(slab, colour)
        if rng.random() < 0.5:  # two tones, like the two faces of a roof
            half = slab.part(0, slab.width / 4, slab.length, slab.width / 2)
            canvas.paint(half, colour * rng.uniform(0.6, 0.9))


def erect(canvas, rng, rect, eaves, roof, pitch):
    """Puts up a building; returns its colour, or None where the place is taken."""
    if not canvas.claim(rect, 1.5):
        return None
    colour = pick_colour(rng, ROOF)
    add_building(canvas, Building(rect, eaves, roof, pitch), colour)
    if roof == "flat":
        for _ in range(rng.poisson(rect.length * rect.width / 250)):
            along, across = rng.uniform(-0.35, 0.35, 2) * (rect.length, rect.width)
            plant = rect.part(along, across, *rng.uniform(1.5, 4, 2))
            top = eaves + rng.uniform(1.2, 2.5)
            add_building(canvas, Building(plant, top, "shed", 0.0), colour)
    return colour


def fill_houses(canvas, rng, block):
    """Two rows of house lots, back to back."""
    canvas.paint(block, pick_colour(rng, GRASS))
    count = max(1, round(block.length / 17))
    for side in (-1, 1):
        for number in range(count):
            size = block.length / count
            along = (number + 0.5) * size - block.length / 2
            lot = block.part(along, side * block.width / 4, size, block.width / 2)
            fill_lot(canvas, rng, lot, side)
    add_trees(canvas, rng, block, 230, largest=5.0)


def fill_lot(canvas, rng, lot, street_side):
    """A lot with its house, a drive with a car, a hut and a hedge, most of them by chance.

    Args:
        canvas: `Canvas`.
        rng: `numpy.random.Generator`.
        lot: `Rect`, along the street.
        street_side: 1 if the street lies on the positive side across the lot, else -1.
    """
    canvas.paint(lot, pick_colour(rng, GRASS if rng.random() < 0.85 else PAVED))
    drive = lot.part(lot.length / 2 - 2, street_side * lot.width / 4, 3, lot.width / 2)
    canvas.paint(drive, pick_colour(rng, PAVED))
    if rng.random() < 0.6:
        add_car(canvas, rng, drive.part(0, 0, 1.8, 4.4).turned())
    add_house(canvas, rng, lot, street_side)
    hut = lot.part(-lot.length / 2 + 3, -street_side * (lot.width / 2 - 3), 4, 3)
    if rng.random() < 0.4:
        erect(canvas, rng, hut, 2.6, "gable", 0.3)
    fence = lot.part(-lot.length / 2 + 0.5, 0, 1.0, lot.width)
    if rng.random() < 0.5:
        add_hedge(canvas, rng, fence, rng.uniform(1.0, 2.2))


def add_house(canvas, rng, lot, street_side):
    """Puts a house on a lot; three in ten have a second wing, an L."""
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
        add_building(canvas, Building(wing, eaves, roof, pitch), colour)


def fill_flats(canvas, rng, block):
    """Long blocks of flats, 9 to 25 m, with lawns and parking."""
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


def fill_towers(canvas, rng, block):
    """A tower of 25 to 60 m on a nearly square footprint, and a low building."""
    canvas.paint(block, pick_colour(rng, PAVED))
    side = rng.uniform(17, 24)
    tower = block.part(-block.length / 4, 0, side, side * rng.uniform(0.8, 1.0))
    erect(canvas, rng, tower, 25 + rng.gamma(2.0, 4.0), "flat", 0.0)
    hall = block.part(block.length / 5, 0, rng.uniform(16, 24), rng.uniform(18, 26))
    erect(canvas, rng, hall, rng.uniform(6, 12), "flat", 0.0)
    add_parking(canvas, rng, block.part(block.length / 8, block.width / 2 - 6, 24, 11))
    add_trees(canvas, rng, block, 260)


def fill_halls(canvas, rng, block):
    """Large low halls on a paved yard."""
    canvas.paint(block, pick_colour(rng, PAVED))
    for side in (-1, 1):
        length, width = rng.uniform(18, 26), rng.uniform(0.6, 0.85) * block.width
        hall = block.part(side * block.length / 4, 0, length, width)
        roof = rng.choice(["flat", "shed", "gable"])
        pitch = {"flat": 0.0, "shed": 0.06, "gable": 0.2}[roof]
        # A hall is longer across the block: there the ridge runs.
        hall = hall.turned() if roof == "gable" else hall
        erect(canvas, rng, hall, rng.uniform(5, 11), roof, pitch)
    add_parking(canvas, rng, block.part(0, block.width / 2 - 6, block.length * 0.8, 11), 0.4)
    add_flat_decoys(canvas, rng, block, 3)
    add_trees(canvas, rng, block, 120)


def fill_park(canvas, rng, block):
    """Grass with trees, paths, courts and at times a pond."""
    canvas.paint(block, pick_colour(rng, GRASS))
    canvas.paint(block.part(0, rng.uniform(-9, 9), block.length, 2.5), pick_colour(rng, PAVED))
    if rng.random() < 0.5:
        pond = block.part(*rng.uniform(-8, 8, 2), rng.uniform(12, 22), rng.uniform(9, 16))
        canvas.claim(pond, 0.5)
        canvas.paint(pond, pick_colour(rng, WATER))
    add_flat_decoys(canvas, rng, block, 3)
    add_trees(canvas, rng, block, 420, largest=6.0)


def fill_field(canvas, rng, block):
    """Strips of bare soil, crop and grass between hedges."""
    strips = rng.integers(2, 4)
    for number in range(strips):
        across = ((number + 0.5) / strips - 0.5) * block.width
        strip = block.part(0, across, block.length, block.width / strips)
        canvas.paint(strip, pick_colour(rng, PAVED if rng.random() < 0.6 else GRASS))
    hedge = block.part(0, rng.choice([-1, 1]) * block.width / 2, block.length, 2.0)
    add_hedge(canvas, rng, hedge, rng.uniform(1.2, 2.5))
    add_trees(canvas, rng, hedge.part(0, 0, hedge.length, 7), 600, largest=5.0)
    add_flat_decoys(canvas, rng, block, 2)


def fill_paved(canvas, rng, block):
    """A car park and paved or bare ground, in the colours of roofs."""
    canvas.paint(block, pick_colour(rng, PAVED))
    for side in (-1, 1):
        lot = block.part(side * block.length / 4, 0, block.length / 2 - 3, block.width - 6)
        add_parking(canvas, rng, lot, rng.uniform(0.2, 0.8))
    add_trees(canvas, rng, block, 120)


USES = {
    "houses": fill_houses,
    "flats": fill_flats,
    "towers": fill_towers,
    "halls": fill_halls,
    "park": fill_park,
    "field": fill_field,
    "paved": fill_paved,
}
