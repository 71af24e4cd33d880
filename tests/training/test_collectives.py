import keras
import pytest
import tensorflow as tf

from devices.strategy import make_strategy
from training.audit import count_collectives
from training.optimizers import SGD
from training.steps import StepOptions, make_train_step


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
