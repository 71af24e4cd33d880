"""Batch normalisation as the networks need it."""

from dataclasses import dataclass

import keras
from keras import layers


@keras.saving.register_keras_serializable("dsmnet")
class StoredBatchNormalization(layers.BatchNormalization):
    """Batch normalisation on its stored statistics, whose gamma and beta are still trained.

    A class of its own, because a functional model passes `training=True` of the outer call to
    every layer, whatever the layer was called with.
    """

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)


@dataclass(frozen=True)
class BatchNormOptions:
    """How the encoder normalises.

    Attributes:
        frozen: bool, True = on the stored statistics in training too.
        momentum: of the moving averages.
    """

    frozen: bool = False
    momentum: float = 0.99

    def layer(self, name, **keywords):
        """Makes a batch normalisation layer."""
        kind = StoredBatchNormalization if self.frozen else layers.BatchNormalization
        return kind(name=name, **keywords | {"momentum": self.momentum})

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


def synchronise(model):
    """Makes every batch normalisation of a model, and of models in it, use all replicas' data."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            synchronise(layer)
        elif isinstance(layer, layers.BatchNormalization):
            layer.synchronized = True
