import numpy as np
import pytest

from datasets.demo.canvas import BUILDING, GROUND, VEGETATION
from datasets.demo.scene import KINDS, highest_return, make_scene, photograph


@pytest.fixture(scope="module")
def scenes():
    """One 96 m scene of each kind."""
    return [make_scene(np.random.default_rng([7, k]), 192, 0.5, k) for k in range(len(KINDS))]


def share(scenes, label):
    return np.mean([scene.labels == label for scene in scenes])


def test_a_scene_has_the_documented_arrays():
    scene = make_scene(np.random.default_rng(0), 48, 0.5, 0)
    assert scene.image.shape == (48, 48, 3) and scene.image.dtype == "uint8"
    assert scene.heights.shape == (48, 48) and scene.heights.dtype == "float32"
    assert scene.labels.shape == (48, 48) and scene.labels.dtype == "uint8"


def test_equal_generators_make_equal_scenes():
    one, two = (make_scene(np.random.default_rng([1, 2]), 48, 0.5, 1) for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.heights, two.heights)


def test_labels_agree_with_heights(scenes):
    for scene in scenes:
        assert scene.heights[scene.labels == BUILDING].min() > 2
        assert scene.heights[scene.labels == GROUND].max() < 3
        assert (scene.heights[scene.labels == VEGETATION] > 0).all()


def test_shares_of_the_classes(scenes):
    assert 0.5 < share(scenes, GROUND) < 0.7
    assert 0.1 < share(scenes, VEGETATION) < 0.3
    assert 0.1 < share(scenes, BUILDING) < 0.3


def test_shadows_darken_the_photo_north_of_what_stands(scenes):
    # The sun stands in the south: the ground 2 m north of a roof is in its shadow.
    roof = np.stack([scene.labels == BUILDING for scene in scenes])
    ground = np.stack([scene.labels == GROUND for scene in scenes])
    light = np.stack([scene.image.mean(axis=-1) for scene in scenes])
    north = light[ground & np.roll(roof, -4, axis=1)]
    south = light[ground & np.roll(roof, 4, axis=1)]
    assert north.mean() < 0.9 * south.mean()


def test_the_sun_differs_from_scene_to_scene(scenes):
    assert len({scene.sun.azimuth for scene in scenes}) == len(KINDS)
    assert all(38 <= scene.sun.elevation <= 52 for scene in scenes)


def test_the_highest_point_of_a_pixel_counts():
    heights = np.array([[0, 4, 1, 1], [0, 0, 1, 2]], "float32")
    labels = np.array([[1, 3, 1, 1], [1, 1, 1, 2]], "uint8")
    top, label = highest_return(heights, labels)
    assert top.tolist() == [[4, 2]] and label.tolist() == [[3, 2]]


def test_a_photo_of_grey_is_grey_with_noise():
    photo = photograph(np.random.default_rng(0), np.full((400, 400, 3), 0.2, "float32"), 0.25)
    assert photo.shape == (200, 200, 3)
    middle = 255 * 0.2 ** (1 / 2.2)  # 123; exposure varies by some 5 % of it
    np.testing.assert_allclose(photo.mean(axis=(0, 1)), middle, rtol=0.25)
    assert 2 < photo.std(axis=(0, 1)).max() < 15
