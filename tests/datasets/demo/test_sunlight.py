import numpy as np
import pytest

from datasets.demo.sunlight import Sun, direct_light, shadow_depth


def box(height):
    """A box of rows 40-49 and columns 40-59 on level ground, 100 x 100 pixels."""
    surface = np.zeros((100, 100), "float32")
    surface[40:50, 40:60] = height
    return surface


def test_the_sun_in_the_south_west_stands_over_the_south_west():
    towards = Sun(azimuth=225, elevation=30).towards
    np.testing.assert_allclose(towards, [-np.sqrt(3 / 8), np.sqrt(3 / 8), 0.5])


@pytest.mark.parametrize("elevation, pixels", [(45.0, 16), (63.4349, 8), (38.6598, 20)])
def test_shadow_is_height_over_tangent_long(elevation, pixels):
    # 8 m at 0.5 m per pixel; tangents 1, 2 and 0.8: 8, 4 and 10 m to the north of the box.
    depth = shadow_depth(box(8.0), 0.5, Sun(180, elevation))
    column = depth[:, 50] > 0.1
    assert np.flatnonzero(column).size == pytest.approx(pixels, abs=1)
    assert column[39] and not column[50:].any()


def test_the_shadow_sinks_by_the_tangent_away_from_the_wall():
    depth = shadow_depth(box(8.0), 0.5, Sun(180, 45.0))
    np.testing.assert_allclose(depth[[39, 34, 29], 50], [7.5, 5.0, 2.5], atol=0.26)


def test_a_slanting_shadow_is_as_long():
    # The corner's shadow ends 6 m to the north-east: 6 / sqrt(2) / 0.5 = 8.5 pixels each way.
    dark = shadow_depth(box(6.0), 0.5, Sun(225, 45.0)) > 0.1
    rows, columns = np.nonzero(dark)
    assert rows.min() == pytest.approx(40 - 8.5, abs=1.5)
    assert columns.max() == pytest.approx(59 + 8.5, abs=1.5)


def test_rising_ground_shortens_the_shadow():
    # Ground that rises by 1 in 1 to the north meets the 45 degree ray halfway: 4 m, 8 pixels.
    surface = box(0.0)
    surface[:40] = np.arange(40, 0, -1)[:, None] * 0.5
    surface[40:50, 40:60] = 8.0
    dark = shadow_depth(surface, 0.5, Sun(180, 45.0))[:40, 50] > 0.1
    assert dark.sum() == pytest.approx(8, abs=1)


def test_level_ground_has_no_shadow_and_the_sine_of_the_elevation():
    level = np.full((9, 9), 7.0)
    assert not shadow_depth(level, 0.5, Sun(200, 30.0)).any()
    np.testing.assert_allclose(direct_light(level, 0.5, Sun(200, 30.0)), 0.5, atol=1e-6)


@pytest.mark.parametrize("gsd", [0.25, 1.0])
@pytest.mark.parametrize("azimuth, light", [(90, 1.0), (270, 0.0), (180, 0.5)])
def test_light_on_a_slope_that_faces_east(azimuth, light, gsd):
    # It falls by 1 in 1 to the east: normal (1, 0, 1) / sqrt(2), the sun at 45 degrees.
    slope = np.tile(-np.arange(6) * gsd, (5, 1))
    np.testing.assert_allclose(direct_light(slope, gsd, Sun(azimuth, 45.0)), light, atol=1e-6)


def test_the_brightness_of_a_wall_does_not_depend_on_its_height():
    walls = [direct_light(box(height), 0.5, Sun(200, 45.0)) for height in (6.0, 30.0)]
    np.testing.assert_allclose(walls[0], walls[1], atol=1e-6)
