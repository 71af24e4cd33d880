import numpy as np

from datasets.demo.canvas import BUILDING, Canvas, smooth_noise
from datasets.demo.layouts import cut, lay_out, share_out


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
