"""The number of replicas must not change what is learned."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf

import models.normalisation
import training.steps
from datasets.crops.pipeline import feeding_order
from devices.strategy import make_strategy
from models.dae import build_dae, dae_channels
from models.mtl import NetworkOptions, build_mtl
from training.optimizers import SGD, averaged_weights
from training.steps import DaeLosses, LossOptions, MtlLosses, StepOptions, make_train_step

STEPS, EXAMPLES = 3, 12  # divisible by 1, 2, 3, 4 replicas, and by two replicas of two parts
BRIGHTNESS = np.linspace(0.1, 1, EXAMPLES)[:, None, None, None]  # replicas see unlike images
CLASS_OPTIONS = LossOptions(class_weights=(0.5, 1.0, 2.0), label_smoothing=0.1)
WEIGHTS = {"height_loss": 0.7, "semantic_loss": 1.3, "normal_loss": 2.0}


@dataclass(frozen=True)
class Case:
    """What is trained; dropout is on in all."""

    stage: str = "mtl"
    synchronised: bool = False  # else batch normalisation is frozen
    classes: int = 3
    normals: bool = True
    parts: int = 1
    clip_norm: float = 0.0
    ema_decay: float = 0.0
    full: bool = False  # the published network instead of the tiny one


# Every loss takes part in the plain cases; elsewhere one decoder is traced in a third of the time.
HEIGHT_ONLY = {"classes": 0, "normals": False}
CASES = {
    "plain": Case(),
    "accumulation": Case(parts=2),
    "height only": Case(**HEIGHT_ONLY),
    "clipping": Case(clip_norm=2.0, **HEIGHT_ONLY),  # below every gradient here
    "averaged weights": Case(ema_decay=0.8, **HEIGHT_ONLY),
    "synchronised": Case(synchronised=True, **HEIGHT_ONLY),
    "synchronised accumulation": Case(synchronised=True, parts=2, **HEIGHT_ONLY),
    "correction": Case(stage="dae", synchronised=True, **HEIGHT_ONLY),
}


def batch(step, size):
    """Returns a global batch with nodata; one example has no valid pixel at all."""
    generator = np.random.default_rng(step)
    heights = generator.uniform(0, 9, (EXAMPLES, size, size, 1)).astype("float32")
    heights[:, : 4 + step] = np.nan
    heights[step] = np.nan
    image = generator.uniform(0, 255, (EXAMPLES, size, size, 3)) * BRIGHTNESS
    return {
        "image": image.astype("float32"),
        "heights": heights,
        "gsd_factor": np.ones(EXAMPLES, "float32"),
        "classes": generator.integers(-1, 3, (EXAMPLES, size, size, 1)).astype("int32"),
        "sample": np.arange(EXAMPLES) + EXAMPLES * step,
    }


def build(case):
    """Returns (the network to train, its losses)."""
    keras.utils.set_random_seed(1)
    options = NetworkOptions(
        "densenet121" if case.full else "tiny",
        decoder_width=1.0 if case.full else 0.02,
        dropout=0.3,
        decoder_norm="batch" if case.stage == "dae" else "none",
        decoder_skips=case.synchronised,
        encoder_batch_norm="train" if case.synchronised else "frozen",
        sync_batch_norm=case.synchronised,
    )
    mtl = build_mtl(options, case.classes, case.normals)
    if case.stage == "mtl":
        return mtl, MtlLosses(mtl, 0.5, "unit", CLASS_OPTIONS)
    dae = build_dae(dae_channels(case.classes, case.normals), options)
    return dae, DaeLosses(mtl, dae)


def loss_weights(case):
    active = {"semantic_loss": case.classes, "normal_loss": case.normals}
    mtl = {name: w for name, w in WEIGHTS.items() if active.get(name, True)}
    return mtl if case.stage == "mtl" else {"height_loss": 1.0}


def train(strategy, case, feed=None):
    """Runs the steps; returns (rows of losses, weights)."""
    with strategy.scope():
        model, losses = build(case)
        # Adam would turn the rounding of a gradient near zero into a full step.
        average = {"use_ema": True, "ema_momentum": case.ema_decay} if case.ema_decay else {}
        optimizer = SGD(1e-4, momentum=0.9, **average)
        optimizer.build(model.trainable_variables)
    options = StepOptions(EXAMPLES, case.clip_norm, case.parts, unroll=case.synchronised)
    step = make_train_step(strategy, model, optimizer, losses, loss_weights(case), options)
    replicas = strategy.num_replicas_in_sync
    order = feeding_order(EXAMPLES // replicas // case.parts, replicas, case.parts)
    rows = []
    for number in range(STEPS):
        # Statistics of few pixels would magnify the rounding of the sums over replicas.
        size = 64 if case.synchronised else 32
        examples = {name: value[order] for name, value in batch(number, size).items()}
        row = step((feed or distribute)(strategy, examples))
        rows.append({name: float(value) for name, value in row.items()})
    with averaged_weights(strategy, model, optimizer):
        return rows, model.get_weights()


def distribute(strategy, examples):
    dataset = tf.data.Dataset.from_tensors(examples).unbatch().batch(EXAMPLES, True)
    return next(iter(strategy.experimental_distribute_dataset(dataset)))


def assert_same(many, one):
    """Compares (rows, weights); every weight takes part."""
    for row, expected in zip(many[0], one[0], strict=True):
        # Batch statistics of few pixels magnify rounding in the gradient.
        assert row.pop("gradient_norm") == pytest.approx(expected["gradient_norm"], rel=1e-3)
        assert row == pytest.approx({name: expected[name] for name in row}, rel=1e-5)
    for weight, expected in zip(many[1], one[1], strict=True):
        scale = np.abs(expected).max()
        # 1e-6 for the DAE's biases before batch normalisation, which takes their effect away: they
        # move by 1e-5 in all, and by rounding.
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-4 * scale + 1e-6)


@pytest.fixture(scope="module")
def one_device():
    """Returns a function (case) -> what one device learns, computed once."""
    known = {}

    def find(case):
        if case not in known:
            known[case] = train(tf.distribute.get_strategy(), case)
        return known[case]

    return find


@pytest.mark.parametrize(
    "name, replicas",
    [*((name, 2) for name in CASES), ("synchronised", 3), ("height only", 3), ("plain", 4)],
)
def test_replicas_train_like_one_device(make_replicas, one_device, name, replicas):
    case = CASES[name]
    one = one_device(case)
    assert len(one[0]) == STEPS and one[0][-1]["loss"] != one[0][0]["loss"]
    assert all(row["gradient_norm"] > case.clip_norm for row in one[0])
    assert_same(train(make_replicas(replicas), case), one)


@pytest.mark.slow
def test_replicas_train_the_full_network_like_one_device(make_replicas):
    case = Case(full=True)
    assert_same(train(make_replicas(2), case), train(tf.distribute.get_strategy(), case))


def test_a_reduction_to_one_device_is_the_same_training(one_device):
    case = CASES["height only"]
    strategy = make_strategy(cpu_replicas=2, reduction="reduction_to_one_device")
    assert_same(train(strategy, case), one_device(case))


def test_accumulation_equals_the_larger_batch_on_stored_statistics(one_device):
    rows, weights = one_device(CASES["plain"])
    assert_same(one_device(CASES["accumulation"]), (rows, weights))


def test_the_loss_is_the_weighted_sum_of_its_components(one_device):
    for row in one_device(CASES["plain"])[0]:
        assert row["loss"] == pytest.approx(sum(w * row[name] for name, w in WEIGHTS.items()))


def with_a_height_of_1e30(strategy, examples):
    """Feeds a batch; in the second step the square of one error is too large for float32."""
    number = examples["sample"].min() // EXAMPLES
    if number == 1:
        examples["heights"][2, -1, -1] = 1e30
    return distribute(strategy, examples)


def test_replicas_leave_out_the_same_steps(make_replicas):
    case = CASES["correction"]
    rows, weights = train(tf.distribute.get_strategy(), case, with_a_height_of_1e30)
    assert [row["left_out"] for row in rows] == [0, 1, 0]
    assert rows[1]["loss"] == np.inf and all(np.isfinite(weight).all() for weight in weights)
    assert_same(train(make_replicas(2), case, with_a_height_of_1e30), (rows, weights))


def whole_batch_to_every_replica(monkeypatch):
    return lambda strategy, examples: {k: tf.constant(v) for k, v in examples.items()}


def mean_instead_of_sum(monkeypatch):
    def mean(tensors, pack_bytes=0):
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.MEAN, tensors)

    monkeypatch.setattr(training.steps, "sum_over_replicas", mean)


def clip_before_the_sum(monkeypatch):
    real = training.steps.sum_over_replicas

    def clip(tensors, pack_bytes=0):
        *gradients, losses = tensors
        return real([*tf.clip_by_global_norm(gradients, 2.0)[0], losses])

    monkeypatch.setattr(training.steps, "sum_over_replicas", clip)


def dropout_shared_by_the_replicas(monkeypatch):
    real = training.steps.samples_from
    monkeypatch.setattr(training.steps, "samples_from", lambda first: real(0 * first))


def statistics_of_each_replica(monkeypatch):
    monkeypatch.setattr(
        models.normalisation, "global_moments", lambda x: tf.nn.moments(x, [0, 1, 2])
    )


@pytest.mark.parametrize(
    "fault, case",
    [
        (whole_batch_to_every_replica, "height only"),
        (mean_instead_of_sum, "height only"),
        (clip_before_the_sum, "clipping"),
        (dropout_shared_by_the_replicas, "height only"),
        (statistics_of_each_replica, "synchronised"),
    ],
)
def test_the_comparison_catches_planted_faults(make_replicas, one_device, monkeypatch, fault, case):
    one = one_device(CASES[case])
    feed = fault(monkeypatch)
    with pytest.raises(AssertionError):
        assert_same(train(make_replicas(2), CASES[case], feed), one)
