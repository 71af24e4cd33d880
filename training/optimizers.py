"""Optimizers for `training.steps`, which sums the gradients over the replicas itself."""

import contextlib
from dataclasses import dataclass

import keras
from keras import ops


class ReducedGradients:
    """Makes a Keras optimizer take gradients that are already summed over the replicas.

    Keras would clip, and look for overflow, before it sums: each replica by its own part of the
    batch, and so each differently. The hook is private; tests/test_optimizers.py pins it.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return list(grads_and_vars)


@dataclass(frozen=True)
class VariableSchedule:
    """When and how fast a variable is trained.

    Attributes:
        first_step: int, number of the first update (from 0) that trains it.
        multiplier: float, on the learning rate.
    """

    first_step: int = 0
    multiplier: float = 1.0


class Adam(ReducedGradients, keras.optimizers.Adam):
    """Adam (Kingma and Ba, ICLR 2015) on gradients summed over the replicas.

    Attributes:
        schedules: when and how fast each variable is trained that the optimizer was built for;
            None = all alike.
    """

    schedules = None

    def update_step(self, gradient, variable, learning_rate):
        if self.schedules:
            schedule = self.schedules[self._get_variable_index(variable)]
            learning_rate *= schedule.multiplier
            if schedule.first_step:
                learning_rate *= self._late_start(schedule.first_step)
        super().update_step(gradient, variable, learning_rate)

    def _late_start(self, first_step):
        """Returns the factor that corrects the moments' bias for an average begun later."""

        def correction(updates):
            updates = ops.cast(updates, "float32")
            return ops.sqrt(1.0 - self.beta_2**updates) / (1.0 - self.beta_1**updates)

        updates = self.iterations + 1
        return correction(ops.maximum(updates - first_step, 1)) / correction(updates)


class SGD(ReducedGradients, keras.optimizers.SGD):
    """Gradient descent on gradients summed over the replicas; the tests' optimizer."""


def updates_done(optimizer):
    """Returns the updates that an optimizer has made; those left out for overflow do not count."""
    return int(getattr(optimizer, "inner_optimizer", optimizer).iterations.numpy())


def make_optimizer(model, learning_rate, ema_decay=0.0, loss_scaling=False, schedules=None):
    """Makes Adam with its slots built; call it under the strategy's scope.

    An optimizer whose variables are made lazily inside `strategy.run` fails.

    Args:
        model: built Keras model.
        learning_rate: float or schedule.
        ema_decay: float, of a moving average of the weights (Polyak and Juditsky, 1992); 0 = none.
        loss_scaling: bool, True = against underflow in float16; a step whose gradient overflows
            is left out on all replicas.
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
def averaged_weights(strategy, model, optimizer):
    """Puts the moving average of the weights in their place while it lasts, if there is one.

    Args:
        strategy: `tf.distribute.Strategy`.
        model: Keras model.
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
