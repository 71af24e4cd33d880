"""The endless stream of training crops, and the batches that each replica gets of it.

A number in the stream becomes a place: tile, offset, turn (`place_crop`). The numbers of a global
batch get an order (`feeding_order`), each process takes its shard of them (`Shard`), and
`training_dataset` reads, augments and batches the crops.

Everything random is a pure function of (seed, pass, crop); nothing depends on what was drawn
before. With global batch size G, optimizer step s always takes the numbers [s*G, (s+1)*G) of the
stream. Therefore:

- training takes the same samples on 1 and on N replicas, processes and reading threads;
- a resumed run continues exactly where it stopped, and only the step number is stored. The state of
  the iterator could not be: TensorFlow does not checkpoint distributed iterators.
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
    # A pseudo-random permutation that is computed for one position at a time: each pass takes every
    # crop once, in its own order, and that order is neither stored nor drawn from its beginning.
    crop = tf.random.experimental.index_shuffle(position, tf.cast(key, tf.int32), plan.crops - 1)
    ends = tf.constant(np.cumsum(plan.crops_per_tile))
    tile = tf.searchsorted(ends, [crop], side="right")[0]
    # Offset and turn follow from the pass and the crop, not from the position in the stream.
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
    limit = np.log1p(plan.augmentation.scale)  # a factor is as likely as its inverse
    factor = tf.exp(tf.random.stateless_uniform([], key + 1, -limit, limit))
    size = tf.cast(tf.round(plan.crop_size * factor), tf.int32)
    return tf.minimum(size, tf.reduce_min(shape))


def feeding_order(batch_size: int, replicas: int = 1, parts: int = 1) -> np.ndarray:
    """Orders the samples of a global batch so that its parts do not depend on the replica count.

    With gradient accumulation each replica divides its examples into parts, which it takes one
    after another. Part p of all replicas goes through the network at the same time, and
    synchronised batch normalisation computes its statistics over just these samples. So they must
    be the same for any number of replicas: the p-th part of the stream's samples.

    The order of the stream would not do, because a replica is fed all its parts at once. With 2
    replicas and 2 parts of 2 samples, the first part would be samples 0, 1, 4 and 5; with 1 replica
    and 2 parts of 4 it is 0, 1, 2 and 3. Fed in the order 0 1 4 5 | 2 3 6 7, the two replicas take
    0 1 | 2 3 first, as well.

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
        # A position counts the crops that this process feeds, an index those of the whole stream.
        index = position // len(places) * len(order) + tf.gather(places, position % len(places))
        return _load_crop(reader, plan, place_crop(index, plan)) | {"sample": index}

    threads = threads or len(os.sched_getaffinity(0))
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads  # apart from the threads of the training
    first, last = steps.start * len(places), steps.stop * len(places)
    return (
        tf.data.Dataset.range(first, last)
        # Deterministic: crops keep their order, whichever of them is read first.
        .map(load, num_parallel_calls=threads, deterministic=True)
        # There is never a remainder; this makes the batch size a constant of the graph.
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

    # Images of 8 bits and classes of 16 are cast only on the device, by
    # `datasets.crops.targets.cast_batch`: a pixel takes 9 bytes instead of 20 in prefetched batches
    # and on the way to a GPU.
    rasters = tf.numpy_function(
        read,
        [place[name] for name in ("tile", "row", "column", "size")],
        [tf.as_dtype(kind) for _, kind in reader.types.values()],
        # A crop depends only on its place. By default the call would count as stateful, and
        # tf.config.experimental.enable_op_determinism makes such calls run one after another.
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
