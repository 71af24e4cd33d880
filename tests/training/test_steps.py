"""The losses of a batch by hand, of networks whose outputs are given."""

import numpy as np
import tensorflow as tf

from training.steps import MtlLosses

SLOPE = [-(0.5**0.5), 0, 0.5**0.5]  # the normal of 45 degrees to the east


def losses(heights, outputs, gsd_factor=1.0):
    """Returns the losses of examples (rows, columns) at 0.5 m per pixel; outputs by name."""
    heights = np.array(heights, "float32")[..., None]
    outputs = {name: tf.constant(values, tf.float32) for name, values in outputs.items()}
    batch = {
        "image": tf.zeros((*heights.shape[:3], 3)),
        "heights": heights,
        "classes": np.zeros(heights.shape, "int16"),
        "gsd_factor": np.full(len(heights), gsd_factor, "float32"),
        "sample": np.arange(len(heights)),
    }
    outputs = {"heights": tf.zeros(heights.shape)} | outputs
    return MtlLosses(lambda image, training: outputs, 0.5, "unit")(batch)


def test_a_zoomed_crop_has_the_slopes_of_its_own_pixels():
    # 1 m up for each pixel to the east: 45 degrees where a pixel is 1 m, half as steep at 2 m.
    ramp = np.tile(np.arange(4.0), (2, 4, 1))
    loss = losses(ramp, {"normals": np.tile(SLOPE, (2, 4, 4, 1))}, [2, 4])["normal_loss"]
    difference = np.array([-1, 0, 2]) / np.sqrt(5) - SLOPE
    np.testing.assert_allclose(loss, [0, np.square(difference).mean()], atol=1e-6)


def test_a_pixel_without_height_has_no_normal_even_between_known_heights():
    heights, normals = np.zeros((1, 5, 5)), np.tile([0.0, 0, 1], (1, 5, 5, 1))
    heights[0, 2, 2], normals[0, 2, 2] = np.nan, SLOPE  # central differences leave it out
    loss = losses(heights, {"normals": normals}, 2)["normal_loss"]
    np.testing.assert_allclose(loss, [0], atol=1e-6)


def test_coarser_stages_count_alike_and_only_where_a_height_is_known():
    heights = np.full((1, 4, 4), 6.0)
    heights[..., 2:] = np.nan
    # Half the resolution is 1 m off in the left column, a quarter 2 m; squared, (1 + 4) / 2.
    coarse = {"heights_stage4": np.full((1, 2, 2, 1), 5.0), "heights_stage3": [[[[8.0]]]]}
    np.testing.assert_allclose(losses(heights, coarse)["deep_height_loss"], [2.5])
