import numpy as np
import pytest

from models.backbones import make_backbone, with_stored_statistics


def test_tiny_has_about_a_tenth_of_a_million_parameters():
    assert 0.09e6 < make_backbone("tiny").count_params() < 0.11e6


def test_unknown_backbone_lists_the_known_ones():
    with pytest.raises(ValueError, match="vgg.*densenet121, tiny"):
        make_backbone("vgg")


def test_stored_statistics_keep_weights_and_inference():
    model = make_backbone("tiny")
    copy = with_stored_statistics(model)
    image = np.random.default_rng(0).uniform(0, 1, (1, 64, 64, 3)).astype("float32")
    np.testing.assert_array_equal(copy(image, training=True), model(image, training=False))
