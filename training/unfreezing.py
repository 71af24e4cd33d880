"""Training a pretrained encoder late and gently: first not at all, then from its top down.

Howard, Ruder, "Universal language model fine-tuning", ACL 2018 (gradual unfreezing).
"""

import math
from functools import partial

from models.segments import segments_of
from training.optimizers import VariableSchedule, updates_done
from training.steps import make_train_step


def encoder_schedules(model, encoder, plan, freeze_epochs, multiplier):
    """Says when each variable of a network is trained, and how fast.

    The encoder rests for `freeze_epochs`; then its last stage is trained, and one stage more with
    each further epoch. What is not of the encoder is trained from the start.

    Args:
        model: Keras model.
        encoder: of `models.backbones.make_backbone`, within it.
        plan: `training.loop.TrainingPlan`.
        freeze_epochs: int; 0 = all is trained from the start.
        multiplier: float, on the encoder's learning rate.

    Returns:
        list of `training.optimizers.VariableSchedule`, of each of the model's trainable variables.
    """
    schedules = {}
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

    def __init__(self, strategy, model, optimizer, losses, loss_weights, options):
        """Takes what `training.steps.make_train_step` takes; the optimizer has `schedules`."""
        self._optimizer, self._variables = optimizer, model.trainable_variables
        self._make = partial(
            make_train_step, strategy, model, optimizer, losses, loss_weights, options
        )
        self._count, self._step = None, None

    def trained_variables(self):
        """Returns the variables that the next update trains."""
        inner = getattr(self._optimizer, "inner_optimizer", self._optimizer)
        done, pairs = updates_done(inner), zip(self._variables, inner.schedules, strict=True)
        return [variable for variable, schedule in pairs if schedule.first_step <= done]

    def current(self):
        """Returns the compiled step of the next update."""
        trained = self.trained_variables()
        if self._step is None or len(trained) != self._count:
            self._count, self._step = len(trained), self._make(trained)
        return self._step

    def __call__(self, batch):
        return self.current()(batch)

    def get_concrete_function(self, batch):
        return self.current().get_concrete_function(batch)

    @property
    def python_function(self):
        return self.current().python_function
