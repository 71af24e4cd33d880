"""How a stage is fed: its crops, the length of its training, and the batches on all replicas."""

import tensorflow as tf

from datasets.crops.augmentation import Augmentation
from datasets.crops.crop_reader import CropReader
from datasets.crops.pipeline import CropPlan, Shard, feeding_order, training_dataset
from datasets.crops.tile_cache import Decoder, DiskCache, MemoryCache
from devices.memory import free_memory
from devices.workers import worker
from runs.folders import output_folder
from training.loop import make_plan
from training.stages.record import batch_size

MEMORY_SHARE = 0.5  # of the free memory that the caches of a machine may fill unasked


def crop_plan(settings, data):
    """Returns which crops the settings take out of the training tiles."""
    shapes = data.summaries["train"].shapes
    augmentation = Augmentation()
    if settings.augment:
        amounts = {
            name: getattr(settings, f"{name}_jitter")
            for name in ("brightness", "contrast", "colour", "scale")
        }
        augmentation = Augmentation(settings.flips, settings.turns, **amounts)
    return CropPlan(shapes, settings.crop_size, settings.seed, augmentation)


def crop_reader(settings, data, strategy):
    """Returns the `CropReader` of the training tiles, with the cache that the settings ask for."""
    tiles, summary = data.tiles["train"], data.summaries["train"]
    decoder = Decoder(tiles, data.record, summary.shapes, summary.image_type)
    cache = tile_cache(settings, decoder, processes=worker(strategy)[1])
    return CropReader(tiles, data.record, summary.image_type, cache, settings.bad_tiles == "skip")


def tile_cache(settings, decoder, processes=1):
    """Returns the cache of decoded tiles that the setting `cache` asks for; None = no cache.

    Args:
        settings: `settings.loading.Settings`.
        decoder: `Decoder`.
        processes: int, workers that may all be on this machine.
    """
    kind = settings.cache
    if kind == "auto":
        fits = sum(decoder.tile_bytes) <= MEMORY_SHARE / processes * free_memory()
        kind = "memory" if fits else "none"
    if kind == "disk":
        return DiskCache(decoder, output_folder(settings, "cache"))
    return MemoryCache(decoder) if kind == "memory" else None


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


def distributed_batches(settings, data, strategy, stage, steps, reader=None):
    """Returns an iterator over the distributed batches of a range of steps of a stage.

    Args:
        settings: `settings.loading.Settings`.
        data: `runs.start.Data`.
        strategy: `tf.distribute.Strategy`.
        stage: "mtl" or "dae".
        steps: range of step numbers.
        reader: of `crop_reader`; None = a new one.
    """
    replicas = strategy.num_replicas_in_sync
    reader = reader or crop_reader(settings, data, strategy)
    is_alone = strategy is tf.distribute.get_strategy()  # the default one

    def feed(context):
        dataset = training_dataset(
            reader,
            crop_plan(settings, data),
            batch_order(settings, stage, strategy),
            steps,
            Shard(context.input_pipeline_id, context.num_input_pipelines, replicas),
            settings.input_threads,
        ).repeat()  # of a dataset with an end the workers would ask each other at every step
        return on_device(dataset) if is_alone else dataset

    return iter(strategy.distribute_datasets_from_function(feed))


def on_device(dataset):
    """Copies batches to the one GPU ahead of the steps, as strategies over several do themselves.

    https://www.tensorflow.org/api_docs/python/tf/data/experimental/prefetch_to_device
    """
    gpus = tf.config.list_logical_devices("GPU")
    return dataset.apply(tf.data.experimental.prefetch_to_device(gpus[0].name)) if gpus else dataset
