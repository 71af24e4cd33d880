"""The losses of a batch by hand, of networks whose outputs are given."""

import numpy as np
import tensorflow as tf

from training.steps import MtlLosses

SLOPE = [-(0.5**0.5), 0, 0.5**0.5]  # the normal of 45 degrees to the east


def normal_losses(heights, normals, gsd_factor):
    """Returns the normal loss of each example (rows, columns), at 0.5 m per pixel."""
    heights = np.array(heights, "float32")[..., None]
    outputs = {"heights": tf.zeros(heights.shape), "normals": tf.constant(normals, tf.float32)}
    batch = {
        "image": tf.zeros((*heights.shape[:3], 3)),
        "heights": heights,
        "classes": np.zeros(heights.shape, "int16"),
        "gsd_factor": np.array(gsd_factor, "float32"),
        "sample": np.arange(len(heights)),
    }
    return MtlLosses(lambda image, training: outputs, 0.5, "unit")(batch)["normal_loss"]


def test_a_zoomed_crop_has_the_slopes_of_its_own_pixels():
    # 1 m up for each pixel to the east: 45 degrees where a pixel is 1 m, half as steep at 2 m.
    ramp = np.tile(np.arange(4.0), (2, 4, 1))
    losses = normal_losses(ramp, np.tile(SLOPE, (2, 4, 4, 1)), gsd_factor=[2, 4])
    difference = np.array([-1, 0, 2]) / np.sqrt(5) - SLOPE
    np.testing.assert_allclose(losses, [0, np.square(difference).mean()], atol=1e-6)


def test_a_pixel_without_height_has_no_normal_even_between_known_heights():
    heights, normals = np.zeros((1, 5, 5)), np.tile([0.0, 0, 1], (1, 5, 5, 1))
    heights[0, 2, 2], normals[0, 2, 2] = np.nan, SLOPE  # central differences leave it out
    np.testing.assert_allclose(normal_losses(heights, normals, [1]), [0], atol=1e-6)
