"""Dropout whose masks belong to the sample, not to the device that computes it."""

import zlib
from contextlib import AbstractContextManager

import keras
import tensorflow as tf
from keras import layers

from models.call_state import call_state, calling

_GROUP = 4  # numbers that Philox makes per count
_PHILOX = 1  # the algorithm's number in TensorFlow


def samples_from(first: tf.Tensor | int, always: bool = False) -> AbstractContextManager[None]:
    """Numbers the samples that networks see within a `with` block.

    Args:
        first: integer scalar, the number of the batch's first sample in the training stream; the
            others follow it.
        always: True = drop features outside training, too.
    """
    return calling(first_sample=first, always_drop=always)


def sample_uniform(first: tf.Tensor, count: tf.Tensor, size: tf.Tensor, key: int) -> tf.Tensor:
    """Draws `size` uniform numbers for each of `count` samples, a function of sample and key.

    The generator is Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
    It has no state: its numbers are a function of a counter, and each sample has its own range of
    counters. A sample's numbers therefore do not depend on the rest of its batch.

    Args:
        first: integer scalar, number of the first sample.
        count: integer scalar.
        size: integer scalar.
        key: tells independent streams of numbers apart.

    Returns:
        float32 (count, size) in [0, 1).
    """
    groups = -(-size // _GROUP)
    start = tf.cast(tf.cast(first, tf.int64) * tf.cast(groups, tf.int64), tf.uint64)
    values = tf.raw_ops.StatelessRandomUniformV2(
        shape=[count, groups * _GROUP],
        key=tf.constant([key], tf.uint64),
        counter=tf.stack([start, tf.constant(0, tf.uint64)]),
        alg=_PHILOX,
    )
    return values[:, :size]


@keras.saving.register_keras_serializable("dsmnet")
class SampleDropout(layers.Layer):
    """Dropout (Srivastava et al., JMLR 2014) as a pure function of (seed, layer, sample number).

    Keras' own dropout keeps a random state per layer: under MirroredStrategy all replicas draw the
    same masks from it, and weight files do not store it. Here one device, several replicas and a
    resumed run drop the same features of the same sample, and there is no state to store.
    """

    def __init__(self, rate: float, seed: int = 0, **keywords) -> None:
        """Makes the layer.

        Args:
            rate: share of features that is dropped; the others grow to keep the mean.
            seed: of the masks.
            keywords: of `keras.layers.Layer`; each layer needs a name of its own, which is part of
                the key of its masks.
        """
        super().__init__(**keywords)
        self.rate, self.seed = rate, seed

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Drops features in training, or wherever `samples_from` asks for it.

        Raises:
            ValueError: if the samples have no numbers, outside `samples_from`.
        """
        if not self.rate or not (training or call_state.always_drop):
            return inputs
        if call_state.first_sample is None:
            raise ValueError(
                f"{self.name} is called in training, expected within models.dropout.samples_from, "
                "which numbers the samples whose features it drops."
            )
        key = zlib.crc32(f"{self.seed}/{self.name}".encode())
        shape = tf.shape(inputs)
        size = tf.reduce_prod(shape[1:])
        uniform = sample_uniform(call_state.first_sample, shape[0], size, key)
        kept = tf.reshape(uniform, shape) >= self.rate
        return tf.where(kept, inputs / (1.0 - self.rate), tf.zeros_like(inputs))

    def get_config(self) -> dict:
        return super().get_config() | {"rate": self.rate, "seed": self.seed}
