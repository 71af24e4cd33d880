"""What a run says about itself: its settings.json and its start banner."""

import hashlib
import math

import keras

from devices.strategy import describe_devices
from runs.folders import output_folder, stage_folder
from runs.stored import computed_settings
from settings.loading import describe, identity


def batch_size(settings, stage):
    """Returns the crops per replica of a stage."""
    return settings.batch_size if stage == "mtl" else settings.dae_batch_size


def data_identity(data):
    """Returns what tells one training split from another, for resuming."""
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
        "height_scale": record.height_scale,
        "height_limits": list(record.height_limits or ()),
    }


def stored_description(settings, data, stage, plan):
    """Returns the content of settings.json: enough to rebuild the network and judge the run."""
    summary = data.summaries["train"]
    counts = summary.class_counts
    run = identity(settings, stage.name) | stage.origin
    run["precision"] = keras.config.dtype_policy().name
    stairs = settings.learning_rate_schedule == "step" and settings.decay_epochs
    if settings.learning_rate_schedule != "constant" and not stairs:
        run["total_steps"] = plan.total_steps  # another length would have had other rates
    return {
        "stage": stage.name,
        "settings": computed_settings(settings),
        "identity": run | data_identity(data) | {"global_batch_size": plan.global_batch_size},
        "classes": [label.name for label in data.record.classes],
        "unusable_tiles": list(summary.unusable),
        "encoder_weights": stage.encoder_weights,
        "parameters": parameter_count(stage.network),
        "gsd": data.gsd,
        "training_mean_height": summary.mean_height,
        "majority_class": max(range(len(counts)), key=counts.__getitem__) if counts else None,
        "loss_weights": stage.loss_weights,
    }


def parameter_count(network):
    """Returns how many numbers a network trains."""
    return sum(math.prod(variable.shape) for variable in network.trainable_variables)


def print_banner(settings, data, strategy, stage, plan):
    """Prints what this run is, before its first step."""
    record, summary = data.record, data.summaries["train"]
    size, replicas = batch_size(settings, stage.name), strategy.num_replicas_in_sync
    parts = settings.gradient_accumulation_steps
    known = f"{record.source}; {record.licence}" if record.source else "no source stated"
    millions = parameter_count(stage.network) / 1e6
    lines = {
        "stage": f"{stage.name.upper()}, {millions:.2f} million parameters in "
        f"{len(stage.network.trainable_variables)} variables",
        "encoder": f"{settings.backbone}, began with weights: {stage.encoder_weights}",
        "devices": f"{describe_devices(strategy)}; {keras.config.dtype_policy().name}",
        "data": f"{record.name} in {record.folder} ({known})",
        "tiles": f"{summary.tiles} train, {data.summaries['valid'].tiles} valid; "
        f"{data.gsd:.2f} m per pixel; mean height {summary.mean_height:.2f} m",
        "classes": ", ".join(record.class_names) or "none",
        "batch": f"{size} crops x {replicas} replicas"
        + (f" x {parts} accumulated" if parts > 1 else "")
        + f" = {plan.global_batch_size} per step, {settings.crop_size} px",
        "length": f"{plan.total_steps} steps of which {plan.samples_per_epoch} crops are an epoch",
        "weights": str(stage_folder(settings, stage.name)),
        "results": str(output_folder(settings, stage.name)),
    }
    print("\n".join(f"{name:>8}  {line}" for name, line in lines.items()))
    for line in describe(settings):
        print(f"{'setting':>8}  {line}")
