import numpy as np
import pytest

from datasets.demo.canvas import BUILDING, GROUND, VEGETATION, Canvas, Rect, smooth_noise
from datasets.demo.town import (
    USES,
    add_flat_decoys,
    add_parking,
    add_trees,
    cut,
    erect,
    lay_out,
    share_out,
)

BLOCK = Rect(40, 30, 0.0, 66, 46)


def empty():
    """80 x 60 m of level ground at 0.5 m, and a generator."""
    rng = np.random.default_rng(3)
    return Canvas(np.zeros((120, 160), "float32"), 0.5, smooth_noise(rng, (120, 160), 3)), rng


def filled(use):
    canvas, rng = empty()
    USES[use](canvas, rng, BLOCK)
    return canvas


@pytest.mark.parametrize(
    "use, label, least",
    [(use, BUILDING, 0.1) for use in ("houses", "flats", "towers", "halls")]
    + [("park", VEGETATION, 0.15), ("field", GROUND, 0.7), ("paved", GROUND, 0.7)],
)
def test_every_use_shows_what_it_is_named_for(use, label, least):
    assert (filled(use).labels == label).mean() > least


def test_towers_are_higher_than_flats_and_these_than_houses():
    tops = {}
    for use in ("towers", "flats", "houses"):
        canvas = filled(use)
        tops[use] = canvas.heights[canvas.labels == BUILDING].max()
    assert tops["towers"] > 25 > tops["flats"] > 9
    assert 4 < tops["houses"] < 12


def test_flat_decoys_are_painted_but_have_no_height():
    canvas, rng = empty()
    before = canvas.colours.copy()
    add_flat_decoys(canvas, rng, BLOCK, 5)
    assert (canvas.colours != before).any(axis=-1).sum() > 4 * 63  # pixels of the smallest slab
    assert (canvas.heights == 0).all() and (canvas.labels == GROUND).all()


def test_a_place_is_built_on_once():
    canvas, rng = empty()
    assert erect(canvas, rng, BLOCK.part(0, 0, 12, 10), 5.0, "gable", 0.5) is not None
    assert erect(canvas, rng, BLOCK.part(8, 0, 12, 10), 5.0, "gable", 0.5) is None
    assert (canvas.labels == BUILDING).sum() == 12 * 10 * 4


def test_a_full_parking_lot_has_cars_and_an_empty_one_none():
    canvas, rng = empty()
    add_parking(canvas, rng, BLOCK.part(0, 0, 30, 11), full=0.0)
    assert (canvas.heights == 0).all()
    add_parking(canvas, rng, BLOCK.part(0, 15, 30, 11), full=1.0)
    assert canvas.heights.max() == 1.5


def test_trees_keep_off_taken_ground():
    canvas, rng = empty()
    canvas.taken[:] = True
    add_trees(canvas, rng, BLOCK, 500)
    assert (canvas.labels == GROUND).all()


def test_uses_get_their_shares():
    uses = share_out(np.random.default_rng(0), {"houses": 0.75, "park": 0.25}, 8)
    assert (uses.count("houses"), uses.count("park")) == (6, 2)


def test_cuts_cover_the_length_at_distances_in_range():
    places = cut(np.random.default_rng(0), 300.0, 40, 60)
    assert places[0] <= -150 + 60 and places[-1] >= 150
    assert (np.diff(places) >= 40).all() and (np.diff(places) <= 60).all()


def test_streets_and_blocks_cover_the_canvas():
    rng = np.random.default_rng(3)
    canvas = Canvas(np.zeros((240, 240), "float32"), 0.5, smooth_noise(rng, (240, 240), 3))
    unpainted = canvas.colours[0, 0].copy()
    lay_out(canvas, rng, {"houses": 0.5, "flats": 0.5})
    assert not (canvas.colours == unpainted).all(axis=-1).any()
    assert 0.08 < (canvas.labels == BUILDING).mean() < 0.4
