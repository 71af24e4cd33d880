"""The two stages of training, and one run of a stage with all that belongs to it."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import keras
import tensorflow as tf

from datasets.crops.augmentation import Augmentation
from datasets.crops.pipeline import CropPlan
from devices.workers import is_chief
from models.backbones import pretrained_weights
from models.height_network import make_height_network
from runs.folders import output_folder, stage_folder, weights_digest
from runs.initial import IDENTITY, InitialWeights
from runs.networks import build_stage1, build_stage2, load_stage
from runs.start import Data, computed_settings
from runs.stored import StoredRun, stored_stage
from settings.arithmetic import crops_per_replica, global_batch_size
from settings.loading import Settings, identity
from settings.table import SettingsError
from training.loop import TrainingPlan, make_plan
from training.losses import balanced_weights
from training.stages.initial import load_initial_weights, of_stage
from training.steps import DaeLosses, LossOptions, MtlLosses


@dataclass(frozen=True)
class Stage:
    """What is particular to a stage.

    Attributes:
        name: "mtl" or "dae".
        network: the model that is trained.
        losses: batch -> unweighted losses by name, each (batch,).
        loss_weights: weight of each loss, by its name.
        height_network: of `models.height_network.make_height_network`, for validation.
        origin: what else the run depends on (the DAE on the MTL's weights, both on initial ones).
        encoder_weights: what stage 1's encoder was initialised with, for the record.
        batch_size: crops that a replica takes at a time.
        epochs: length; `steps`, optimizer steps, wins over it unless it is None.
        initial: the weights that the network started from; None = from nothing.
    """

    name: str
    network: keras.Model
    losses: Callable
    loss_weights: dict[str, float]
    height_network: Callable
    origin: dict[str, str]
    encoder_weights: str
    batch_size: int
    epochs: int
    steps: int | None
    initial: InitialWeights | None = None

    def require_start(self) -> None:
        """Raises SettingsError if the weights that a new run is to start from cannot be used."""
        if self.initial and self.initial.problem:
            raise SettingsError(self.initial.problem)


@dataclass(frozen=True)
class StageRun:
    """One training of a stage: what the user asks for, on which data and devices, and how long.

    It is made once, by `begin`, and passed on as it is.

    Attributes:
        settings: the settings in force.
        data: the checked splits, train among them.
        strategy: over the replicas; the networks were built under its scope.
        stage: which stage, with its networks.
        plan: steps, epochs and global batch.
        earlier_steps: of the plan of the run that this one may continue; None = a new run.
    """

    settings: Settings
    data: Data
    strategy: tf.distribute.Strategy
    stage: Stage
    plan: TrainingPlan
    earlier_steps: int | None = None

    @classmethod
    def begin(
        cls, settings: Settings, data: Data, strategy: tf.distribute.Strategy, stage: Stage
    ) -> "StageRun":
        """Puts a run together; computes its plan."""
        batch = global_batch_size(settings, stage.name, strategy.num_replicas_in_sync)
        epoch = settings.samples_per_epoch or crop_plan(settings, data).crops
        plan = make_plan(stage.epochs, stage.steps, batch, epoch)
        plan = replace(
            plan, save_seconds=60 * settings.save_minutes, max_minutes=settings.max_minutes
        )
        return cls(settings, data, strategy, stage, plan)

    def continuing(self, earlier_steps: int) -> "StageRun":
        """Returns the run as that in its folder began: its plan, and its initial weights.

        Args:
            earlier_steps: as the attribute; 0 = plan anew.
        """
        stage, initial = self.stage, self.stage.initial
        if initial and initial.began_with:
            stage = replace(stage, origin=stage.origin | {IDENTITY: initial.began_with})
        return replace(self, stage=stage, earlier_steps=earlier_steps or None)

    @property
    def batch_size(self) -> int:
        """Crops that a replica takes at a time."""
        return self.stage.batch_size

    @property
    def schedule_steps(self) -> int:
        """Optimizer steps for which the learning rate is planned: those with which it began."""
        return self.earlier_steps or self.plan.total_steps

    @property
    def schedule_has_length(self) -> bool:
        """Whether the learning rate after the warm-up depends on `schedule_steps`."""
        kind, by_epochs = self.settings.learning_rate_schedule, self.settings.decay_epochs
        return kind == "cosine" or (kind == "step" and not by_epochs)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return is_chief(self.strategy)

    @property
    def folder(self) -> Path:
        """Where weights and state go."""
        return stage_folder(self.settings, self.stage.name)

    @property
    def results(self) -> Path:
        """Where histories, curves and TensorBoard's files go."""
        return output_folder(self.settings, self.stage.name)

    @cached_property
    def crops(self) -> CropPlan:
        """Which crops the run takes out of the training tiles."""
        return crop_plan(self.settings, self.data)

    @cached_property
    def description(self) -> StoredRun:
        """The content of settings.json: enough to rebuild the network and to judge the run."""
        stage, summary = self.stage, self.data.summaries["train"]
        counts = summary.class_counts
        return StoredRun(
            stage=stage.name,
            settings=computed_settings(self.settings),
            identity=self._identity(),
            classes=list(self.data.record.class_names),
            unusable_tiles=list(summary.unusable),
            encoder_weights=stage.encoder_weights,
            parameters=parameter_count(stage.network),
            total_steps=self.plan.total_steps,
            schedule_steps=self.schedule_steps,
            initial_weights=str(stage.initial.path) if stage.initial else "",
            gsd=self.data.gsd,
            training_mean_height=summary.mean_height,
            majority_class=max(range(len(counts)), key=counts.__getitem__) if counts else None,
            loss_weights=stage.loss_weights,
        )

    def _identity(self) -> dict:
        """Returns what must be equal for a run to be continued."""
        settings, stage = self.settings, self.stage
        run = identity(settings, stage.name) | stage.origin
        run["precision"] = keras.config.dtype_policy().name
        if self.schedule_has_length:
            run["total_steps"] = self.schedule_steps  # a plan of another length has other rates
        run |= data_identity(self.data)
        return run | {"global_batch_size": self.plan.global_batch_size}


def crop_plan(settings: Settings, data: Data) -> CropPlan:
    """Returns which crops the settings take out of the training tiles."""
    shapes = data.summaries["train"].shapes
    augmentation = Augmentation()
    if settings.augment:
        augmentation = Augmentation(
            flips=settings.flips,
            turns=settings.turns,
            brightness=settings.brightness_jitter,
            contrast=settings.contrast_jitter,
            colour=settings.colour_jitter,
            scale=settings.scale_jitter,
        )
    return CropPlan(shapes, settings.crop_size, settings.seed, augmentation)


def data_identity(data: Data) -> dict:
    """Returns what identifies a training split, for resuming."""
    record, summary = data.record, data.summaries["train"]
    names = [tile.name for tile in data.tiles["train"]]
    tiles = hashlib.sha256(repr((names, summary.shapes)).encode()).hexdigest()
    return {
        "training_tiles": tiles,
        "mean_height": summary.mean_height,
        "class_codes": [repr(label.codes) for label in record.classes],
        "class_counts": list(summary.class_counts),
        "gsd": data.gsd,
        "rgb_scale": record.rgb_scale,
        "sar_scale": record.sar_scale,
        "height_scale": record.height_scale or 1.0,
        "height_limits": list(record.height_limits or ()),
    }


def parameter_count(network: keras.Model) -> int:
    """Returns how many numbers a network trains."""
    return sum(math.prod(variable.shape) for variable in network.trainable_variables)


def mtl_stage(
    settings: Settings,
    data: Data,
    strategy: tf.distribute.Strategy,
    initial: InitialWeights | None = None,
) -> Stage:
    """Builds stage 1 under the strategy's scope.

    Args:
        settings: the settings in force.
        data: with the split train.
        strategy: under whose scope the network is built.
        initial: of `runs.initial.find_initial_weights`.
    """
    initial = of_stage(initial, "mtl", strategy)
    if initial:
        backbone_weights, origin = None, f"those of {initial.path}"
    else:
        backbone_weights, origin = encoder_weights(settings, strategy)
    with strategy.scope():
        mtl = build_stage1(settings, backbone_weights)
    initial = load_initial_weights(mtl, initial)
    balanced = settings.class_weights == "balanced"
    options = LossOptions(
        settings.reg_loss,
        settings.huber_delta,
        balanced_weights(data.summaries["train"].class_counts) if balanced else None,
        settings.label_smoothing,
    )
    recompute = settings.gradient_checkpointing
    weights = {"height_loss": settings.height_loss_weight}
    weights |= {"semantic_loss": settings.semantic_loss_weight} if settings.sem_flag else {}
    weights |= {"normal_loss": settings.normal_loss_weight} if settings.norm_flag else {}
    weights |= {"deep_height_loss": settings.deep_supervision} if settings.deep_supervision else {}
    return Stage(
        name="mtl",
        network=mtl,
        losses=MtlLosses(mtl, data.gsd, settings.normal_coding, options, recompute),
        loss_weights=weights,
        height_network=make_height_network(mtl),
        origin=initial_origin(initial),
        encoder_weights=origin,
        batch_size=crops_per_replica(settings, "mtl"),
        epochs=settings.mtl_epochs,
        steps=settings.mtl_steps,
        initial=initial,
    )


def encoder_weights(settings: Settings, strategy: tf.distribute.Strategy) -> tuple[str | None, str]:
    """Finds the weights that stage 1's encoder starts with; warns if they may not suit the run.

    Returns:
        As `models.backbones.pretrained_weights`.
    """
    weights, origin = pretrained_weights(settings.backbone, settings.backbone_weights)
    if weights and settings.input_normalisation != "imagenet" and is_chief(strategy):
        print(
            f"warning: {settings.backbone} starts from weights that were probably trained on "
            "images of another range. Set input_normalisation=imagenet."
        )
    if settings.freeze_backbone_epochs and not weights and is_chief(strategy):
        print(f"warning: freeze_backbone_epochs freezes an encoder whose weights are {origin}.")
    return weights, origin


def load_stage1(settings: Settings, mtl: keras.Model) -> str:
    """Loads the best weights of stage 1, whose training may go on; returns their digest."""
    while True:
        digest = weights_digest(settings, "mtl")
        load_stage(settings, "mtl", mtl)
        if weights_digest(settings, "mtl") == digest:
            return digest


def initial_origin(initial: InitialWeights | None) -> dict[str, str]:
    """Returns what the weights that a stage starts from add to the origin of its run."""
    return {IDENTITY: initial.digest} if initial else {}


def dae_stage(
    settings: Settings,
    strategy: tf.distribute.Strategy,
    trained: bool = True,
    initial: InitialWeights | None = None,
) -> Stage:
    """Builds stage 2 on top of stage 1.

    Args:
        settings: the settings in force.
        strategy: under whose scope the networks are built.
        trained: False = stage 1 keeps its random weights (for checks and timing).
        initial: of `runs.initial.find_initial_weights`.
    """
    initial = of_stage(initial, "dae", strategy)
    with strategy.scope():
        mtl, dae = build_stage1(settings), build_stage2(settings)
    origin = {"mtl_weights": load_stage1(settings, mtl)} if trained else {}
    initial = load_initial_weights(dae, initial)
    options = LossOptions(settings.reg_loss, settings.huber_delta)
    return Stage(
        name="dae",
        network=dae,
        losses=DaeLosses(mtl, dae, options, settings.gradient_checkpointing),
        loss_weights={"height_loss": 1.0},
        height_network=make_height_network(mtl, dae),
        origin=origin | initial_origin(initial),
        encoder_weights=stored_stage(settings, "mtl").encoder_weights if trained else "random",
        batch_size=crops_per_replica(settings, "dae"),
        epochs=settings.dae_epochs,
        steps=settings.dae_steps,
        initial=initial,
    )
