"""The number of replicas must not change what is learned."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.dae import build_dae, dae_channels
from models.mtl import NetworkOptions, build_mtl
from training.optimizers import SGD
from training.steps import StepOptions, dae_losses, make_train_step, mtl_losses

STEPS, LEARNING_RATE = 5, 0.001
CLIP_NORM = 5.0  # below every gradient here
BRIGHTNESS = np.array([0.1, 0.3, 0.6, 1.0])[:, None, None, None]  # replicas see unlike images
WEIGHTS = {"height_loss": 0.7, "semantic_loss": 1.3, "normal_loss": 2.0}


def batches():
    """Yields batches of 4 examples with nodata; one example has no valid pixel at all."""
    generator = np.random.default_rng(0)
    for step in range(STEPS):
        heights = generator.uniform(0, 9, (4, 32, 32, 1)).astype("float32")
        heights[:, : 4 + step] = np.nan
        heights[step % 4] = np.nan
        yield {
            "image": (generator.uniform(0, 255, (4, 32, 32, 3)) * BRIGHTNESS).astype("float32"),
            "heights": heights,
            "valid": np.isfinite(heights),
            "classes": generator.integers(-1, 3, (4, 32, 32, 1)).astype("int32"),
            "sample": np.arange(4 * step, 4 * step + 4),
        }


def build(stage, batch_norm):
    keras.utils.set_random_seed(1)
    mode = "frozen" if batch_norm == "frozen" else "train"
    options = NetworkOptions("tiny", decoder_width=0.02, dropout=0.3, encoder_batch_norm=mode)
    if batch_norm == "synchronised":
        options = replace(options, decoder_norm="batch", decoder_skips=True, sync_batch_norm=True)
    mtl = build_mtl(options, class_count=3)
    model = mtl if stage == "mtl" else build_dae(dae_channels(3), options.style)
    return model, mtl_losses(mtl, 0.5, "unit") if stage == "mtl" else dae_losses(mtl, model)


def train(strategy, stage, batch_norm):
    """Runs the steps; returns (losses, weights)."""
    with strategy.scope():
        model, losses = build(stage, batch_norm)
        # Adam would turn the rounding of a gradient near zero into a full step.
        optimizer = SGD(LEARNING_RATE, momentum=0.9)
        optimizer.build(model.trainable_variables)
    weights = WEIGHTS if stage == "mtl" else {"height_loss": 1.0}
    step = make_train_step(strategy, model, optimizer, losses, weights, StepOptions(4, CLIP_NORM))
    dataset = tf.data.Dataset.from_generator(
        batches,
        output_signature={
            name: tf.TensorSpec(value.shape, value.dtype) for name, value in next(batches()).items()
        },
    )
    stream = strategy.experimental_distribute_dataset(dataset.unbatch().batch(4, True))
    rows = [{name: float(value) for name, value in step(batch).items()} for batch in stream]
    return rows, model.get_weights()


@pytest.mark.parametrize(
    "stage, batch_norm", [("mtl", "frozen"), ("mtl", "synchronised"), ("dae", "synchronised")]
)
def test_replicas_train_like_one_device(make_replicas, stage, batch_norm):
    rows, weights = train(make_replicas(1), stage, batch_norm)
    assert len(rows) == STEPS and rows[-1]["loss"] != rows[0]["loss"]
    assert all(row["gradient_norm"] > CLIP_NORM for row in rows)
    for count in (2, 4):
        same_rows, same_weights = train(make_replicas(count), stage, batch_norm)
        for row, same in zip(rows, same_rows, strict=True):
            assert same == pytest.approx(row, rel=1e-4)
        for one, many in zip(weights, same_weights, strict=True):
            np.testing.assert_allclose(many, one, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_weighted_sum_of_its_components(make_replicas):
    rows, _ = train(make_replicas(2), "mtl", "frozen")
    for row in rows:
        assert row["loss"] == pytest.approx(sum(w * row[name] for name, w in WEIGHTS.items()))


def test_local_statistics_would_differ(make_replicas):
    """Shows that the comparison can see a difference: unsynchronised statistics are one."""
    one, _ = train(make_replicas(1), "mtl", "local")
    two, _ = train(make_replicas(2), "mtl", "local")
    assert two[-1]["loss"] != pytest.approx(one[-1]["loss"], rel=1e-4)
