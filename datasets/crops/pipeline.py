"""The endless stream of training crops.

Everything that depends on chance or order is a pure function of (seed, pass, crop): step s takes
the stream's indices [s*G, (s+1)*G), so one replica, many replicas and a resumed run see the same
samples, and nothing has to be stored for the input but the step number.
"""

import os
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from datasets.crops.augmentation import Augmentation, change_colours, resize_sample, turn_sample


@dataclass(frozen=True)
class CropPlan:
    """Which crops one pass over the training tiles takes.

    Attributes:
        shapes: (rows, columns) of each tile, pixels.
        crop_size: int, pixels.
        seed: int, of the order, the offsets and the augmentation.
        augmentation: `Augmentation`.
    """

    shapes: tuple
    crop_size: int
    seed: int
    augmentation: Augmentation = Augmentation()

    @property
    def crops_per_tile(self):
        """Crops that cover each tile once, as an int64 array."""
        return np.array([np.prod([-(-n // self.crop_size) for n in s]) for s in self.shapes])

    @property
    def crops(self):
        """Crops of one pass over all tiles."""
        return int(self.crops_per_tile.sum())


def place_crop(index, plan):
    """Chooses the crop at one index of the endless stream.

    Args:
        index: int64 scalar tensor, position in the stream.
        plan: `CropPlan`.

    Returns:
        dict of scalar tensors: int32 `tile`, `row`, `column` (of the upper left pixel), `size`
        (pixels that are read, which become the crop's) and `turn` (see `turn_sample`); int64
        (2,) `key` for further choices.
    """
    round_, position = index // plan.crops, index % plan.crops
    key = tf.stack([tf.constant(plan.seed, tf.int64), round_])
    crop = tf.random.experimental.index_shuffle(position, tf.cast(key, tf.int32), plan.crops - 1)
    ends = tf.constant(np.cumsum(plan.crops_per_tile))
    tile = tf.searchsorted(ends, [crop], side="right")[0]
    key = tf.random.experimental.stateless_fold_in(key, crop)
    share = tf.random.stateless_uniform([3], key, dtype=tf.float64)
    more = tf.random.experimental.stateless_fold_in(key, 1)
    shape = tf.gather(tf.constant(plan.shapes), tile)
    size = _read_size(shape, more, plan)
    choices = tf.cast(shape - size + 1, tf.float64)
    row, column = tf.unstack(tf.cast(share[:2] * choices, tf.int32))
    turns = tf.constant(plan.augmentation.choices)
    turn = turns[tf.cast(share[2] * len(plan.augmentation.choices), tf.int32)]
    return {"tile": tile, "row": row, "column": column, "size": size, "turn": turn, "key": more}


def _read_size(shape, key, plan):
    """Chooses the pixels to read of a tile of this shape, for a crop of another pixel size."""
    if not plan.augmentation.scale:
        return tf.constant(plan.crop_size)
    limit = np.log1p(plan.augmentation.scale)
    factor = tf.exp(tf.random.stateless_uniform([], key + 1, -limit, limit))
    size = tf.cast(tf.round(plan.crop_size * factor), tf.int32)
    return tf.minimum(size, tf.reduce_min(shape))


def feeding_order(batch_size, replicas=1, parts=1):
    """Orders the samples of a global batch so that its parts do not depend on the replicas.

    A replica gets consecutive samples and divides them into parts, which it takes one after
    another. Part p of all replicas together shall be the p-th part of the stream's samples.

    Args:
        batch_size: int, examples per replica and part.
        replicas: int.
        parts: int.

    Returns:
        int64 array (global batch size,): the place in the stream of each sample that is fed,
        from the first of the global batch on.
    """
    places = np.arange(parts * replicas * batch_size)
    return places.reshape(parts, replicas, batch_size).swapaxes(0, 1).ravel()


@dataclass(frozen=True)
class Shard:
    """Which samples of each global batch one process feeds, and to how many replicas.

    Attributes:
        number: int, of this process, from 0.
        processes: int.
        replicas: int, of all processes together, as many of each.
    """

    number: int = 0
    processes: int = 1
    replicas: int = 1

    def of(self, order):
        """Returns the part of an array (global batch,) that this process feeds."""
        return np.split(order, self.processes)[self.number]


def training_dataset(reader, plan, order, steps, shard=Shard(), threads=None):
    """Builds the batches of the optimizer steps `steps`, one for each replica in turn.

    The rasters are fed in the smallest type that holds them, and made into what the losses take
    on the device that computes these: see `datasets.crops.targets.cast_batch`.

    Args:
        reader: `datasets.crops.crop_reader.CropReader` of the tiles of `plan.shapes`.
        plan: `CropPlan`.
        order: int64 array of `feeding_order`.
        steps: range of step numbers, with step 1.
        shard: `Shard`; the default feeds whole global batches.
        threads: int, that read and augment; None = as many as there are cores.

    Returns:
        `tf.data.Dataset` of dicts: `image` (batch, crop, crop, 3 or 4) of 0-255, uint8 or
        float32; `heights` float32 (..., 1) metres, NaN = not valid; `classes` int16 (..., 1),
        -1 = ignore; `gsd_factor` float32 (batch,), pixel size of the crop as a multiple of the
        tile's; `sample` int64 (batch,), the samples' numbers in the stream. An unreadable tile
        ends the iteration with an error that names it, unless the reader leaves it out.
    """
    places = shard.of(order)

    def load(position):
        index = position // len(places) * len(order) + tf.gather(places, position % len(places))
        sample = _load_crop(reader, plan, place_crop(index, plan))
        return sample | {"sample": index}

    threads = threads or len(os.sched_getaffinity(0))
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads  # apart from the training's threads
    first, last = steps.start * len(places), steps.stop * len(places)
    return (
        tf.data.Dataset.range(first, last)
        .map(load, num_parallel_calls=threads, deterministic=True)
        .batch(len(order) // shard.replicas, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )


def _load_crop(reader, plan, place):
    """Reads and augments one crop; returns dict of tensors without batch."""
    where = [place[name] for name in ("tile", "row", "column", "size")]
    names = tuple(reader.types)

    def read(*place):  # tf.numpy_function takes arrays in an order, not by name
        crop = reader.read(*place)
        return [crop[name] for name in names]

    kinds = [tf.as_dtype(reader.types[name]) for name in names]
    rasters = tf.numpy_function(read, where, kinds, stateful=False)
    sample = {
        name: tf.ensure_shape(raster, (None, None, reader.channels[name]))
        for name, raster in zip(names, rasters, strict=True)
    }
    size, augmentation = plan.crop_size, plan.augmentation
    if augmentation.scale:
        sample = resize_sample(sample, size)
    if augmentation.changes_colours:
        sample["image"] = change_colours(sample["image"], place["key"], augmentation)
    sample = turn_sample(sample, place["turn"])
    for name, channels in reader.channels.items():
        sample[name] = tf.ensure_shape(sample[name], (size, size, channels))
    return sample | {"gsd_factor": tf.cast(place["size"] / size, tf.float32)}
