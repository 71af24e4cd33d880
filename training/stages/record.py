"""The start banner: what a run is, before its first step."""

import keras

from devices.strategy import describe_devices
from settings.loading import describe
from training.stages.stage import StageRun


def print_banner(run: StageRun) -> None:
    """Prints stage, data, devices, the arithmetic of the batch, and every unusual setting."""
    settings, data, stage, plan = run.settings, run.data, run.stage, run.plan
    record, summary = data.record, data.summaries["train"]
    parts = settings.gradient_accumulation_steps
    known = f"{record.source}; {record.licence}" if record.source else "no source stated"
    millions = run.description.parameters / 1e6
    lines = {
        "stage": f"{stage.name.upper()}, {millions:.2f} million parameters in "
        f"{len(stage.network.trainable_variables)} variables",
        "encoder": f"{settings.backbone}, began with weights: {stage.encoder_weights}",
        "devices": f"{describe_devices(run.strategy)}; {keras.config.dtype_policy().name}",
        "data": f"{record.name} in {record.folder} ({known})",
        "tiles": f"{summary.tiles} train, {data.summaries['valid'].tiles} valid; "
        f"{data.gsd:.2f} m per pixel; mean height {summary.mean_height:.2f} m",
        "classes": ", ".join(record.class_names) or "none",
        "batch": f"{run.batch_size} crops x {run.strategy.num_replicas_in_sync} replicas"
        + (f" x {parts} accumulated" if parts > 1 else "")
        + f" = {plan.global_batch_size} per step, {settings.crop_size} px",
        "length": f"{plan.total_steps} steps of which {plan.samples_per_epoch} crops are an epoch",
        "weights": str(run.folder),
        "results": str(run.results),
    }
    print("\n".join(f"{name:>8}  {line}" for name, line in lines.items()))
    for line in describe(settings):
        print(f"{'setting':>8}  {line}")
