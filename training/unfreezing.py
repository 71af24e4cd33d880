"""The freeze schedule of a pretrained encoder: frozen at first, then unfrozen from the top down.

Howard, Ruder, "Universal language model fine-tuning", ACL 2018 (gradual unfreezing).
"""

import math
from collections.abc import Callable
from functools import partial

import keras
import tensorflow as tf

from datasets.tiles.samples import Batch
from models.segments import segments_of
from training.loop import TrainingPlan
from training.optimizers import VariableSchedule, updates_done
from training.steps import CompiledStep, Losses, StepOptions, make_train_step


def encoder_schedules(
    model: keras.Model,
    encoder: keras.Model,
    plan: TrainingPlan,
    freeze_epochs: int,
    multiplier: float,
) -> list[VariableSchedule]:
    """Decides when each variable of a network is trained, and how fast.

    The encoder is frozen for `freeze_epochs`; then its last stage is trained, and one stage more
    with each further epoch. All other variables are trained from the start.

    Args:
        model: the whole network.
        encoder: of `models.backbones.make_backbone`, within it.
        plan: epochs and steps.
        freeze_epochs: 0 = all is trained from the start.
        multiplier: of the encoder's learning rate.

    Returns:
        The schedule of each of the model's trainable variables.
    """
    schedules: dict[int, VariableSchedule] = {}
    for number, stage in enumerate(reversed(segments_of(encoder))):
        epochs = freeze_epochs + number if freeze_epochs else 0
        first = math.ceil(epochs * plan.samples_per_epoch / plan.global_batch_size)
        schedules |= {id(v): VariableSchedule(first, multiplier) for v in stage.trainable_variables}
    return [
        schedules.get(id(variable), VariableSchedule()) for variable in model.trainable_variables
    ]


class UnfreezingStep:
    """A training step that trains, at each update, what the optimizer's schedules say.

    A frozen variable costs neither gradient nor memory. Each time a stage is added the step is
    compiled again.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        losses: Losses,
        loss_weights: dict[str, float],
        options: StepOptions,
    ):
        """Takes what `training.steps.make_train_step` takes; the optimizer has `schedules`."""
        self._optimizer, self._variables = optimizer, model.trainable_variables
        self._make = partial(
            make_train_step, strategy, model, optimizer, losses, loss_weights, options
        )
        self._count = 0
        self._step: CompiledStep | None = None

    def trained_variables(self) -> list[keras.Variable]:
        """Returns the variables that the next update trains."""
        inner = getattr(self._optimizer, "inner_optimizer", self._optimizer)
        done, pairs = updates_done(inner), zip(self._variables, inner.schedules, strict=True)
        return [variable for variable, schedule in pairs if schedule.first_step <= done]

    def current(self) -> CompiledStep:
        """Returns the compiled step of the next update."""
        trained = self.trained_variables()
        if self._step is None or len(trained) != self._count:
            self._count, self._step = len(trained), self._make(trained)
        return self._step

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        return self.current()(batch)

    def get_concrete_function(self, batch: Batch) -> tf.types.experimental.ConcreteFunction:
        return self.current().get_concrete_function(batch)

    @property
    def python_function(self) -> Callable:
        return self.current().python_function
