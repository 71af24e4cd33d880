import keras
import numpy as np
import pytest

from models.backbones import BACKBONES, WeightsError, make_backbone, pretrained_weights
from models.normalisation import BatchNormOptions


def test_tiny_has_about_a_tenth_of_a_million_parameters():
    assert 0.09e6 < make_backbone("tiny", BatchNormOptions()).count_params() < 0.11e6


def test_unknown_backbone_lists_the_known_ones():
    with pytest.raises(ValueError, match="vgg.*densenet121, resnet50, tiny"):
        make_backbone("vgg", BatchNormOptions())


def test_stored_statistics_keep_weights_and_inference():
    model = BACKBONES["tiny"]()
    copy = BatchNormOptions(frozen=True).apply(model)
    image = np.random.default_rng(0).uniform(0, 1, (1, 64, 64, 3)).astype("float32")
    pairs = zip(model(image, training=False), copy(image, training=True), strict=True)
    for trained, stored in pairs:
        np.testing.assert_array_equal(stored, trained)


def test_momentum_reaches_every_layer():
    model = make_backbone("tiny", BatchNormOptions(momentum=0.5))
    statistics = model.get_layer("stage1").get_layer("stage1_bn").moving_mean
    image = np.full((1, 32, 32, 3), 1.0, "float32")
    model(image, training=True)
    once = statistics.numpy()
    model(image, training=True)
    np.testing.assert_allclose(statistics.numpy(), 1.5 * once, rtol=1e-5)  # 1/2, then 3/4 of it


@pytest.mark.parametrize("name", ["tiny", "densenet121", "resnet50"])
def test_features_go_from_coarse_to_fine(name):
    features = make_backbone(name, BatchNormOptions())(np.zeros((1, 64, 96, 3), "float32"))
    assert [f.shape[1:3] for f in features] == [(2, 3), (4, 6), (8, 12), (16, 24), (32, 48)]


@pytest.mark.parametrize("source", ["none", "auto"])
def test_tiny_begins_at_random(source):
    assert pretrained_weights("tiny", source) == (None, "random")


@pytest.mark.parametrize(
    "name, source, message",
    [
        ("tiny", "imagenet", "none for the tiny encoder"),
        ("resnet50", "absent.weights.h5", "no file absent.weights.h5"),
    ],
)
def test_weights_that_cannot_be_had_are_explained(name, source, message):
    with pytest.raises(WeightsError, match=f"backbone_weights is {source}.*{message}.*set none"):
        pretrained_weights(name, source)


def test_a_file_gives_the_encoder_its_weights(tmp_path):
    path = str(tmp_path / "r.weights.h5")
    network = keras.applications.ResNet50(include_top=False, weights=None)
    network.save_weights(path)
    source, told = pretrained_weights("resnet50", path)
    assert source == told == path
    model = make_backbone("resnet50", BatchNormOptions(), source)
    for stage, layer in (("stage1", "conv1_conv"), ("stage5", "conv5_block3_3_conv")):
        expected = network.get_layer(layer).get_weights()[0]
        found = model.get_layer(stage).get_layer(layer).get_weights()[0]
        np.testing.assert_array_equal(found, expected)


def test_weights_of_another_network_are_refused(tmp_path):
    path = str(tmp_path / "t.weights.h5")
    make_backbone("tiny", BatchNormOptions()).save_weights(path)
    with pytest.raises(WeightsError, match="resnet50 cannot be given these weights"):
        pretrained_weights("resnet50", path)


def test_without_a_download_auto_is_random_and_says_so(monkeypatch):
    def fail(weights=None):
        raise Exception("URL fetch failure")

    monkeypatch.setitem(BACKBONES, "densenet121", fail)
    weights, told = pretrained_weights("densenet121", "auto")
    assert weights is None and told.startswith("RANDOM") and "URL fetch failure" in told
