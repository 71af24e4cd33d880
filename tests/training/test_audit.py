"""What would silently train something else is refused; the collective operations of a step."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import train_mtl
from devices.strategy import make_strategy
from training.audit import (
    AuditError,
    audit_construction,
    audit_replicas,
    count_collectives,
    replicas_agree,
)
from training.checkpoints import RunState
from training.optimizers import SGD, make_optimizer
from training.stages import run
from training.steps import StepOptions, make_train_step


def build(model_scope, optimizer_scope, loss_scaling=False):
    """Returns (network with a kernel, a bias and batch normalisation, its Adam)."""
    with model_scope:
        inputs = keras.Input((3,))
        features = keras.layers.Dense(2, name="dense")(inputs)
        model = keras.Model(inputs, keras.layers.BatchNormalization(name="norm")(features))
    with optimizer_scope:
        optimizer = make_optimizer(model, 0.1, loss_scaling=loss_scaling)
    return model, optimizer


def nowhere():
    return contextlib.nullcontext()


def assign(variable, *values):
    """Fills each replica's copy of a variable with a value of its own."""
    for copy, value in zip(variable.value.values, values, strict=True):
        copy.assign(tf.fill(copy.shape, value))


@pytest.mark.parametrize("loss_scaling", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_a_network_and_an_optimizer_of_one_scope_pass(make_replicas, count, loss_scaling):
    strategy = make_replicas(count)
    model, optimizer = build(strategy.scope(), strategy.scope(), loss_scaling)
    audit_construction(strategy, model, optimizer)
    audit_replicas(model, statistics=True)


def test_a_network_built_outside_the_scope_is_refused(make_replicas):
    strategy = make_replicas(2)
    model, _ = build(nowhere(), nowhere())
    _, optimizer = build(strategy.scope(), strategy.scope())
    with pytest.raises(AuditError, match=r"6 of 6 variables of the network .* 2 replicas: dense/k"):
        audit_construction(strategy, model, optimizer)


@pytest.mark.parametrize("loss_scaling", [False, True])
def test_an_optimizer_built_outside_the_scope_is_refused(make_replicas, loss_scaling):
    strategy = make_replicas(2)
    model, optimizer = build(strategy.scope(), nowhere(), loss_scaling)
    with pytest.raises(AuditError, match="not to the MirroredStrategy that trains"):
        audit_construction(strategy, model, optimizer)


def test_loss_scaling_made_outside_the_scope_is_refused(make_replicas):
    strategy = make_replicas(2)
    model, inner = build(strategy.scope(), strategy.scope())
    optimizer = keras.optimizers.LossScaleOptimizer(inner)
    with pytest.raises(AuditError, match="2 of 12 variables of the optimizer"):
        audit_construction(strategy, model, optimizer)


def test_an_optimizer_that_sums_once_more_is_refused(make_replicas):
    strategy = make_replicas(2)
    model, _ = build(strategy.scope(), strategy.scope())
    with strategy.scope():
        optimizer = keras.optimizers.Adam()
    with pytest.raises(AuditError, match=r"is a Adam, expected one of training\.optimizers"):
        audit_construction(strategy, model, optimizer)


def test_a_replica_of_its_own_is_named(make_replicas):
    strategy = make_replicas(4)
    model, _ = build(strategy.scope(), strategy.scope())
    assign(model.get_layer("dense").bias, 1.0, 1.0, 3.5, 1.0)
    with pytest.raises(AuditError, match="1 of 4 variables: dense/bias; .* up to 2.5"):
        audit_replicas(model)


def test_one_number_one_bit_apart_is_seen(make_replicas):
    strategy = make_replicas(2)
    model, _ = build(strategy.scope(), strategy.scope())
    kernel = model.get_layer("dense").kernel
    other = np.ones((3, 2), "float32")
    other[2, 1] = np.nextafter(other[2, 1], 2)
    assign(kernel, 1.0, 1.0)
    assert replicas_agree(kernel)
    kernel.value.values[1].assign(other)
    assert not replicas_agree(kernel)


def test_nan_on_all_replicas_is_for_others_to_judge(make_replicas):
    strategy = make_replicas(2)
    model, _ = build(strategy.scope(), strategy.scope())
    assign(model.get_layer("dense").bias, np.nan, np.nan)
    audit_replicas(model)
    assign(model.get_layer("dense").bias, np.nan, 0.0)
    with pytest.raises(AuditError, match="dense/bias"):
        audit_replicas(model)


def test_moving_statistics_may_differ_until_they_are_averaged(make_replicas):
    strategy = make_replicas(2)
    model, _ = build(strategy.scope(), strategy.scope())
    assign(model.get_layer("norm").moving_mean, 0.0, 4.0)
    audit_replicas(model)
    with pytest.raises(AuditError, match="1 of 6 variables: norm/moving_mean"):
        audit_replicas(model, statistics=True)


def test_a_state_with_diverged_weights_is_not_written(tmp_path, make_replicas):
    strategy = make_replicas(2)
    model, optimizer = build(strategy.scope(), strategy.scope())
    with strategy.scope():
        state = RunState(tmp_path, model, optimizer)
    assign(model.get_layer("norm").moving_mean, 0.0, 4.0)
    state.save()
    assign(model.get_layer("dense").bias, 1.0, 2.0)
    state.step = 1
    for act in (state.audit, state.save):
        with pytest.raises(AuditError, match="dense/bias"):
            act()
    assert [path.name for path in (tmp_path / "last").iterdir()] == ["step-00000000"]


def test_no_run_begins_with_an_optimizer_from_outside(blocks, tmp_path, monkeypatch):
    def outside_the_scope(run):
        return None, make_optimizer(run.stage.network, 0.1)

    monkeypatch.setattr(run, "compile_step", outside_the_scope)
    tf.distribute.MirroredStrategy._collective_key_base += 100000
    data = ["--dataset_name=blocks", f"--shortcut_path={blocks}", f"--checkpoint_dir={tmp_path}"]
    with pytest.raises(SystemExit, match="The optimizer belongs to a"):
        train_mtl.main([*data, f"--output_dir={tmp_path}", "--backbone=tiny", "--cpu_replicas=2"])


def train(strategy, model, optimizer, steps=2):
    """Trains on two unlike examples, one for each replica."""

    def losses(x):
        return {"l": tf.reduce_sum(model(x) ** 2, axis=1)}

    step = make_train_step(strategy, model, optimizer, losses, {"l": 1.0}, StepOptions(2))
    examples = tf.data.Dataset.from_tensor_slices(np.array([[1, 2, 3], [9, 0, 5]], "float32"))
    for batch in strategy.experimental_distribute_dataset(examples.batch(2).repeat(steps)):
        step(batch)


def test_training_keeps_the_replicas_equal(make_replicas):
    strategy = make_replicas(2)
    model, optimizer = build(strategy.scope(), strategy.scope())
    before = model.get_weights()[0]
    train(strategy, model, optimizer)
    audit_replicas(model)
    assert np.all(model.get_weights()[0] != before)


def test_training_with_an_optimizer_from_outside_is_caught(make_replicas):
    strategy = make_replicas(2)
    model, optimizer = build(strategy.scope(), nowhere())
    train(strategy, model, optimizer)
    with pytest.raises(AuditError, match="replicas disagree"):
        audit_replicas(model)


def collectives(strategy, pack_bytes=0):
    """Counts those of a step with four weight arrays and three losses."""
    with strategy.scope():
        inputs = keras.Input((1,))
        outputs = keras.layers.Dense(1)(keras.layers.Dense(3)(inputs))
        model = keras.Model(inputs, outputs)
        optimizer = SGD(0.1)
        optimizer.build(model.trainable_variables)
    losses, weights = (lambda x: {"a": model(x)[:, 0], "b": x[:, 0]}), {"a": 1.0, "b": 1.0}
    options = StepOptions(2, pack_bytes=pack_bytes)
    step = make_train_step(strategy, model, optimizer, losses, weights, options)
    batch = strategy.experimental_distribute_dataset(
        tf.data.Dataset.from_tensors(tf.ones((2, 1))).unbatch().batch(2)
    )
    return count_collectives(step, next(iter(batch)), strategy.num_replicas_in_sync)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_step_sums_gradients_and_losses_in_one_operation(make_replicas, replicas):
    assert collectives(make_replicas(replicas)) == (replicas > 1)


def test_small_packs_take_more_operations(make_replicas):
    assert collectives(make_replicas(2), pack_bytes=4) > 1


def test_a_reduction_to_one_device_takes_none():
    strategy = make_strategy(cpu_replicas=2, reduction="reduction_to_one_device")
    assert collectives(strategy) == 0
