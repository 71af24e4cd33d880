"""Optimizers for `training.steps`, which sums the gradients over the replicas itself."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf
from keras import ops


class ReducedGradients:
    """Makes a Keras optimizer take gradients that are already summed over the replicas.

    Keras would clip, and look for overflow, before it sums: each replica by its own part of the
    batch, and so each differently. The hook is private;
    tests/training/test_optimizers.py pins it.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Sequence) -> list:
        return list(grads_and_vars)


@dataclass(frozen=True)
class VariableSchedule:
    """When and how fast a variable is trained.

    Attributes:
        first_step: number of the first update (from 0) that trains it.
        multiplier: of the learning rate.
    """

    first_step: int = 0
    multiplier: float = 1.0


class Adam(ReducedGradients, keras.optimizers.Adam):
    """Adam (Kingma and Ba, ICLR 2015) on gradients summed over the replicas.

    Attributes:
        schedules: when and how fast each variable is trained that the optimizer was built for;
            None = all alike.
    """

    schedules: list[VariableSchedule] | None = None

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        if self.schedules:
            schedule = self.schedules[self._get_variable_index(variable)]
            learning_rate *= schedule.multiplier
            if schedule.first_step:
                learning_rate *= self._late_start(schedule.first_step)
        super().update_step(gradient, variable, learning_rate)

    def _late_start(self, first_step: int) -> tf.Tensor:
        """Returns the factor that corrects the moments' bias for an average that starts later."""

        def correction(updates: tf.Tensor) -> tf.Tensor:
            updates = ops.cast(updates, "float32")
            return ops.sqrt(1.0 - self.beta_2**updates) / (1.0 - self.beta_1**updates)

        updates = self.iterations + 1
        return correction(ops.maximum(updates - first_step, 1)) / correction(updates)


class SGD(ReducedGradients, keras.optimizers.SGD):
    """Gradient descent on gradients summed over the replicas, for tests and the self-check."""


def updates_done(optimizer: keras.optimizers.Optimizer) -> int:
    """Returns the updates that an optimizer has made, without those skipped for overflow."""
    return int(getattr(optimizer, "inner_optimizer", optimizer).iterations.numpy())


def make_optimizer(
    model: keras.Model,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    ema_decay: float = 0.0,
    loss_scaling: bool = False,
    schedules: list[VariableSchedule] | None = None,
) -> keras.optimizers.Optimizer:
    """Makes Adam with its slots built; call it under the strategy's scope.

    An optimizer whose variables are made lazily inside `strategy.run` fails.

    Args:
        model: built.
        learning_rate: constant, or a schedule.
        ema_decay: of a moving average of the weights (Polyak and Juditsky, 1992); 0 = none.
        loss_scaling: True = against underflow in float16; a step whose gradient overflows is
            skipped on all replicas.
        schedules: for each of the model's trainable variables; None = all alike.

    Returns:
        `Adam`, or the `keras.optimizers.LossScaleOptimizer` around it.
    """
    average = {"use_ema": True, "ema_momentum": ema_decay} if ema_decay else {}
    optimizer = Adam(learning_rate, **average)
    optimizer.schedules = schedules
    if loss_scaling:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    return optimizer


@contextlib.contextmanager
def averaged_weights(
    strategy: tf.distribute.Strategy, model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> Iterator[None]:
    """Replaces the weights by their moving average within the context, if there is one.

    Args:
        strategy: over the replicas.
        model: whose weights are replaced.
        optimizer: of `make_optimizer`.
    """
    if not getattr(optimizer, "inner_optimizer", optimizer).use_ema:
        yield
        return
    weights = [variable.numpy() for variable in model.trainable_variables]
    with strategy.scope():
        optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, weights, strict=True):
            variable.assign(value)
