import numpy as np
import pytest

from models.backbones import make_backbone
from models.normalisation import BatchNormOptions


def test_tiny_has_about_a_tenth_of_a_million_parameters():
    assert 0.09e6 < make_backbone("tiny", BatchNormOptions()).count_params() < 0.11e6


def test_unknown_backbone_lists_the_known_ones():
    with pytest.raises(ValueError, match="vgg.*densenet121, tiny"):
        make_backbone("vgg", BatchNormOptions())


def test_stored_statistics_keep_weights_and_inference():
    model = make_backbone("tiny", BatchNormOptions())
    copy = BatchNormOptions(frozen=True).apply(model)
    image = np.random.default_rng(0).uniform(0, 1, (1, 64, 64, 3)).astype("float32")
    pairs = zip(model(image, training=False), copy(image, training=True), strict=True)
    for trained, stored in pairs:
        np.testing.assert_array_equal(stored, trained)


def test_momentum_reaches_every_layer():
    model = make_backbone("tiny", BatchNormOptions(momentum=0.5))
    statistics = model.get_layer("stage1_bn").moving_mean
    image = np.full((1, 32, 32, 3), 1.0, "float32")
    model(image, training=True)
    once = statistics.numpy()
    model(image, training=True)
    np.testing.assert_allclose(statistics.numpy(), 1.5 * once, rtol=1e-5)  # 1/2, then 3/4 of it


@pytest.mark.parametrize("name", ["tiny", "densenet121"])
def test_features_go_from_coarse_to_fine(name):
    features = make_backbone(name, BatchNormOptions())(np.zeros((1, 64, 96, 3), "float32"))
    assert [f.shape[1:3] for f in features] == [(2, 3), (4, 6), (8, 12), (16, 24), (32, 48)]
