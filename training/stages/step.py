"""The optimizer step of a stage, as the settings want it: learning rates, paces, compilation."""

import keras

from settings.loading import SettingsError
from training.optimizers import make_optimizer
from training.schedules import Decay, make_schedule, scaled_rate
from training.stages.record import batch_size
from training.steps import StepOptions, make_train_step
from training.unfreezing import UnfreezingStep, encoder_paces


def rate_growth(settings, stage, plan):
    """Returns global batch over base batch; in stage 2 as much as in stage 1."""
    replicas_and_parts = plan.global_batch_size / batch_size(settings, stage)
    return replicas_and_parts * settings.batch_size / settings.base_batch_size


def learning_rates(settings, stage, plan):
    """Returns the learning rate schedule of a stage."""
    rate = scaled_rate(
        getattr(settings, f"{stage}_learning_rate"),
        settings.scale_learning_rate,
        rate_growth(settings, stage, plan),
    )
    if settings.min_learning_rate > rate:
        raise SettingsError(
            f"min_learning_rate is {settings.min_learning_rate:g}, above the learning rate of "
            f"{rate:g} that scale_learning_rate={settings.scale_learning_rate} gives. Lower it."
        )
    epoch_steps = plan.samples_per_epoch / plan.global_batch_size
    decay_epochs = settings.decay_epochs
    return make_schedule(
        settings.learning_rate_schedule,
        rate,
        plan.total_steps,
        min(round(settings.warmup_epochs * epoch_steps), plan.total_steps // 2),
        settings.min_learning_rate,
        Decay(
            decay_epochs * epoch_steps if decay_epochs else plan.total_steps / 3,
            settings.decay_factor,
        ),
    )


def variable_paces(settings, stage, plan):
    """Returns the `training.optimizers.Pace` of each trained variable; None = all alike."""
    alike = not settings.freeze_backbone_epochs and settings.backbone_learning_rate_factor == 1.0
    if stage.name != "mtl" or alike:
        return None
    return encoder_paces(
        stage.network,
        stage.network.get_layer(settings.backbone),
        plan,
        settings.freeze_backbone_epochs,
        settings.backbone_learning_rate_factor,
    )


def compile_step(settings, strategy, stage, plan):
    """Returns (training step of a stage, its optimizer)."""
    paces = variable_paces(settings, stage, plan)
    with strategy.scope():
        optimizer = make_optimizer(
            stage.network,
            learning_rates(settings, stage.name, plan),
            settings.ema_decay,
            loss_scaling=keras.config.dtype_policy().name == "mixed_float16",
            paces=paces,
        )
    options = StepOptions(
        plan.global_batch_size,
        settings.gradient_clip_norm,
        settings.gradient_accumulation_steps,
        settings.gradient_pack_bytes,
        unroll=settings.sync_batch_norm,
    )
    make_step = UnfreezingStep if settings.freeze_backbone_epochs and paces else make_train_step
    step = make_step(strategy, stage.network, optimizer, stage.losses, stage.loss_weights, options)
    return step, optimizer
