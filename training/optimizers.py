"""Optimizers for `training.steps`, which sums the gradients over the replicas itself."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import ops

WINDOW = 100  # accepted steps whose gradient norms have the running median
ENOUGH_NORMS = 20  # with fewer, no step counts as a spike


class StepGuard:
    """Decides which steps are left out, because they would spoil the network.

    Those are steps with a loss or a gradient that is not finite, and spikes: with a gradient norm
    far above the median of the steps before. The decision is made in the graph, from variables that
    are saved with the run, and from numbers that are the same on all replicas. So all replicas
    decide alike, a resumed run decides like one that was not stopped, and it does not matter when
    the host looks at the losses.

    Attributes:
        spike: how many times the running median a gradient norm may be; 0 = any.
        variables: `gradient_norms` (`WINDOW`,), of the last accepted steps; infinite = none yet.
            `accepted`, the number of norms that have entered there. `left_out_in_a_row`, steps.
    """

    def __init__(self, spike: float = 0.0):
        """Starts without a step; call it under the strategy's scope."""
        self.spike = spike
        self.variables = {
            "gradient_norms": tf.Variable(tf.fill([WINDOW], np.inf), trainable=False),
            "accepted": tf.Variable(0, trainable=False, dtype=tf.int64),
            "left_out_in_a_row": tf.Variable(0, trainable=False, dtype=tf.int64),
        }

    def accepts(self, loss: tf.Tensor, norm: tf.Tensor, scaled: bool) -> tf.Tensor:
        """Decides on a step, on one replica, and remembers it.

        Args:
            loss: scalar, of the whole batch.
            norm: scalar, of its gradient, before clipping and without the loss scale.
            scaled: True = the optimizer scales the loss, and copes itself with a gradient that
                overflows by that. The loss that is judged here does not depend on the scale: if it
                is not finite, a smaller scale would not help.

        Returns:
            bool scalar; False = leave the step out.
        """
        accepted = tf.math.is_finite(loss)
        if not scaled:
            accepted &= tf.math.is_finite(norm)
        if self.spike:
            accepted &= ~self._is_spike(norm)
            self._remember(norm, accepted)
        in_a_row = self.variables["left_out_in_a_row"]
        in_a_row.assign(tf.where(accepted, tf.zeros_like(in_a_row), in_a_row + 1))
        return accepted

    def taken(self) -> tf.Tensor:
        """Returns 1 if the last decision was to take the step, else 0; float32."""
        return tf.cast(tf.equal(self.variables["left_out_in_a_row"], 0), tf.float32)

    def left_out_in_a_row(self) -> int:
        """Returns how many of the last steps were left out."""
        return int(self.variables["left_out_in_a_row"].numpy())

    def median(self) -> tf.Tensor:
        """Returns the median of the norms of the last accepted steps; infinite = none yet."""
        count = tf.minimum(self.variables["accepted"], WINDOW)
        norms = tf.sort(self.variables["gradient_norms"])
        middle = tf.maximum(tf.stack([(count - 1) // 2, count // 2]), 0)
        return tf.reduce_mean(tf.gather(norms, middle))

    def _is_spike(self, norm: tf.Tensor) -> tf.Tensor:
        enough = self.variables["accepted"] >= ENOUGH_NORMS
        return enough & tf.math.is_finite(norm) & (norm > self.spike * self.median())

    def _remember(self, norm: tf.Tensor, accepted: tf.Tensor) -> None:
        """Puts the norm of an accepted step in the place of the oldest."""
        # A batch without any valid pixel has the norm 0, which says nothing about the others.
        new = accepted & tf.math.is_finite(norm) & (norm > 0)
        norms, count = self.variables["gradient_norms"], self.variables["accepted"]
        here = tf.range(WINDOW, dtype=tf.int64) == count % WINDOW
        norms.assign(tf.where(new & here, norm, norms))
        count.assign_add(tf.cast(new, tf.int64))


class ReducedGradients(keras.optimizers.Optimizer):
    """Makes a Keras optimizer take summed gradients, and leave out the steps that its guard says.

    Keras would clip, and look for overflow, before it sums: each replica by its own part of the
    batch, and so each differently. The hooks are private;
    tests/training/test_optimizers.py pins them.

    A step is left out by arithmetic: its changes are multiplied by 0, as `multiply_no_nan` does,
    to which NaN times 0 is 0. A condition around the update would cost an operation for each
    gradient and variable in every step, and would make a GPU wait for the host.

    Attributes:
        gradient_spike: of the guard; set it before `build`.
        guard: decides which steps are left out.
    """

    gradient_spike: float = 0.0
    guard: StepGuard

    def build(self, variables: Sequence[keras.Variable]) -> None:
        super().build(variables)
        self.guard = StepGuard(self.gradient_spike)

    def apply(self, grads: Sequence, trainable_variables: Sequence | None = None) -> None:
        super().apply(grads, trainable_variables)
        left_out = 1.0 - self.guard.taken()
        self._iterations.assign_sub(tf.cast(left_out, self._iterations.dtype))

    def rates(self, learning_rate: tf.Tensor, taken: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Returns what `update_step` needs beside the gradient, once for all variables.

        Args:
            learning_rate: scalar.
            taken: 1.0, or 0.0 for a step that is left out.
        """
        return learning_rate, taken

    def _all_reduce_sum_gradients(self, grads_and_vars: Sequence) -> list:
        return list(grads_and_vars)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        rates = self.rates(tf.cast(learning_rate, tf.float32), self.guard.taken())
        super()._backend_update_step(grads, trainable_variables, rates)

    def _update_model_variables_moving_average(self, trainable_variables):
        # The average begins with the weights of the first step, whether it is taken or not.
        momentum = 1.0 - self.guard.taken() * (1.0 - self.ema_momentum)
        momentum *= tf.cast(ops.not_equal(self.iterations, 0), tf.float32)
        averages = self._model_variables_moving_average
        for variable, average in zip(trainable_variables, averages, strict=True):
            average.assign(momentum * average + (1.0 - momentum) * variable)


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

    def rates(self, learning_rate: tf.Tensor, taken: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Returns the rates of the weight, corrected for the moments' bias, and of both moments."""
        updates = tf.cast(self.iterations + 1, tf.float32)
        # In the order of Keras, so that not a bit of the weights differs.
        rate = learning_rate * tf.sqrt(1.0 - self.beta_2**updates) / (1.0 - self.beta_1**updates)
        return rate * taken, (1.0 - self.beta_1) * taken, (1.0 - self.beta_2) * taken

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tuple[tf.Tensor, ...]
    ) -> None:
        """Updates one variable as Keras does; `learning_rate` is what `rates` returns."""
        rate, first_rate, second_rate = learning_rate
        index = self._get_variable_index(variable)
        if self.schedules:
            schedule = self.schedules[index]
            rate *= schedule.multiplier
            if schedule.first_step:
                rate *= self._late_start(schedule.first_step)
        m, v = self._momentums[index], self._velocities[index]
        m.assign_add(tf.math.multiply_no_nan(gradient - m, first_rate))
        v.assign_add(tf.math.multiply_no_nan(tf.square(gradient) - v, second_rate))
        variable.assign_sub(rate * m / (tf.sqrt(v) + self.epsilon))

    def _late_start(self, first_step: int) -> tf.Tensor:
        """Returns the factor that corrects the moments' bias for an average that starts later."""

        def correction(updates: tf.Tensor) -> tf.Tensor:
            updates = ops.cast(updates, "float32")
            return ops.sqrt(1.0 - self.beta_2**updates) / (1.0 - self.beta_1**updates)

        updates = self.iterations + 1
        return correction(ops.maximum(updates - first_step, 1)) / correction(updates)


class SGD(ReducedGradients, keras.optimizers.SGD):
    """Gradient descent on gradients summed over the replicas, for tests and the self-check."""

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tuple[tf.Tensor, ...]
    ) -> None:
        rate, taken = learning_rate
        change = -rate * gradient
        if self.momentum:
            m = self.momentums[self._get_variable_index(variable)]
            change = tf.where(taken > 0, self.momentum * m + change, m)
            m.assign(change)
        variable.assign_add(tf.math.multiply_no_nan(change, taken))


def step_guard(optimizer: keras.optimizers.Optimizer) -> StepGuard:
    """Returns what decides which steps an optimizer leaves out."""
    return getattr(optimizer, "inner_optimizer", optimizer).guard


def updates_done(optimizer: keras.optimizers.Optimizer) -> int:
    """Returns the updates that an optimizer has made, without those that were left out."""
    return int(getattr(optimizer, "inner_optimizer", optimizer).iterations.numpy())


def make_optimizer(
    model: keras.Model,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    ema_decay: float = 0.0,
    loss_scaling: bool = False,
    schedules: list[VariableSchedule] | None = None,
    gradient_spike: float = 0.0,
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
        gradient_spike: of `StepGuard`.

    Returns:
        `Adam`, or the `keras.optimizers.LossScaleOptimizer` around it.
    """
    average = {"use_ema": True, "ema_momentum": ema_decay} if ema_decay else {}
    optimizer = Adam(learning_rate, **average)
    optimizer.schedules, optimizer.gradient_spike = schedules, gradient_spike
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
