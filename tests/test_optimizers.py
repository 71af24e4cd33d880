"""The gradient of the whole batch is what is clipped and applied, on any number of replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.optimizers import SGD, Adam
from training.steps import make_train_step


def one_weight(strategy, optimizer_class=SGD):
    """Returns (model y = w x with w = 1, optimizer of rate 1)."""
    with strategy.scope():
        inputs = keras.Input((1,))
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        model = keras.Model(inputs, layer(inputs))
        optimizer = optimizer_class(1.0)
        optimizer.build(model.trainable_variables)
    return model, optimizer


def take_step(strategy, clip_norm):
    """One step on the examples 1, 2, 3, 6 with the loss w x, so that the gradient is 12 / 4."""
    model, optimizer = one_weight(strategy)
    step = make_train_step(
        strategy, model, optimizer, lambda x: {"l": model(x)[:, 0]}, {"l": 1.0}, 4, clip_norm
    )
    examples = tf.data.Dataset.from_tensors(np.array([[1.0], [2], [3], [6]], "float32"))
    (batch,) = strategy.experimental_distribute_dataset(examples.unbatch().batch(4))
    return {name: float(value) for name, value in step(batch).items()}, model.get_weights()[0][0, 0]


@pytest.mark.parametrize("replicas", [1, 2, 4])
@pytest.mark.parametrize("clip_norm, change", [(0.0, 3.0), (5.0, 3.0), (0.5, 0.5)])
def test_the_gradient_of_the_whole_batch_is_clipped(make_replicas, replicas, clip_norm, change):
    row, weight = take_step(make_replicas(replicas), clip_norm)
    assert row == {"l": pytest.approx(3), "loss": pytest.approx(3), "gradient_norm": 3}
    assert weight == pytest.approx(1 - change)


@pytest.mark.parametrize("kind, slot, expected", [(SGD, None, -2.0), (Adam, "_momentums", 0.3)])
def test_the_optimizer_sums_nothing_itself(make_replicas, kind, slot, expected):
    """Pins the private hook: each of two replicas hands in the whole gradient, 3."""
    strategy = make_replicas(2)
    model, optimizer = one_weight(strategy, kind)

    @tf.function
    def apply():
        strategy.run(lambda: optimizer.apply([tf.constant([[3.0]])], model.trainable_variables))

    apply()
    changed = model.weights if slot is None else getattr(optimizer, slot)
    assert float(changed[0].numpy()[0, 0]) == pytest.approx(expected)


def test_an_optimizer_that_would_sum_again_is_refused(make_replicas):
    strategy = make_replicas(2)
    model, optimizer = one_weight(strategy, keras.optimizers.SGD)
    with pytest.raises(TypeError, match=r"is a SGD, expected one of training\.optimizers"):
        make_train_step(strategy, model, optimizer, None, {}, 4)
