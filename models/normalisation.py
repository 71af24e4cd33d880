"""Batch normalisation as the networks need it."""

from dataclasses import dataclass

import keras
import tensorflow as tf
from keras import layers, ops

from models.segments import is_repeated


@keras.saving.register_keras_serializable("dsmnet")
class StoredBatchNormalization(layers.BatchNormalization):
    """Batch normalisation on its stored statistics, whose gamma and beta are still trained.

    A class of its own, because a functional model passes `training=True` of the outer call to
    every layer, whatever the layer was called with.
    """

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)


@keras.saving.register_keras_serializable("dsmnet")
class BatchNormalization(layers.BatchNormalization):
    """Batch normalisation on the statistics of one replica, or of the whole batch over all.

    Keras' own `synchronized=True` takes E[x^2] - E[x]^2, which cancels far from zero, in three
    collective operations per layer; this takes one (and one for the gradient). It bears the name
    of Keras' class, by which weight files know their layers.
    """

    def __init__(self, *, global_statistics=False, **keywords):
        super().__init__(**keywords)
        self.global_statistics = global_statistics

    def call(self, inputs, training=None, mask=None):
        if not (training and (self.global_statistics or is_repeated())):
            return super().call(inputs, training=training, mask=mask)
        x = ops.cast(inputs, "float32")
        mean, variance = global_moments(x) if self.global_statistics else local_moments(x)
        if not is_repeated():  # else they have seen this batch
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
        outputs = ops.batch_normalization(
            x, mean, variance, self.axis, self.beta, self.gamma, self.epsilon
        )
        return ops.cast(outputs, self.compute_dtype)

    def get_config(self):
        return super().get_config() | {"global_statistics": self.global_statistics}


def local_moments(x):
    """Returns (mean, variance), (channels,), of each channel of x (batch, ..., channels)."""
    return tf.nn.moments(x, list(range(x.shape.rank - 1)))


def global_moments(x):
    """Computes mean and variance of each channel over the batches of all replicas.

    Each replica hands in its own mean and variance; they are merged as Chan, Golub, LeVeque
    (1979) do: the variance is the mean of the variances plus the variance of the means.

    Args:
        x: float32 (batch, ..., channels), of one shape on all replicas.

    Returns:
        (mean, variance), float32 (channels,), the same on all replicas.
    """
    local = tf.stack(local_moments(x))  # (2, channels)
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync if context else 1
    if count == 1:
        return local[0], local[1]
    mine = tf.one_hot(context.replica_id_in_sync_group, count)[:, None, None]
    every = context.all_reduce(tf.distribute.ReduceOp.SUM, mine * local)  # (replicas, 2, channels)
    mean = tf.reduce_mean(every[:, 0], axis=0)
    return mean, tf.reduce_mean(every[:, 1] + tf.square(every[:, 0] - mean), axis=0)


@dataclass(frozen=True)
class BatchNormOptions:
    """How batch normalisation works.

    Attributes:
        frozen: bool, True = on the stored statistics in training too.
        momentum: of the moving averages.
        synchronised: bool, True = statistics of the batches of all replicas together.
    """

    frozen: bool = False
    momentum: float = 0.99
    synchronised: bool = False

    def layer(self, name, **keywords):
        """Makes a batch normalisation layer."""
        keywords |= {"name": name, "momentum": self.momentum}
        if self.frozen:
            keywords.pop("global_statistics", None)
            return StoredBatchNormalization(**keywords)
        return BatchNormalization(**keywords | {"global_statistics": self.synchronised})

    def apply(self, model):
        """Returns a copy of `model` with these options in every batch normalisation."""

        def clone(layer):
            config = layer.get_config()
            if isinstance(layer, layers.BatchNormalization):
                return self.layer(**config)
            return layer.__class__.from_config(config)

        copy = keras.models.clone_model(model, clone_function=clone)
        copy.set_weights(model.get_weights())
        return copy
