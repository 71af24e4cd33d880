"""Dropout whose masks belong to the sample, not to the device that computes it."""

import contextlib
import threading
import zlib

import keras
import tensorflow as tf
from keras import layers

_GROUP = 4  # numbers that Philox makes per count
_PHILOX = 1  # the algorithm's number in TensorFlow
_current = threading.local()  # each replica of a MirroredStrategy is traced in a thread of its own


@contextlib.contextmanager
def samples_from(first, always=False):
    """Says which samples the networks called within see: consecutive ones from `first` on.

    Args:
        first: integer scalar tensor, number of the batch's first sample in the training stream.
        always: bool, True = features are dropped outside of training, too.
    """
    before = current_sample(), drops_always()
    _current.first, _current.always = first, always
    try:
        yield
    finally:
        _current.first, _current.always = before


def current_sample():
    """Returns the number of the first sample of `samples_from`; None outside of it."""
    return getattr(_current, "first", None)


def drops_always():
    """Says whether `samples_from` asks for dropout outside of training."""
    return getattr(_current, "always", False)


def sample_uniform(first, count, size, key):
    """Draws `size` uniform numbers for each of `count` samples, a function of sample and key.

    Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) makes its
    numbers from a count; each sample has its own range of counts.

    Args:
        first: integer scalar tensor, number of the first sample.
        count: integer scalar tensor.
        size: integer scalar tensor.
        key: int.

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
    """Dropout (Srivastava et al., JMLR 2014) as a pure function of (seed, layer, sample).

    One device, several replicas and a resumed run drop the same features of the same sample, and
    nothing has to be stored. In training it must be called within `samples_from`.
    """

    def __init__(self, rate, seed=0, **keywords):
        """Makes the layer.

        Args:
            rate: float, share of features that is dropped; the others grow to keep the mean.
            seed: int.
            keywords: of `keras.layers.Layer`; the name tells the layers' masks apart.
        """
        super().__init__(**keywords)
        self.rate, self.seed = rate, seed

    def call(self, inputs, training=None):
        if not self.rate or not (training or drops_always()):
            return inputs
        first = current_sample()
        if first is None:
            raise ValueError(
                f"{self.name} is called in training, expected within models.dropout.samples_from, "
                "which says whose features it drops."
            )
        key = zlib.crc32(f"{self.seed}/{self.name}".encode())
        shape = tf.shape(inputs)
        uniform = sample_uniform(first, shape[0], tf.reduce_prod(shape[1:]), key)
        kept = tf.reshape(uniform, shape) >= self.rate
        return tf.where(kept, inputs / (1.0 - self.rate), tf.zeros_like(inputs))

    def get_config(self):
        return super().get_config() | {"rate": self.rate, "seed": self.seed}
