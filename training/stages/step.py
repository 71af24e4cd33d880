"""The optimizer step of a run: learning rates, freeze schedule, compilation."""

from collections.abc import Callable

import keras

from settings.arithmetic import learning_rate
from settings.table import SettingsError
from training.optimizers import VariableSchedule, make_optimizer
from training.schedules import Decay, make_schedule
from training.stages.stage import StageRun
from training.steps import StepOptions, make_train_step
from training.unfreezing import UnfreezingStep, encoder_schedules


def learning_rates(run: StageRun) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate schedule of a run.

    Raises:
        SettingsError: if its lowest rate is above its highest.
    """
    settings, plan, steps = run.settings, run.plan, run.schedule_steps
    rate = learning_rate(settings, run.stage.name, run.strategy.num_replicas_in_sync)
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
        steps,
        min(round(settings.warmup_epochs * epoch_steps), steps // 2),
        settings.min_learning_rate,
        Decay(
            decay_epochs * epoch_steps if decay_epochs else steps / 3,
            settings.decay_factor,
        ),
    )


def variable_schedules(run: StageRun) -> list[VariableSchedule] | None:
    """Returns when and how fast each variable is trained; None = all alike."""
    settings, network = run.settings, run.stage.network
    alike = not settings.freeze_backbone_epochs and settings.backbone_learning_rate_factor == 1.0
    if run.stage.name != "mtl" or alike:
        return None
    return encoder_schedules(
        network,
        network.get_layer(settings.backbone),
        run.plan,
        settings.freeze_backbone_epochs,
        settings.backbone_learning_rate_factor,
    )


def compile_step(run: StageRun) -> tuple[Callable, keras.optimizers.Optimizer]:
    """Returns the training step of a run and its optimizer."""
    settings, stage, strategy = run.settings, run.stage, run.strategy
    schedules = variable_schedules(run)
    with strategy.scope():
        optimizer = make_optimizer(
            stage.network,
            learning_rates(run),
            settings.ema_decay,
            loss_scaling=keras.config.dtype_policy().name == "mixed_float16",
            schedules=schedules,
            gradient_spike=settings.gradient_spike,
        )
    options = StepOptions(
        run.plan.global_batch_size,
        settings.gradient_clip_norm,
        settings.gradient_accumulation_steps,
        settings.gradient_pack_bytes,
        unroll=settings.sync_batch_norm,
    )
    freezes = settings.freeze_backbone_epochs and schedules
    make_step = UnfreezingStep if freezes else make_train_step
    step = make_step(strategy, stage.network, optimizer, stage.losses, stage.loss_weights, options)
    return step, optimizer
