"""What is particular to each stage."""

from dataclasses import dataclass

from devices.workers import is_chief
from models.backbones import pretrained_weights
from models.height_network import make_height_network
from runs.folders import weights_digest
from runs.networks import build_stage1, build_stage2, load_stage
from runs.stored import stored_stage
from training.losses import balanced_weights
from training.steps import LossOptions, dae_losses, mtl_losses


@dataclass(frozen=True)
class Stage:
    """What is particular to a stage.

    Attributes:
        name: "mtl" or "dae".
        network: Keras model that is trained.
        losses: function (batch) -> dict of unweighted losses, (batch,).
        loss_weights: dict of loss name to float.
        height_network: function of `models.height_network.make_height_network`, for validation.
        origin: dict of what else the run depends on (the DAE on the MTL's weights).
        encoder_weights: str, what stage 1's encoder began with, for the record.
    """

    name: str
    network: object
    losses: object
    loss_weights: dict
    height_network: object
    origin: dict
    encoder_weights: str


def mtl_stage(settings, data, strategy):
    """Builds stage 1 under the strategy's scope; returns its `Stage`."""
    backbone_weights, origin = pretrained_weights(settings.backbone, settings.backbone_weights)
    if backbone_weights and settings.input_normalisation != "imagenet" and is_chief(strategy):
        print(
            f"warning: {settings.backbone} begins with weights that were likely trained on another "
            "range of images. Set input_normalisation=imagenet."
        )
    if settings.freeze_backbone_epochs and not backbone_weights and is_chief(strategy):
        print(f"warning: freeze_backbone_epochs rests an encoder whose weights are {origin}.")
    with strategy.scope():
        mtl = build_stage1(settings, backbone_weights)
    balanced = settings.class_weights == "balanced"
    options = LossOptions(
        settings.reg_loss,
        settings.huber_delta,
        balanced_weights(data.summaries["train"].class_counts) if balanced else None,
        settings.label_smoothing,
    )
    recompute = settings.gradient_checkpointing
    losses = mtl_losses(mtl, data.gsd, settings.normal_coding, options, recompute)
    weights = {"height_loss": settings.height_loss_weight}
    weights |= {"semantic_loss": settings.semantic_loss_weight} if settings.sem_flag else {}
    weights |= {"normal_loss": settings.normal_loss_weight} if settings.norm_flag else {}
    weights |= {"deep_height_loss": settings.deep_supervision} if settings.deep_supervision else {}
    return Stage("mtl", mtl, losses, weights, make_height_network(mtl), {}, origin)


def dae_stage(settings, strategy, trained=True):
    """Builds stage 2 on top of stage 1; returns its `Stage`.

    Args:
        settings: `settings.loading.Settings`.
        strategy: `tf.distribute.Strategy`.
        trained: bool, False = stage 1 keeps its random weights (for checks and timing).
    """
    with strategy.scope():
        mtl, dae = build_stage1(settings), build_stage2(settings)
    if trained:
        load_stage(settings, "mtl", mtl)
    options = LossOptions(settings.reg_loss, settings.huber_delta)
    losses = dae_losses(mtl, dae, options, settings.gradient_checkpointing)
    origin = {"mtl_weights": weights_digest(settings, "mtl")} if trained else {}
    network = make_height_network(mtl, dae)
    begun = stored_stage(settings, "mtl")["encoder_weights"] if trained else "random"
    return Stage("dae", dae, losses, {"height_loss": 1.0}, network, origin, begun)
