from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from evaluation.tiles import evaluate_tiles, true_normals

RECORD = SimpleNamespace(class_names=("ground",), building_index=None)
RAMP = np.tile(np.arange(5.0, dtype="float32") * 0.5, (4, 1))  # 45 degrees at 0.5 m per pixel
SAMPLE = {
    "image": np.zeros((4, 5, 3), "float32"),
    "heights": np.where(np.arange(5) == 0, np.float32(-9999), RAMP),
    "valid": np.tile(np.arange(5) > 0, (4, 1)),
    "classes": np.zeros((4, 5), "int32"),
}
UP = np.tile(np.float32([0, 0, 1]), (4, 5, 1))


def evaluated(maps, gsd, coding="unit"):
    """Returns the result of one tile with these maps; in detail unless `gsd` is None."""
    find_normals = gsd and partial(true_normals, gsd=gsd, coding=coding)
    tiles = [SimpleNamespace(name="a")]
    return evaluate_tiles(
        tiles, lambda _: SAMPLE, lambda _: maps, RECORD, find_normals=find_normals
    ).result()


def test_true_normals_are_known_away_from_nodata():
    normals = true_normals(SAMPLE, 0.5, "unit")
    np.testing.assert_array_equal(np.isfinite(normals[0, :, 0]), [False, False, True, True, True])
    np.testing.assert_allclose(normals[:, 2:], np.tile([-(0.5**0.5), 0, 0.5**0.5], (4, 3, 1)))


def test_flat_normals_on_a_ramp_are_45_degrees_off():
    normals = evaluated({"heights": RAMP, "normals": UP}, 0.5)["normals"]
    assert normals["mean_angle"] == pytest.approx(45)
    assert (normals["valid_pixels"], normals["within_30"]) == (12, 0)


def test_slopes_depend_on_the_pixel_size():
    normals = evaluated({"heights": RAMP, "normals": UP}, 1.0)["normals"]
    assert normals["mean_angle"] == pytest.approx(np.degrees(np.arctan(0.5)))


def test_published_normals_are_compared_with_their_own_kind():
    sample = SAMPLE | {"heights": RAMP, "valid": np.ones((4, 5), bool)}
    normals = true_normals(sample, 0.5, "published")
    slope = 0.5 * 128  # a step of 0.5 m per pixel, summed up by the Sobel kernel
    expected = np.array([-slope, 0, 1]) / np.hypot(slope, 1)
    np.testing.assert_allclose(normals[1, 2], expected, atol=1e-6)


def test_network_without_normals_has_none():
    assert evaluated({"heights": RAMP}, 0.5)["normals"] is None


def test_validation_measures_the_headline_only():
    assert "per_height_bin" not in evaluated({"heights": RAMP, "normals": UP}, None)
