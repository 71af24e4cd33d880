"""Computing features twice changes nothing but the memory in use."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.dae import build_dae, dae_channels
from models.mtl import NetworkOptions, build_mtl
from models.segments import recomputation, segment, segments_of
from training.optimizers import SGD
from training.steps import DaeLosses, MtlLosses, StepOptions, make_train_step


def batch(strategy, size=64, count=4):
    generator = np.random.default_rng(0)
    heights = generator.uniform(0, 9, (count, size, size, 1)).astype("float32")
    examples = {
        "image": generator.uniform(0, 255, (count, size, size, 3)).astype("float32"),
        "heights": np.where(heights < 8, heights, np.float32(np.nan)),
        "gsd_factor": np.ones(count, "float32"),
        "classes": generator.integers(-1, 3, (count, size, size, 1)).astype("int32"),
        "sample": np.arange(count),
    }
    dataset = tf.data.Dataset.from_tensors(examples).unbatch().batch(count, True)
    return next(iter(strategy.experimental_distribute_dataset(dataset)))


def build(stage, recompute):
    """Returns (network, losses), with dropout and batch normalisation over all replicas.

    The height decoder represents all decoders.
    """
    keras.utils.set_random_seed(0)
    options = NetworkOptions(
        "tiny", 0.02, "batch", True, dropout=0.3, batch_norm_momentum=0.5, sync_batch_norm=True
    )
    mtl = build_mtl(options, 0, False)
    if stage == "mtl":
        return mtl, MtlLosses(mtl, 0.5, "unit", recompute=recompute)
    dae = build_dae(dae_channels(0, False), options)
    return dae, DaeLosses(mtl, dae, recompute=recompute)


def train(strategy, stage, recompute, parts=1):
    """Takes two steps; returns (losses, network, convolutions in the graph)."""
    with strategy.scope():
        network, losses = build(stage, recompute)
        optimizer = SGD(1e-3)
        optimizer.build(network.trainable_variables)
    options = StepOptions(4, parts=parts, unroll=True)
    step = make_train_step(strategy, network, optimizer, losses, {"height_loss": 1.0}, options)
    examples = batch(strategy)
    losses = [float(step(examples)["loss"]) for _ in range(2)]
    operations = step.get_concrete_function(examples).graph.get_operations()
    convolutions = sum(operation.type == "Conv2D" for operation in operations)
    return losses, network, convolutions


def convolutions_in_segments(network):
    parts = segments_of(network)
    parts += segments_of(network.get_layer("tiny")) if network.name == "mtl" else []
    layers = [layer for part in parts for layer in part.layers]
    return sum(isinstance(layer, keras.layers.Conv2D) for layer in layers)


@pytest.fixture(scope="module")
def kept_mtl():
    """Returns what `train` returns for stage 1 on one device without recomputation."""
    return train(tf.distribute.get_strategy(), "mtl", False)


def test_stage_1_trains_the_same_with_more_convolutions(kept_mtl):
    twice = train(tf.distribute.get_strategy(), "mtl", True)
    assert_same(twice, kept_mtl)
    assert twice[2] - kept_mtl[2] == convolutions_in_segments(kept_mtl[1]) > 0


def test_stage_2_trains_the_same_in_accumulated_parts(monkeypatch):
    monkeypatch.setattr("models.dae.LEVEL_FILTERS", (64,))  # one level has all kinds of segments
    strategy = tf.distribute.get_strategy()
    kept, twice = (train(strategy, "dae", recompute, parts=2) for recompute in (False, True))
    assert_same(twice, kept)
    assert twice[2] - kept[2] == 2 * convolutions_in_segments(kept[1]) > 0


def test_replicas_compute_twice_what_one_device_keeps(make_replicas, kept_mtl):
    assert_same(train(make_replicas(2), "mtl", True), kept_mtl)


def assert_same(found, expected):
    """Compares losses, and all weights and moving statistics."""
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    weights = (network.get_weights() for network in (found[1], expected[1]))
    for one, two in zip(*weights, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_only_training_computes_twice():
    calls = []

    class Count(keras.layers.Layer):
        def call(self, inputs):
            calls.append(1)
            return inputs * inputs

    inputs = keras.Input((1,))
    model = keras.Model(inputs, segment("part", lambda x: Count()(x), inputs))
    x = tf.constant([[3.0]])
    for training, expected in ((True, 2), (False, 1)):
        calls.clear()
        with tf.GradientTape() as tape, recomputation():
            tape.watch(x)
            y = model(x, training=training)
        assert tape.gradient(y, x).numpy() == [[6.0]]
        assert len(calls) == expected


def test_segments_come_in_the_order_of_the_graph():
    mtl = build_mtl(NetworkOptions("tiny", 0.02), 0, False)
    stages = [1, 2, 3, 4, 5]
    assert [part.name for part in segments_of(mtl)] == [f"height_stage{n}" for n in stages]
    encoder = segments_of(mtl.get_layer("tiny"))
    assert [part.name for part in encoder] == [f"stage{n}" for n in stages]
