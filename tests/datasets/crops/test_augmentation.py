import numpy as np
import pytest
import tensorflow as tf

from datasets.crops.augmentation import Augmentation, change_colours, resize_sample, turn_sample
from datasets.crops.targets import unit_normals


@pytest.mark.parametrize(
    "turn, expected",
    [(0, [[1, 2], [3, 4]]), (1, [[2, 4], [1, 3]]), (2, [[4, 3], [2, 1]]), (4, [[2, 1], [4, 3]])],
)
def test_turns_by_hand(turn, expected):
    raster = tf.constant([[1, 2], [3, 4]])[..., None]
    turned = turn_sample({"a": raster, "b": raster * 10}, tf.constant(turn))
    np.testing.assert_array_equal(turned["a"][..., 0], expected)
    np.testing.assert_array_equal(turned["b"][..., 0], np.array(expected) * 10)


def test_turns_are_those_of_numpy():
    raster = np.random.default_rng(0).integers(0, 99, (5, 5, 2))
    for turn in range(8):
        expected = np.rot90(raster, turn % 4)
        expected = expected[:, ::-1] if turn >= 4 else expected
        turned = turn_sample({"a": tf.constant(raster)}, tf.constant(turn))["a"]
        np.testing.assert_array_equal(turned, expected)


@pytest.mark.parametrize(
    "switches, turned",
    [
        ({}, {"as it is"}),
        ({"flips": True}, {"as it is", "left to right", "top to bottom", "both"}),
        ({"turns": True}, {"as it is", "both", "left", "right"}),
    ],
)
def test_flips_and_turns_are_switched_one_by_one(switches, turned):
    raster = tf.constant([[1, 2], [3, 4]])[..., None]
    names = {
        (1, 2, 3, 4): "as it is",
        (2, 1, 4, 3): "left to right",
        (3, 4, 1, 2): "top to bottom",
        (4, 3, 2, 1): "both",
        (2, 4, 1, 3): "left",
        (3, 1, 4, 2): "right",
    }
    turns = [turn_sample({"a": raster}, tf.constant(t)) for t in Augmentation(**switches).choices]
    assert {names[tuple(turn["a"].numpy().ravel().tolist())] for turn in turns} == turned


IMAGE = np.array([[[100, 50, 200, 7], [0, 0, 0, 9]], [[20, 30, 40, 3], [60, 70, 80, 5]]], "float32")


def changed(image, **amounts):
    return [
        change_colours(tf.constant(image), tf.constant([3, i]), Augmentation(**amounts)).numpy()
        for i in range(40)
    ]


def test_black_and_radar_stay_and_values_stay_in_range():
    for image in changed(IMAGE, brightness=0.9, contrast=0.9, colour=0.9):
        assert (image[0, 1, :3] == 0).all() and (image[..., 3] == IMAGE[..., 3]).all()
        assert image.min() >= 0 and image.max() <= 255


def test_brightness_adds_the_same_to_every_band():
    images = changed(IMAGE, brightness=0.05)
    shifts = [image[1, 0, 0] - IMAGE[1, 0, 0] for image in images]
    assert max(map(abs, shifts)) <= 0.05 * 255 and np.std(shifts) > 3
    for image, shift in zip(images, shifts, strict=True):
        np.testing.assert_allclose(image[1, 1, :3] - IMAGE[1, 1, :3], [shift] * 3, atol=1e-3)


def test_contrast_keeps_the_mean_of_what_the_photo_shows_and_scales_the_differences():
    image = np.array([[[100, 100, 100], [140, 140, 140], [0, 0, 0], [0, 0, 0]]], "float32")
    for result in changed(image, contrast=0.3):
        np.testing.assert_allclose(result[0, :2].mean(), 120, atol=1e-3)
        assert 0.7 - 1e-6 <= (result[0, 1, 0] - result[0, 0, 0]) / 40 <= 1.3 + 1e-6


def test_colour_multiplies_each_band_alike_in_all_pixels():
    image = np.array([[[100, 100, 100], [50, 50, 50]]], "float32")
    results = changed(image, colour=0.2)
    gains = np.array([result[0, 0] / 100 for result in results])
    assert gains.min() >= 0.8 - 1e-6 and gains.max() <= 1.2 + 1e-6 and gains.std(axis=1).min() > 0
    for result, gain in zip(results, gains, strict=True):
        np.testing.assert_allclose(result[0, 1], 50 * gain, rtol=1e-5)


def test_bytes_stay_bytes():
    image = tf.constant(IMAGE, tf.uint8)
    result = change_colours(image, tf.constant([1, 2]), Augmentation(brightness=0.1))
    assert result.dtype == tf.uint8


@pytest.mark.parametrize("read, border", [(33, 2), (48, 2), (64, 0), (96, 0)])
def test_a_slope_of_45_degrees_stays_one_at_any_pixel_size(read, border):
    # 1 m up for every metre to the east, 0.5 m per pixel; `read` pixels become 64.
    heights = np.broadcast_to(np.arange(read, dtype="float32") * 0.5, (read, read))[..., None]
    sample = {"image": np.zeros((read, read, 3)), "heights": heights, "classes": heights * 0}
    result = resize_sample({name: tf.constant(value) for name, value in sample.items()}, 64)
    assert result["heights"].shape == (64, 64, 1)
    normals = unit_normals(result["heights"][None], tf.constant([0.5 * read / 64]))[0].numpy()
    known = np.isfinite(normals).all(axis=-1)
    assert known[border : 64 - border, border : 64 - border].all()
    assert known.sum() == (64 - 2 * border) ** 2
    expected = np.broadcast_to([-(0.5**0.5), 0, 0.5**0.5], normals[known].shape)
    np.testing.assert_allclose(normals[known], expected, atol=1e-4)


def test_classes_and_missing_heights_are_not_mixed():
    heights = np.zeros((4, 4, 1), "float32")
    heights[0] = np.nan
    classes = np.array([[-1, -1, 7, 7]] * 4, "int16")[..., None]
    sample = {"image": np.full((4, 4, 3), 9, "uint8"), "heights": heights, "classes": classes}
    result = resize_sample({name: tf.constant(value) for name, value in sample.items()}, 8)
    assert set(np.unique(result["classes"])) == {-1, 7} and (result["image"].numpy() == 9).all()
    assert np.isnan(result["heights"][0]).all()
    assert not np.isnan(result["heights"][4:-1, 1:-1]).any()
