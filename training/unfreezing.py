"""Training a pretrained encoder late and gently: first not at all, then from its top down.

Howard, Ruder, "Universal language model fine-tuning", ACL 2018 (gradual unfreezing).
"""

import math

from models.segments import segments_of
from training.optimizers import Pace
from training.steps import make_train_step


def encoder_paces(model, encoder, plan, freeze_epochs, rate_factor):
    """Says when each variable of a network is trained, and how fast.

    The encoder rests for `freeze_epochs`; then its last stage is trained, and one stage more with
    each further epoch. What is not of the encoder is trained from the start.

    Args:
        model: Keras model.
        encoder: of `models.backbones.make_backbone`, within it.
        plan: `training.plan.TrainingPlan`.
        freeze_epochs: int; 0 = all is trained from the start.
        rate_factor: float, on the encoder's learning rate.

    Returns:
        list of `training.optimizers.Pace`, of each of the model's trainable variables.
    """
    paces = {}
    for number, stage in enumerate(reversed(segments_of(encoder))):
        epochs = freeze_epochs + number if freeze_epochs else 0
        first = math.ceil(epochs * plan.samples_per_epoch / plan.global_batch_size)
        paces |= {id(v): Pace(first, rate_factor) for v in stage.trainable_variables}
    return [paces.get(id(variable), Pace()) for variable in model.trainable_variables]


def unfreezing_step(strategy, model, optimizer, losses, loss_weights, options):
    """Builds a training step that trains, at each update, what the optimizer's paces say.

    A frozen variable costs neither gradient nor memory. Each time a stage is added the step is
    compiled again.

    Args:
        strategy, model, losses, loss_weights, options: as of `training.steps.make_train_step`.
        optimizer: of `training.optimizers.make_optimizer`, with `paces`.

    Returns:
        Function (distributed batch) -> dict as of `training.steps.make_train_step`.
    """
    inner, steps = getattr(optimizer, "inner_optimizer", optimizer), {}
    variables = model.trainable_variables

    def train_step(batch):
        done = int(inner.iterations)
        awake = [
            v for v, pace in zip(variables, inner.paces, strict=True) if pace.first_step <= done
        ]
        if len(awake) not in steps:
            steps.clear()
            steps[len(awake)] = make_train_step(
                strategy, model, optimizer, losses, loss_weights, options, awake
            )
        return steps[len(awake)](batch)

    return train_step
