import numpy as np
import pytest

from datasets.demo.canvas import BUILDING, GROUND, VEGETATION, Canvas, Rect
from datasets.demo.objects import add_building, add_car, add_hedge, add_tree

HOUSE = Rect(10, 10, 0.0, 12, 8)  # 12 m from west to east, 8 m from north to south


@pytest.fixture
def canvas():
    """20 x 20 m of level ground at 0.25 m; the point (10, 10) lies between pixels 39 and 40."""
    level = np.zeros((80, 80), "float32")
    return Canvas(level, 0.25, level)


def roof(canvas, name, pitch):
    add_building(canvas, HOUSE, 5.0, name, pitch, np.full(3, 0.5, "float32"))
    return canvas.heights


def test_a_gable_rises_by_half_its_width_times_pitch(canvas):
    heights = roof(canvas, "gable", 0.5)
    assert heights.max() == pytest.approx(5 + 0.5 * 4, abs=0.07)  # the ridge, within half a pixel
    np.testing.assert_allclose(heights[39, 16:64], heights.max())  # from end to end
    assert heights[24, 40] == pytest.approx(5.0, abs=0.07)  # the eaves


def test_a_hip_roof_falls_to_all_four_sides(canvas):
    heights = roof(canvas, "hip", 0.5)
    assert heights[39, 40] == pytest.approx(7.0, abs=0.07)
    np.testing.assert_allclose(heights[[24, 39], [40, 16]], 5.0, atol=0.07)
    assert heights[39, 24] == pytest.approx(5 + 0.5 * 2, abs=0.07)  # 2 m from the west end


def test_a_shed_roof_rises_to_one_side(canvas):
    heights = roof(canvas, "shed", 0.25)
    np.testing.assert_allclose(heights[[24, 55], 40], [5, 7], atol=0.04)


def test_a_flat_roof_has_a_parapet(canvas):
    heights = roof(canvas, "flat", 0.0)
    np.testing.assert_allclose(heights[40, [16, 17, 18, 40]], [5.9, 5.9, 5, 5], atol=1e-5)


def test_only_the_footprint_is_building(canvas):
    roof(canvas, "gable", 0.5)
    assert (canvas.labels == BUILDING).sum() == 12 * 8 * 16
    assert (canvas.heights[canvas.labels == GROUND] == 0).all()


def test_a_roof_stays_level_where_the_ground_slopes():
    ground = np.tile(np.arange(80, dtype="float32") * 0.025, (80, 1))  # 1 in 10 to the east
    canvas = Canvas(ground, 0.25, np.zeros_like(ground))
    inside = roof(canvas, "shed", 0.0)[40, 16:64]
    np.testing.assert_allclose(inside + ground[40, 16:64], ground[0, 39:41].mean() + 5, atol=1e-5)


def test_a_tree_is_a_dome_over_its_crown(canvas):
    add_tree(canvas, np.random.default_rng(0), 10, 10, radius=4, height=12)
    assert canvas.heights.max() == pytest.approx(12, abs=0.1)
    assert canvas.heights[40, 40 + 15] == pytest.approx(6, abs=0.6)  # half of it at the rim
    assert (canvas.labels == VEGETATION).sum() == pytest.approx(np.pi * 16 * 16, rel=0.02)


def test_a_car_is_ground_and_a_hedge_vegetation(canvas):
    add_car(canvas, np.random.default_rng(0), Rect(5, 5, 0.0, 4.4, 1.8))
    assert (canvas.labels == GROUND).all()
    assert canvas.heights.max() == 1.5
    add_hedge(canvas, np.random.default_rng(0), Rect(10, 15, 0.0, 8, 1), 1.2)
    assert canvas.heights[60, 40] == pytest.approx(1.2)
    assert canvas.labels[60, 40] == VEGETATION
