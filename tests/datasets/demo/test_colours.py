import numpy as np
import pytest

from datasets.demo.colours import CROWN, GRASS, PAVED, ROOF, evenly, pick_colour


def test_roofs_and_ground_share_every_colour():
    for high, low in ((ROOF, PAVED), (CROWN, GRASS)):
        np.testing.assert_array_equal(high[0], low[0])
        assert (high[1] > 0).all() and (low[1] > 0).all()


def test_a_colour_is_linear_reflectance():
    rng = np.random.default_rng(0)
    drawn = [pick_colour(rng, evenly((128, 128, 128)), spread=0.0) for _ in range(200)]
    np.testing.assert_allclose(np.median(drawn), (128 / 255) ** 2.2, rtol=0.02)  # 0.22
    assert np.ptp(drawn) > 0.01


def test_shares_decide_how_often():
    palette = (np.array([[0.0] * 3, [255.0] * 3]), np.array([0.25, 0.75]))
    rng = np.random.default_rng(0)
    bright = [pick_colour(rng, palette)[0] > 0 for _ in range(400)]
    assert np.mean(bright) == pytest.approx(0.75, abs=0.06)
