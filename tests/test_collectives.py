import keras
import pytest
import tensorflow as tf

from training.collectives import count_collectives
from training.optimizers import SGD
from training.steps import StepOptions, make_train_step


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_step_sums_gradients_and_losses_in_one_operation(make_replicas, replicas):
    strategy = make_replicas(replicas)
    with strategy.scope():
        inputs = keras.Input((1,))
        outputs = keras.layers.Dense(1)(keras.layers.Dense(3)(inputs))
        model = keras.Model(inputs, outputs)
        optimizer = SGD(0.1)
        optimizer.build(model.trainable_variables)
    losses, weights = (lambda x: {"a": model(x)[:, 0], "b": x[:, 0]}), {"a": 1.0, "b": 1.0}
    step = make_train_step(strategy, model, optimizer, losses, weights, StepOptions(2))
    batch = strategy.experimental_distribute_dataset(
        tf.data.Dataset.from_tensors(tf.ones((2, 1))).unbatch().batch(2)
    )
    assert count_collectives(step, next(iter(batch)), replicas) == (replicas > 1)
