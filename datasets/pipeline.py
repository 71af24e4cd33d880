"""The endless stream of training crops.

Everything that depends on chance or order is a pure function of (seed, pass, crop): step s takes
the stream's indices [s*G, (s+1)*G), so one replica, many replicas and a resumed run see the same
samples, and nothing has to be stored for the input but the step number.
"""

import os
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from datasets.samples import read_tile_window


@dataclass(frozen=True)
class CropPlan:
    """Which crops one pass over the training tiles takes.

    Attributes:
        shapes: (rows, columns) of each tile, pixels.
        crop_size: int, pixels.
        seed: int, of the order, the offsets and the augmentation.
        augment: bool, flips and quarter turns.
    """

    shapes: tuple
    crop_size: int
    seed: int
    augment: bool = True

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
        Tuple of int32 scalar tensors: tile, row, column (of the crop's upper left pixel) and
        turn (0 to 7: quarter turns, +4 = flipped).
    """
    round_, position = index // plan.crops, index % plan.crops
    key = tf.stack([tf.constant(plan.seed, tf.int64), round_])
    crop = tf.random.experimental.index_shuffle(position, tf.cast(key, tf.int32), plan.crops - 1)
    ends = tf.constant(np.cumsum(plan.crops_per_tile))
    tile = tf.searchsorted(ends, [crop], side="right")[0]
    key = tf.random.experimental.stateless_fold_in(key, crop)
    share = tf.random.stateless_uniform([3], key, dtype=tf.float64)
    choices = tf.cast(tf.gather(tf.constant(plan.shapes), tile) - plan.crop_size + 1, tf.float64)
    row, column = tf.unstack(tf.cast(share[:2] * choices, tf.int32))
    turn = tf.cast(share[2] * 8, tf.int32) if plan.augment else tf.constant(0)
    return tile, row, column, turn


def turn_sample(sample, turn):
    """Turns and flips every raster of a sample alike.

    Args:
        sample: dict of tensors (rows, columns, channels), rows = columns.
        turn: int32 scalar tensor 0 to 7; turn % 4 quarter turns anticlockwise, then, if
            turn >= 4, flipped left to right.
    """

    def apply(raster):
        turned = tf.image.rot90(raster, turn % 4)
        return tf.where(turn >= 4, tf.reverse(turned, axis=[1]), turned)

    return {name: apply(raster) for name, raster in sample.items()}


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
class Share:
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


def training_dataset(tiles, record, plan, order, steps, share=Share()):
    """Builds the batches of the optimizer steps `steps`, one for each replica in turn.

    Args:
        tiles: sequence of `datasets.folders.Tile`, in the order of `plan.shapes`.
        record: `datasets.records.Record`.
        plan: `CropPlan`.
        order: int64 array of `feeding_order`.
        steps: range of step numbers, with step 1.
        share: `Share`; the default feeds whole global batches.

    Returns:
        `tf.data.Dataset` of dicts: `image` float32 (batch, crop, crop, 3) of 0-255, `heights`
        float32 (..., 1) metres, NaN = nodata, `valid` bool (..., 1), `classes` int32 (..., 1),
        -1 = ignore, `sample` int64 (batch,), the samples' numbers in the stream. An unreadable
        tile ends the iteration with an error that names it.
    """
    size, places = plan.crop_size, share.of(order)
    layout = {"image": (3, tf.float32), "heights": (1, tf.float32), "valid": (1, tf.bool)}
    layout["classes"] = (1, tf.int32)

    def read(tile, row, column):
        sample = read_tile_window(tiles[int(tile)], record, int(row), int(column), size, size)
        return [sample[name].reshape(size, size, -1) for name in layout]

    def load(position):
        index = position // len(places) * len(order) + tf.gather(places, position % len(places))
        tile, row, column, turn = place_crop(index, plan)
        kinds = [kind for _, kind in layout.values()]
        rasters = tf.numpy_function(read, [tile, row, column], kinds, stateful=False)
        sample = {
            name: tf.ensure_shape(raster, (size, size, channels))
            for raster, (name, (channels, _)) in zip(rasters, layout.items(), strict=True)
        }
        return turn_sample(sample, turn) | {"sample": index}

    options = tf.data.Options()
    options.threading.private_threadpool_size = os.cpu_count()  # apart from the training's threads
    first, last = steps.start * len(places), steps.stop * len(places)
    return (
        tf.data.Dataset.range(first, last)
        .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(len(order) // share.replicas, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )
