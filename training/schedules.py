"""How the learning rate moves over a run."""

from dataclasses import dataclass

import keras
import tensorflow as tf
from keras import ops

KINDS = ("constant", "cosine", "step")


@dataclass(frozen=True)
class Decay:
    """When and how far a step schedule falls.

    Attributes:
        steps: optimizer steps from one fall to the next.
        factor: of the rate at each fall.
    """

    steps: float = 1.0
    factor: float = 0.1


class StepSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise, then a rate that falls by a factor at equal intervals; see `make_schedule`."""

    def __init__(self, learning_rate: float, decay: Decay, warmup_steps: int, minimum: float):
        self._stairs = keras.optimizers.schedules.ExponentialDecay(
            learning_rate, decay.steps, decay.factor, staircase=True
        )
        self._warmup_steps, self._minimum = warmup_steps, minimum

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        rise = ops.minimum(1.0, ops.cast(step, "float32") / max(1, self._warmup_steps))
        rate = ops.maximum(self._stairs(step), self._minimum)
        return rise * rate if self._warmup_steps else rate


def make_schedule(
    kind: str,
    learning_rate: float,
    total_steps: int,
    warmup_steps: int = 0,
    minimum: float = 0.0,
    decay: Decay = Decay(),
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Makes the learning rate of a run.

    "constant": the rate all along, as published. "cosine": half a cosine from the rate down to
    `minimum` (Loshchilov and Hutter, "SGDR", ICLR 2017). "step": the rate falls as `decay` says,
    counted from step 0, and not below `minimum`. All after a linear rise from 0 over
    `warmup_steps`.

    Args:
        kind: "constant", "cosine" or "step".
        learning_rate: the largest rate.
        total_steps: optimizer steps of the run.
        warmup_steps: of them for the rise.
        minimum: the rate at the end of the cosine.
        decay: of "step".

    Raises:
        ValueError: if `kind` is none of these.
    """
    if kind not in KINDS:
        raise ValueError(f"learning_rate_schedule is {kind!r}, but must be {', '.join(KINDS)}.")
    if kind == "step":
        return StepSchedule(learning_rate, decay, warmup_steps, minimum)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else learning_rate,
        decay_steps=max(1, total_steps - warmup_steps),
        alpha=1.0 if kind == "constant" else min(1.0, minimum / learning_rate),
        warmup_target=learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
