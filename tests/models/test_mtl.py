from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.mtl import NetworkOptions, build_mtl, normalise_image

TINY = NetworkOptions(backbone="tiny", decoder_width=0.02, dropout=0.0)


def image(rows=32, columns=32, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (1, rows, columns, 3)).astype("float32")


def test_the_published_network_has_420_variables_and_103_2_million_parameters():
    mtl = build_mtl(NetworkOptions(), class_count=20)
    assert len(mtl.trainable_variables) == 420
    assert round(sum(np.prod(v.shape) for v in mtl.trainable_variables) / 1e6, 1) == 103.2


@pytest.mark.parametrize("rows, columns", [(32, 32), (64, 96)])
def test_maps_have_the_size_of_the_image(rows, columns):
    outputs = build_mtl(TINY, class_count=4)(image(rows, columns))
    shapes = {name: value.shape for name, value in outputs.items()}
    assert shapes == {
        "heights": (1, rows, columns, 1),
        "semantics": (1, rows, columns, 4),
        "normals": (1, rows, columns, 3),
    }


@pytest.mark.parametrize(
    "class_count, normals, names, variables",
    [
        (0, False, {"heights"}, 15 + 2 + 10 + 20 + 2),
        (3, False, {"heights", "semantics"}, 15 + 2 + 20 + 20 + 4),
        (0, True, {"heights", "normals"}, 15 + 2 + 20 + 20 + 4),
    ],
)
def test_heads_are_optional(class_count, normals, names, variables):
    mtl = build_mtl(TINY, class_count, normals)
    assert set(mtl(image())) == names
    assert len(mtl.trainable_variables) == variables


def test_guides_reach_the_height():
    mtl = build_mtl(TINY, class_count=2)
    before = mtl(image())["heights"].numpy()
    kernel = mtl.get_layer("semantic_stage5").get_layer("semantic_stage5_up").kernel
    kernel.assign(kernel + 1.0)
    assert np.abs(mtl(image())["heights"].numpy() - before).max() > 0


@pytest.mark.parametrize("mode, moves", [("train", True), ("frozen", False)])
def test_frozen_batch_norm_keeps_its_statistics_but_learns(mode, moves):
    mtl = build_mtl(replace(TINY, encoder_batch_norm=mode))
    statistics = mtl.non_trainable_weights
    before = [v.numpy() for v in statistics]
    mtl(image(), training=True)
    moved = [(v.numpy() != b).any() for v, b in zip(statistics, before, strict=True)]
    assert len(moved) == 2 * 6 and any(moved) == moves
    assert len(mtl.trainable_variables) == 15 + 2 + 20 + 20 + 4


def test_published_normals_are_never_negative():
    options = NetworkOptions(backbone="tiny", decoder_width=0.02, normal_coding="published")
    assert build_mtl(options)(image())["normals"].numpy().min() >= 0
    assert build_mtl(TINY)(image(seed=1))["normals"].numpy().min() < 0


def test_imagenet_normalisation_by_hand():
    pixel = np.full((1, 1, 1, 3), 255.0, "float32")
    np.testing.assert_allclose(normalise_image(pixel, "zero_to_one")[0, 0, 0], [1, 1, 1])
    np.testing.assert_allclose(
        normalise_image(pixel, "imagenet")[0, 0, 0],
        [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225],
        rtol=1e-5,
    )


def test_names_are_stable_and_unique():
    first, second = (build_mtl(TINY, class_count=2) for _ in range(2))
    paths = [v.path for v in first.weights]
    assert paths == [v.path for v in second.weights]
    assert len(set(paths)) == len(paths)


def test_skips_and_norm_reach_every_decoder():
    options = replace(TINY, decoder_skips=True, decoder_norm="batch")
    mtl = build_mtl(options, class_count=2)
    assert mtl(image(64, 32))["heights"].shape == (1, 64, 32, 1)
    for decoder in ("semantic", "normal", "height"):
        stages = (mtl.get_layer(f"{decoder}_stage{number}") for number in (1, 2, 3, 4, 5))
        names = {layer.name for stage in stages for layer in stage.layers}
        assert {f"{decoder}_stage{stage}_skip" for stage in (1, 2, 3, 4)} <= names
        assert {f"{decoder}_stage{stage}_up_bn" for stage in (1, 2, 3, 4, 5)} <= names


def test_resnet_normalisation_is_that_of_keras():
    pixels = image(4, 4)
    expected = keras.applications.resnet50.preprocess_input(pixels.copy())
    found = normalise_image(pixels, "imagenet", "resnet50")
    np.testing.assert_allclose(found, expected, atol=1e-4)


def with_radar(photo, seed=1):
    radar = np.random.default_rng(seed).uniform(0, 255, photo[..., :1].shape)
    return np.concatenate([photo, radar.astype("float32")], axis=-1)


def test_fusion_starts_as_the_network_without_radar():
    plain, fused = (
        build_mtl(replace(TINY, sar_mode=mode, input_normalisation="imagenet"), class_count=2)
        for mode in ("none", "fusion")
    )
    layer = fused.get_layer("sar_fusion")
    own = {id(weight) for weight in layer.weights}
    assert [tuple(weight.shape) for weight in layer.weights] == [(3, 3, 4, 3), (3,)]
    for weight, value in zip(
        [w for w in fused.weights if id(w) not in own], plain.get_weights(), strict=True
    ):
        weight.assign(value)
    for training in (False, True):
        expected = plain(image(64, 32), training=training)
        outputs = fused(with_radar(image(64, 32)), training=training)
        for name, value in expected.items():
            scale = np.abs(value).max()
            np.testing.assert_allclose(outputs[name], value, atol=1e-5 * scale)


def test_fusion_learns_from_the_radar():
    mtl = build_mtl(replace(TINY, sar_mode="fusion"), normals=False)
    kernel = mtl.get_layer("sar_fusion").kernel
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(mtl(with_radar(image()))["heights"] - 5))
    gradient = tape.gradient(loss, kernel.value).numpy()
    assert (gradient[:, :, 3] != 0).any(axis=(0, 1)).all() and gradient[:, :, :3].any()
    seen = [mtl(with_radar(image(), seed))["heights"].numpy() for seed in (1, 2)]
    kernel.assign(kernel - gradient)
    seen += [mtl(with_radar(image(), seed))["heights"].numpy() for seed in (1, 2)]
    assert np.array_equal(*seen[:2]) and not np.array_equal(*seen[2:])


def test_weights_load_whatever_dropout_and_batch_statistics(tmp_path):
    trained = build_mtl(replace(TINY, decoder_norm="batch", sync_batch_norm=True))
    trained.save_weights(tmp_path / "mtl.weights.h5")
    other = build_mtl(replace(TINY, decoder_norm="batch", dropout=0.5))
    other.load_weights(tmp_path / "mtl.weights.h5")
    for one, two in zip(trained.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_deep_supervision_adds_heights_of_coarser_stages():
    outputs = build_mtl(replace(TINY, deep_supervision=0.5), normals=False)(image(64, 32))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "heights": (1, 64, 32, 1),
        "heights_stage1": (1, 4, 2, 1),
        "heights_stage2": (1, 8, 4, 1),
        "heights_stage3": (1, 16, 8, 1),
        "heights_stage4": (1, 32, 16, 1),
    }
