"""The endless stream of training crops, and the batches that each replica gets of it.

From above to below: a number in the stream becomes a place (tile, offset, turn: `place_crop`), the
numbers of a global batch get an order (`feeding_order`), each process takes its shard of them
(`Shard`), and `training_dataset` reads, augments and batches the crops.

All chance is a pure function of (seed, pass, crop); nothing depends on what was drawn before. The
optimizer step s always takes the numbers [s*G, (s+1)*G) of the stream, G being the global batch
size. Therefore:

- 1 and N replicas, processes and reading threads train on the same samples;
- a resumed run goes on exactly where it stopped, and the step number is all that is stored. The
  state of the iterator could not be saved anyway: TensorFlow has no checkpoints of distributed
  iterators, and a shuffle buffer would hold gigabytes of decoded crops.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from datasets.crops.augmentation import Augmentation, change_colours, resize_sample, turn_sample
from datasets.crops.crop_reader import CropReader


@dataclass(frozen=True)
class CropPlan:
    """Which crops one pass over the training tiles takes.

    Attributes:
        shapes: (rows, columns) of each tile, pixels.
        crop_size: rows and columns of a crop, pixels.
        seed: of the order, the offsets and the augmentation.
        augmentation: how crops are changed.
    """

    shapes: tuple[tuple[int, int], ...]
    crop_size: int
    seed: int
    augmentation: Augmentation = Augmentation()

    @property
    def crops_per_tile(self) -> np.ndarray:
        """int64 (tiles,): the number of crops that cover each tile once."""
        return np.array([np.prod([-(-n // self.crop_size) for n in s]) for s in self.shapes])

    @property
    def crops(self) -> int:
        """Crops of one pass over all tiles."""
        return int(self.crops_per_tile.sum())


def place_crop(index: tf.Tensor, plan: CropPlan) -> dict[str, tf.Tensor]:
    """Chooses the crop with a given number in the endless stream.

    Args:
        index: int64 scalar, number in the stream.
        plan: which crops a pass takes.

    Returns:
        Scalars: int32 `tile`, `row`, `column` (of the upper left pixel), `size` (rows and columns
        to read, which are resized to the crop's) and `turn` (see `turn_sample`); int64 (2,)
        `key`, the seed of further choices.
    """
    pass_number, position = index // plan.crops, index % plan.crops
    key = tf.stack([tf.constant(plan.seed, tf.int64), pass_number])
    # A pseudo-random permutation, computed for one position at a time: each pass takes every crop
    # once, in an order of its own, and nobody has to keep that order or draw it from the start.
    crop = tf.random.experimental.index_shuffle(position, tf.cast(key, tf.int32), plan.crops - 1)
    ends = tf.constant(np.cumsum(plan.crops_per_tile))
    tile = tf.searchsorted(ends, [crop], side="right")[0]
    # The crop's own key: whatever its neighbours in the stream are, it gets the same offset.
    key = tf.random.experimental.stateless_fold_in(key, crop)
    fractions = tf.random.stateless_uniform([3], key, dtype=tf.float64)
    more = tf.random.experimental.stateless_fold_in(key, 1)
    shape = tf.gather(tf.constant(plan.shapes), tile)
    size = _read_size(shape, more, plan)
    choices = tf.cast(shape - size + 1, tf.float64)
    row, column = tf.unstack(tf.cast(fractions[:2] * choices, tf.int32))
    turns = tf.constant(plan.augmentation.choices)
    turn = turns[tf.cast(fractions[2] * len(plan.augmentation.choices), tf.int32)]
    return {"tile": tile, "row": row, "column": column, "size": size, "turn": turn, "key": more}


def _read_size(shape, key, plan):
    """Chooses how many pixels of a tile of this shape become a crop: its change of pixel size."""
    if not plan.augmentation.scale:
        return tf.constant(plan.crop_size)
    limit = np.log1p(plan.augmentation.scale)  # as likely larger as smaller by a factor
    factor = tf.exp(tf.random.stateless_uniform([], key + 1, -limit, limit))
    size = tf.cast(tf.round(plan.crop_size * factor), tf.int32)
    return tf.minimum(size, tf.reduce_min(shape))


def feeding_order(batch_size: int, replicas: int = 1, parts: int = 1) -> np.ndarray:
    """Orders the samples of a global batch so that its parts do not depend on the replica count.

    With gradient accumulation each replica divides its examples into parts, which it takes one
    after another; what all replicas hold of part p goes through the network at the same time.
    Synchronised batch normalisation computes its statistics over just these samples, so they must
    be the same ones for any number of replicas: the p-th part of the stream's samples. But a
    replica is fed consecutive samples of the dataset, parts and all. Fed in the order of the
    stream, 2 replicas with 2 parts of 2 would take samples {0, 1, 4, 5} together, while 1 replica
    with 2 parts of 4 takes {0, 1, 2, 3}. In this order, 0 1 4 5 | 2 3 6 7, both take the latter.

    Args:
        batch_size: examples per replica and part.
        replicas: of all processes together.
        parts: into which each replica divides its examples.

    Returns:
        int64 (global batch size,): the position of each sample to feed, counted from the first
        sample of the global batch.
    """
    places = np.arange(parts * replicas * batch_size)
    return places.reshape(parts, replicas, batch_size).swapaxes(0, 1).ravel()


@dataclass(frozen=True)
class Shard:
    """The part of each global batch that one process feeds to its replicas.

    Attributes:
        number: of this process, from 0.
        processes: their number.
        replicas: of all processes together; each process has as many.
    """

    number: int = 0
    processes: int = 1
    replicas: int = 1

    def of(self, order: np.ndarray) -> np.ndarray:
        """Returns the part of an array (global batch size,) that this process feeds."""
        return np.split(order, self.processes)[self.number]


def training_dataset(
    reader: CropReader,
    plan: CropPlan,
    order: np.ndarray,
    steps: range,
    shard: Shard = Shard(),
    threads: int | None = None,
) -> tf.data.Dataset:
    """Builds the batches of the optimizer steps `steps`: for each step one per replica, in turn.

    The dataset is already batched per replica and sharded over the processes, for
    `tf.distribute.Strategy.distribute_datasets_from_function`. Given a dataset of global batches,
    TensorFlow would shard it by itself: by files, which needs a file per process, or by data, in
    which case every process reads, decodes and augments all crops and discards those of the others.
    Here each process computes the numbers of its own crops and never touches the rest.

    Args:
        reader: of the tiles of `plan.shapes`.
        plan: which crops a pass takes.
        order: of `feeding_order`.
        steps: step numbers, one apart.
        shard: of this process; the default feeds whole global batches.
        threads: that read and augment; None = as many as there are cores.

    Returns:
        Dataset of `datasets.tiles.samples.Batch`. A tile that cannot be read ends the iteration
        with an error that names it, unless the reader leaves it out.
    """
    places = shard.of(order)

    def load(position):
        # Positions count the crops that this process feeds, indices those of the whole stream.
        index = position // len(places) * len(order) + tf.gather(places, position % len(places))
        return _load_crop(reader, plan, place_crop(index, plan)) | {"sample": index}

    threads = threads or len(os.sched_getaffinity(0))
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads  # apart from the threads of the training
    first, last = steps.start * len(places), steps.stop * len(places)
    return (
        tf.data.Dataset.range(first, last)
        # Deterministic: the crops leave in the order of their numbers, whichever is read first.
        .map(load, num_parallel_calls=threads, deterministic=True)
        # There is never a remainder, but only so is the batch size a constant of the graph.
        .batch(len(order) // shard.replicas, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )


def _load_crop(
    reader: CropReader, plan: CropPlan, place: Mapping[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    """Reads and augments one crop; returns `Batch` without the batch dimension and `sample`."""
    names = tuple(reader.types)

    def read(*where):  # tf.numpy_function passes arrays by position, not by name
        crop = reader.read(*where)
        return [crop[name] for name in names]

    # 8-bit images and 16-bit classes stay what they are until `datasets.crops.targets.cast_batch`
    # casts them on the device: prefetched batches and copies to a GPU are a quarter the size.
    rasters = tf.numpy_function(
        read,
        [place[name] for name in ("tile", "row", "column", "size")],
        [tf.as_dtype(kind) for _, kind in reader.types.values()],
        # A crop depends on its place alone. Calls that are declared stateful, which is the
        # default, run one after another under tf.config.experimental.enable_op_determinism.
        stateful=False,
    )
    channels = {name: count for name, (count, _) in reader.types.items()}
    sample = {
        name: tf.ensure_shape(raster, (None, None, channels[name]))
        for name, raster in zip(names, rasters, strict=True)
    }
    size, augmentation = plan.crop_size, plan.augmentation
    if augmentation.scale:
        sample = resize_sample(sample, size)
    if augmentation.changes_colours:
        sample["image"] = change_colours(sample["image"], place["key"], augmentation)
    turned = turn_sample(sample, place["turn"])
    crop = {name: tf.ensure_shape(turned[name], (size, size, channels[name])) for name in names}
    return crop | {"gsd_factor": tf.cast(place["size"] / size, tf.float32)}
