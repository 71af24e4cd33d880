import cv2
import numpy as np
import pytest
import tensorflow as tf

from datasets.crops.targets import normal_targets, published_normals, unit_normals


def column_ramp(rise, rows=5, columns=6):
    return tf.constant(np.tile(np.arange(columns) * rise, (rows, 1))[None, ..., None], tf.float32)


@pytest.mark.parametrize("gsd", [0.05, 0.5, 2.0])
def test_normals_of_a_45_degree_ramp_do_not_depend_on_gsd(gsd):
    expected = np.broadcast_to(np.array([-1, 0, 1]) / np.sqrt(2), (1, 5, 6, 3))
    np.testing.assert_allclose(unit_normals(column_ramp(gsd), gsd), expected, atol=1e-6)


def test_normals_agree_with_numpy_gradient_also_at_the_border():
    heights = np.random.default_rng(0).uniform(0, 9, (6, 7)).astype("float32")
    slope_y, slope_x = np.gradient(heights, 0.5)
    expected = np.stack([-slope_x, -slope_y, np.ones_like(slope_x)], axis=-1)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    np.testing.assert_allclose(
        unit_normals(heights[None, ..., None], 0.5)[0], expected, rtol=1e-4, atol=1e-6
    )


def test_nodata_reaches_its_neighbours_only():
    heights = np.zeros((1, 5, 5, 1), "float32")
    heights[0, 2, 2] = np.nan
    unknown = np.isnan(unit_normals(heights, 1.0)).any(axis=-1)[0]
    # The central difference of the middle pixel itself does not use the middle pixel.
    assert np.argwhere(unknown).tolist() == [[1, 2], [2, 1], [2, 3], [3, 2]]


def test_published_normals_are_opencv_sobel_sums():
    heights = np.random.default_rng(1).uniform(0, 3, (8, 9)).astype("float32")
    sums = [cv2.Sobel(heights, cv2.CV_64F, *order, ksize=5) for order in ((1, 0), (0, 1))]
    expected = np.stack([-sums[0], -sums[1], np.ones_like(sums[0])], axis=-1)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    result = published_normals(heights[None, ..., None])[0]
    np.testing.assert_allclose(result, (expected + 1) / 2, atol=1e-5)


def test_coding_chooses():
    heights = column_ramp(1.0)
    np.testing.assert_array_equal(normal_targets(heights, 1.0, "unit"), unit_normals(heights, 1.0))
    np.testing.assert_array_equal(
        normal_targets(heights, 1.0, "published"), published_normals(heights)
    )
