"""Batch normalisation with stored statistics, those of one replica, or those of all replicas."""

from dataclasses import dataclass

import keras
import tensorflow as tf
from keras import layers, ops

from models.call_state import call_state


@keras.saving.register_keras_serializable("dsmnet")
class StoredBatchNormalization(layers.BatchNormalization):
    """Batch normalisation on its stored statistics, whose gamma and beta are still trained.

    It is a class of its own because a functional model passes the `training=True` of its caller to
    every layer, whatever the layer was called with when the model was built.
    """

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        return super().call(inputs, training=False, mask=mask)


# The class has the name of Keras' class, because weight files identify layers by it.
@keras.saving.register_keras_serializable("dsmnet")
class BatchNormalization(layers.BatchNormalization):
    """Batch normalisation on the statistics of one replica, or of the whole batch over all.

    Keras' own `synchronized=True` computes the variance as E[x^2] - E[x]^2 in float32, which
    cancels where the mean is large: features with a mean of 10,000 and a standard deviation of 1
    come out with one of 31. It also takes three collective operations per layer, at each of which
    all replicas wait for the slowest. `global_moments` avoids the cancellation and takes one.
    """

    def __init__(self, *, global_statistics: bool = False, **keywords) -> None:
        super().__init__(**keywords)
        self.global_statistics = global_statistics

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        if not (training and (self.global_statistics or call_state.repeated)):
            return super().call(inputs, training=training, mask=mask)
        x = ops.cast(inputs, "float32")
        mean, variance = global_moments(x) if self.global_statistics else local_moments(x)
        if not call_state.repeated:  # the first pass has already seen this batch
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
        outputs = ops.batch_normalization(
            x, mean, variance, self.axis, self.beta, self.gamma, self.epsilon
        )
        return ops.cast(outputs, self.compute_dtype)

    def get_config(self) -> dict:
        return super().get_config() | {"global_statistics": self.global_statistics}


def local_moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns (mean, variance), (channels,), of each channel of x (batch, ..., channels)."""
    return tf.nn.moments(x, list(range(x.shape.rank - 1)))


def global_moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes mean and variance of each channel over the batches of all replicas.

    Each replica contributes its own mean and variance, which are merged as by Chan, Golub, LeVeque
    (1979): the variance is the mean of the variances plus the variance of the means.

    Args:
        x: float32 (batch, ..., channels), of the same shape on all replicas.

    Returns:
        (mean, variance), float32 (channels,), the same on all replicas.
    """
    local = tf.stack(local_moments(x))  # (2, channels)
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync if context else 1
    if count == 1:
        return local[0], local[1]
    # Each replica fills its own row, so that one sum gathers the means and variances of all.
    mine = tf.one_hot(context.replica_id_in_sync_group, count)[:, None, None]
    every = context.all_reduce(tf.distribute.ReduceOp.SUM, mine * local)  # (replicas, 2, channels)
    mean = tf.reduce_mean(every[:, 0], axis=0)
    return mean, tf.reduce_mean(every[:, 1] + tf.square(every[:, 0] - mean), axis=0)


@dataclass(frozen=True)
class BatchNormOptions:
    """How batch normalisation works.

    Attributes:
        frozen: True = use the stored statistics in training, too.
        momentum: of the moving statistics.
        synchronised: True = statistics of the batches of all replicas together.
    """

    frozen: bool = False
    momentum: float = 0.99
    synchronised: bool = False

    def layer(self, name: str, **keywords) -> layers.BatchNormalization:
        """Makes a batch normalisation layer; `keywords` are those of Keras' class."""
        keywords |= {"name": name, "momentum": self.momentum}
        if self.frozen:
            return StoredBatchNormalization(**keywords)
        return BatchNormalization(global_statistics=self.synchronised, **keywords)

    def apply(self, model: keras.Model) -> keras.Model:
        """Returns a copy of `model` with these options in every batch normalisation of Keras."""

        def clone(layer):
            if isinstance(layer, layers.BatchNormalization):
                return self.layer(**layer.get_config())
            return layer.from_config(layer.get_config())

        copy = keras.models.clone_model(model, clone_function=clone)
        copy.set_weights(model.get_weights())
        return copy


def moving_statistics(model: keras.Model) -> list[keras.Variable]:
    """Returns the statistics of a model that a training step may move: not the stored ones."""
    layers_within = model._flatten_layers()  # private, but there is no public way to all of them
    stored = [layer for layer in layers_within if isinstance(layer, StoredBatchNormalization)]
    kept = {id(weight) for layer in stored for weight in layer.non_trainable_weights}
    floats = [w for w in model.non_trainable_weights if w.dtype.startswith("float")]
    return [weight for weight in floats if id(weight) not in kept]
