import numpy as np
import pytest

from datasets.rasters.hillshade import hillshade

RAMP = np.tile(np.arange(8, dtype="float32"), (6, 1))  # rises to the east


@pytest.mark.parametrize(
    "heights, share",
    [
        (0 * RAMP, 0.5**0.5),  # the sine of the sun's height
        (RAMP, 0.5 + 0.5**1.5),  # 45 degrees down to the west, the sun in the north-west
        (-RAMP, 0.5 - 0.5**1.5),
        (np.flipud(RAMP[:, :6].T), 0.5 - 0.5**1.5),  # 45 degrees down to the south
    ],
)
def test_shades_are_the_cosine_of_the_angle_to_the_sun(heights, share):
    shaded = hillshade(heights, 1.0)[:, 1:-1]  # GDAL is rough with the corners
    assert np.unique(shaded).tolist() == [round(1 + 254 * share)]


def test_slopes_depend_on_the_pixel_size():
    steep, gentle = (int(hillshade(RAMP, gsd)[1, 1]) for gsd in (1.0, 100.0))
    assert 181 <= gentle <= 183 and steep == 218


def test_unknown_heights_are_0_and_touch_no_other():
    heights = np.where(np.arange(8) == 5, np.float32("nan"), 0 * RAMP)
    shaded = hillshade(heights, 1.0)
    assert (shaded[:, 5] == 0).all() and np.unique(np.delete(shaded, 5, axis=1)).size == 1
