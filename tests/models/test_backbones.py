import h5py
import keras
import numpy as np
import pytest

from models.backbones import (
    BACKBONES,
    Backbone,
    WeightsError,
    make_backbone,
    pretrained_weights,
    tiny_backbone,
)
from models.mtl import NetworkOptions, build_mtl
from models.normalisation import BatchNormOptions


def test_tiny_has_about_a_tenth_of_a_million_parameters():
    assert 0.09e6 < make_backbone("tiny", BatchNormOptions()).count_params() < 0.11e6


def three_layers(weights):
    """Builds an encoder with a convolution for its first, third and last stage."""
    image = keras.Input((None, None, 3))
    x, stages = image, []
    for filters in (4, None, 8, None, 16):
        if filters:
            x = keras.layers.Conv2D(filters, 3, 2, "same", activation="relu")(x)
        else:
            x = keras.layers.AveragePooling2D(2)(x)
        stages.append(x)
    return keras.Model(image, stages[::-1], name="three")


def test_a_new_encoder_trains_in_an_ordinary_keras_model(monkeypatch):
    monkeypatch.setitem(BACKBONES, "three", Backbone(three_layers, pretrained=False))
    assert pretrained_weights("three", "auto") == (None, "random")
    mtl = build_mtl(NetworkOptions("three", 0.02, dropout=0.0), normals=False)
    before = [variable.numpy() for variable in mtl.get_layer("three").trainable_variables]
    mtl.compile("sgd", loss={"heights": "mse"})
    image = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    history = mtl.fit(image, {"heights": image[..., :1]}, epochs=2, verbose=0).history["loss"]
    assert history[1] < history[0]
    after = mtl.get_layer("three").trainable_variables
    moved = [(a.numpy() != b).any() for a, b in zip(after, before, strict=True)]
    assert moved == [True] * 3 * 2


def test_unknown_backbone_lists_the_known_ones():
    with pytest.raises(ValueError, match="vgg.*densenet121, resnet50, tiny"):
        make_backbone("vgg", BatchNormOptions())


def test_stored_statistics_keep_weights_and_inference():
    model = tiny_backbone()
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


def assert_coarse_to_fine(encoder):
    features = encoder(np.zeros((1, 64, 96, 3), "float32"))
    assert [f.shape[1:3] for f in features] == [(2, 3), (4, 6), (8, 12), (16, 24), (32, 48)]


def test_features_of_tiny_go_from_coarse_to_fine():
    assert_coarse_to_fine(make_backbone("tiny", BatchNormOptions()))


@pytest.mark.parametrize("source", ["none", "auto"])
def test_tiny_starts_at_random(source):
    assert pretrained_weights("tiny", source) == (None, "random")


@pytest.mark.parametrize(
    "name, source, message",
    [
        ("tiny", "imagenet", "none for the tiny encoder"),
        ("resnet50", "absent.weights.h5", "no file absent.weights.h5"),
    ],
)
def test_missing_weights_are_explained(name, source, message):
    with pytest.raises(WeightsError, match=f"backbone_weights is {source}.*{message}.*set none"):
        pretrained_weights(name, source)


def test_a_file_gives_resnet50_its_weights(tmp_path):
    path = str(tmp_path / "r.weights.h5")
    network = keras.applications.ResNet50(include_top=False, weights=None)
    network.save_weights(path)
    source, told = pretrained_weights("resnet50", path)
    assert source == told == path
    model = make_backbone("resnet50", BatchNormOptions(), source)
    assert_coarse_to_fine(model)
    for stage, layer in (("stage1", "conv1_conv"), ("stage5", "conv5_block3_3_conv")):
        expected = network.get_layer(layer).get_weights()[0]
        found = model.get_layer(stage).get_layer(layer).get_weights()[0]
        np.testing.assert_array_equal(found, expected)


def test_weights_of_another_network_are_refused(tmp_path):
    path = str(tmp_path / "t.weights.h5")
    make_backbone("tiny", BatchNormOptions()).save_weights(path)
    with pytest.raises(WeightsError, match="resnet50 cannot be given these weights"):
        pretrained_weights("resnet50", path)


@pytest.mark.parametrize("name", ["a.keras", "a.weights.json", "a.npz", "a.pkl"])
def test_files_that_may_hold_more_than_numbers_are_not_opened(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(WeightsError, match=r"expected \.h5 or \.safetensors"):
        pretrained_weights("resnet50", str(tmp_path / name))


def test_encoder_weights_in_another_file_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("b.h5", "/layers")
    with pytest.raises(WeightsError, match="/layers is a link, which is not followed"):
        pretrained_weights("resnet50", str(tmp_path / "a.h5"))


def test_without_a_download_auto_is_random_and_says_so(monkeypatch):
    def fail(weights):
        raise Exception("URL fetch failure")

    monkeypatch.setitem(BACKBONES, "densenet121", Backbone(fail))
    weights, told = pretrained_weights("densenet121", "auto")
    assert weights is None and told.startswith("RANDOM") and "URL fetch failure" in told
