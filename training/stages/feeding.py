"""How a run is fed: the reader with its cache, and the batches on all replicas."""

from collections.abc import Iterator

import tensorflow as tf

from datasets.crops.crop_reader import CropReader, Decoder, DiskCache, MemoryCache, TileCache
from datasets.crops.pipeline import Shard, feeding_order, training_dataset
from devices.memory import free_memory
from devices.workers import worker
from runs.folders import output_folder
from settings.loading import Settings
from training.stages.stage import StageRun

MEMORY_SHARE = 0.5  # of the free memory, which cache=auto may fill on a machine


def crop_reader(run: StageRun) -> CropReader:
    """Returns the reader of the training tiles, with the cache that the settings ask for."""
    data, settings = run.data, run.settings
    tiles, summary = data.tiles["train"], data.summaries["train"]
    decoder = Decoder(tiles, data.record, summary.shapes, summary.image_type)
    cache = tile_cache(settings, decoder, processes=worker(run.strategy)[1])
    return CropReader(decoder, cache, settings.bad_tiles == "skip")


def tile_cache(settings: Settings, decoder: Decoder, processes: int = 1) -> TileCache | None:
    """Returns the cache of decoded tiles that the setting `cache` asks for; None = no cache.

    Args:
        settings: the settings in force.
        decoder: of the training tiles.
        processes: workers that may all be on this machine.
    """
    kind = settings.cache
    if kind == "auto":
        fits = sum(decoder.tile_bytes) <= MEMORY_SHARE / processes * free_memory()
        kind = "memory" if fits else "none"
    if kind == "disk":
        return DiskCache(decoder, output_folder(settings, "cache"))
    return MemoryCache(decoder) if kind == "memory" else None


def distributed_batches(
    run: StageRun, steps: range, reader: CropReader | None = None
) -> Iterator[dict]:
    """Yields the distributed batches of a range of steps.

    Args:
        run: which stage, data and replicas.
        steps: step numbers.
        reader: of `crop_reader`; None = a new one.

    Raises:
        UserError: if a tile cannot be read; names its file.
    """
    reader = reader or crop_reader(run)
    replicas = run.strategy.num_replicas_in_sync
    order = feeding_order(run.batch_size, replicas, run.settings.gradient_accumulation_steps)
    is_alone = run.strategy is tf.distribute.get_strategy()  # the default one

    def feed(context: tf.distribute.InputContext) -> tf.data.Dataset:
        dataset = training_dataset(
            reader,
            run.crops,
            order,
            steps,
            Shard(context.input_pipeline_id, context.num_input_pipelines, replicas),
            run.settings.input_threads,
        ).repeat()  # of a dataset with an end the workers would ask each other at every step
        return on_device(dataset) if is_alone else dataset

    batches = iter(run.strategy.distribute_datasets_from_function(feed))
    return _with_own_errors(batches, reader)


def _with_own_errors(batches: Iterator[dict], reader: CropReader) -> Iterator[dict]:
    """Yields the batches; where reading fails, raises the reader's error, not TensorFlow's."""
    while True:
        try:
            batch = next(batches)
        except tf.errors.OpError as error:
            # Several threads may have failed; TensorFlow reports the first crop of the stream.
            own = next((own for own in reader.errors if str(own) in error.message), None)
            raise own or error from None
        except StopIteration:
            return
        yield batch


def on_device(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Copies batches to the one GPU ahead of the steps, as strategies over several do themselves.

    https://www.tensorflow.org/api_docs/python/tf/data/experimental/prefetch_to_device
    """
    gpus = tf.config.list_logical_devices("GPU")
    return dataset.apply(tf.data.experimental.prefetch_to_device(gpus[0].name)) if gpus else dataset
