import numpy as np
import pytest

from datasets.checks.alignment import LEAST_SIZE, REACH, Offset, edge_correlation, find_offset

SIZE = 160


def scene(shift=(0, 0), seed=3):
    """Returns photo and heights of 25 houses, the heights moved by (rows, columns)."""
    generator = np.random.default_rng(seed)
    heights = np.zeros((SIZE, SIZE), "float32")
    for row, column in generator.integers(0, SIZE - 20, (25, 2)):
        rows, columns = generator.integers(6, 20, 2)
        heights[row : row + rows, column : column + columns] = generator.uniform(3, 12)
    noise = generator.normal(0, 5, (SIZE, SIZE))
    photo = np.repeat((90 + 60 * (heights > 0) + noise)[..., None], 3, axis=-1)
    return photo.astype("float32"), np.roll(heights, shift, (0, 1))


def offset_of(photo, heights, valid=None):
    whole = np.ones(heights.shape, bool)
    return find_offset(edge_correlation(photo, whole, heights, whole if valid is None else valid))


@pytest.mark.parametrize("shift", [(0, 0), (8, 0), (-5, 6), (0, -REACH)])
def test_the_shift_that_aligns_photo_and_heights_is_found(shift):
    offset = offset_of(*scene(shift))
    assert (offset.rows, offset.columns) == (-shift[0], -shift[1])
    assert offset.is_suspicious() == (shift != (0, 0))
    assert offset.is_suspicious("split") == (shift != (0, 0))


def test_dark_roofs_are_as_good_as_bright_ones():
    photo, heights = scene((8, 0))
    assert offset_of(255 - photo, heights).rows == -8


def test_two_pixels_are_tolerated():
    offset = offset_of(*scene((2, 2)))
    assert (offset.rows, offset.columns) == (-2, -2) and not offset.is_suspicious()


def test_photo_and_heights_of_different_places_say_nothing():
    assert not offset_of(scene(seed=1)[0], scene(seed=2)[1]).is_suspicious()


def test_the_border_of_nodata_is_not_an_edge():
    photo, heights = scene()
    valid = np.ones(heights.shape, bool)
    valid[60:100, 60:100] = False
    holed = np.where(valid, heights, np.float32(np.nan))
    offset = offset_of(photo, holed, valid)
    assert (offset.rows, offset.columns) == (0, 0) and offset.correlation > 0.3
    plateau = np.where(valid, np.float32(10), np.float32(np.nan))
    assert edge_correlation(photo, np.ones_like(valid), plateau, valid) is None


@pytest.mark.parametrize("size", [LEAST_SIZE - 1, SIZE])
def test_small_or_flat_pieces_say_nothing(size):
    photo = np.ones((size, size, 3), "float32")
    valid = np.ones((size, size), bool)
    assert edge_correlation(photo, valid, photo[..., 0], valid) is None


def test_a_shift_that_gains_little_is_not_suspicious():
    assert Offset(8, 0, 0.3, 0.1, 7.0).is_suspicious()
    assert not Offset(8, 0, 0.3, 0.16, 7.0).is_suspicious()
    assert not Offset(8, 0, 0.09, 0.0, 7.0).is_suspicious()
    assert not Offset(8, 0, 0.3, 0.1, 5.9).is_suspicious()
