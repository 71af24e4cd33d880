import numpy as np
import pytest
import tensorflow as tf

from models.dae import build_dae, dae_channels, dae_input
from models.height_network import make_height_network
from models.mtl import NetworkOptions, build_mtl

NARROW = NetworkOptions(backbone="tiny", decoder_width=0.02, dropout=0.0)


def test_the_published_network_has_46_variables_and_31_0_million_parameters():
    dae = build_dae(dae_channels(20), NetworkOptions())
    assert len(dae.trainable_variables) == 46
    assert round(sum(np.prod(v.shape) for v in dae.trainable_variables) / 1e6, 1) == 31.0


@pytest.mark.parametrize(
    "classes, normals, channels", [(20, True, 27), (0, False, 4), (3, False, 7), (0, True, 7)]
)
def test_channels_follow_the_heads(classes, normals, channels):
    assert dae_channels(classes, normals) == channels


def test_input_stacks_heights_probabilities_normals_and_image():
    outputs = {
        "heights": np.full((1, 1, 1, 1), 7.0, "float32"),
        "semantics": np.log(np.array([[[[1.0, 3.0]]]], "float32")),
        "normals": np.array([[[[0.0, 0.6, 0.8]]]], "float32"),
    }
    image = np.array([[[[0.0, 51.0, 255.0]]]], "float32")
    expected = [7, 0.25, 0.75, 0, 0.6, 0.8, 0, 0.2, 1]
    np.testing.assert_allclose(dae_input(image, outputs)[0, 0, 0], expected, rtol=1e-6)


def test_input_leaves_the_radar_out():
    outputs = {"heights": np.ones((1, 1, 1, 1), "float32")}
    image = np.array([[[[0.0, 51.0, 255.0, 102.0]]]], "float32")
    np.testing.assert_allclose(dae_input(image, outputs)[0, 0, 0], [1, 0, 0.2, 1], rtol=1e-6)


def test_correction_is_subtracted():
    mtl, dae = build_mtl(NARROW), build_dae(dae_channels(), NARROW)
    head = dae.get_layer("correction")
    head.kernel.assign(head.kernel * 0)
    head.bias.assign([2.5])
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    alone, corrected = make_height_network(mtl)(image), make_height_network(mtl, dae)(image)
    difference = alone["heights"] - corrected["heights"]
    np.testing.assert_allclose(difference, np.full((1, 32, 32, 1), 2.5), atol=1e-5)
    outputs = mtl(image)
    heights = outputs["heights"] - dae(dae_input(image, outputs))
    np.testing.assert_allclose(corrected["heights"], heights, atol=1e-5)


def test_semantics_are_probabilities():
    mtl = build_mtl(NARROW, class_count=3)
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    total = make_height_network(mtl)(image)["semantics"].numpy().sum(axis=-1)
    np.testing.assert_allclose(total, 1, rtol=1e-5)


def test_a_zero_start_corrects_nothing_but_learns():
    dae = build_dae(4, NARROW, start="zero")
    features = np.random.default_rng(0).uniform(0, 9, (1, 32, 32, 4)).astype("float32")
    with tf.GradientTape() as tape:
        correction = dae(features)
        loss = tf.reduce_mean(tf.square(correction - 1))
    assert not np.any(correction)
    assert np.any(tape.gradient(loss, dae.get_layer("correction").kernel))
