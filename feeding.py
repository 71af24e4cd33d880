"""How a stage is fed: its crops, the length of its training, and the batches on all replicas."""

from datasets.pipeline import CropPlan, Share, feeding_order, training_dataset
from run_record import batch_size
from training.plan import make_plan


def crop_plan(settings, data):
    """Returns which crops the settings take out of the training tiles."""
    shapes = data.summaries["train"].shapes
    return CropPlan(shapes, settings.crop_size, settings.seed, settings.augment)


def batch_order(settings, stage, strategy):
    """Returns the `feeding_order` of a stage's global batch."""
    replicas, parts = strategy.num_replicas_in_sync, settings.gradient_accumulation_steps
    return feeding_order(batch_size(settings, stage), replicas, parts)


def stage_plan(settings, data, stage, strategy):
    """Returns the `TrainingPlan` of a stage under the settings."""
    return make_plan(
        getattr(settings, f"{stage}_epochs"),
        getattr(settings, f"{stage}_steps"),
        len(batch_order(settings, stage, strategy)),
        settings.samples_per_epoch or crop_plan(settings, data).crops,
    )


def distributed_batches(settings, data, strategy, stage, steps):
    """Returns an iterator over the distributed batches of a range of steps of a stage."""
    replicas = strategy.num_replicas_in_sync

    def feed(context):
        return training_dataset(
            data.tiles["train"],
            data.record,
            crop_plan(settings, data),
            batch_order(settings, stage, strategy),
            steps,
            Share(context.input_pipeline_id, context.num_input_pipelines, replicas),
        ).repeat()  # of a dataset with an end the workers would ask each other at every step

    return iter(strategy.distribute_datasets_from_function(feed))
