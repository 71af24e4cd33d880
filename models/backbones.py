"""Encoders: image -> features at 1/32 of the resolution."""

import keras
from keras import layers

STRIDE = 32  # pixels of the image per feature pixel
TINY_FILTERS = (8, 16, 32, 64, 128)


@keras.saving.register_keras_serializable("dsmnet")
class StoredBatchNormalization(layers.BatchNormalization):
    """Batch normalisation on its stored statistics, whose gamma and beta are still trained.

    A class of its own, because a functional model passes `training=True` of the outer call to
    every layer, whatever the layer was called with.
    """

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)


def tiny_backbone():
    """Builds an encoder of five stride-2 convolutions with batch normalisation.

    0.1 million parameters, for tests and for rehearsing a configuration; it is no substitute
    for a real encoder.
    """
    image = keras.Input((None, None, 3), name="image")
    x = image
    for stage, filters in enumerate(TINY_FILTERS, start=1):
        x = layers.Conv2D(
            filters, 3, strides=2, padding="same", use_bias=False, name=f"stage{stage}_conv"
        )(x)
        x = layers.BatchNormalization(name=f"stage{stage}_bn")(x)
        x = layers.ReLU(name=f"stage{stage}_relu")(x)
    return keras.Model(image, x, name="tiny")


def densenet121_backbone():
    """Builds DenseNet121 without its classifier, randomly initialised.

    Huang et al., "Densely Connected Convolutional Networks", CVPR 2017.
    """
    return keras.applications.DenseNet121(
        include_top=False, weights=None, input_shape=(None, None, 3), name="densenet121"
    )


BACKBONES = {"densenet121": densenet121_backbone, "tiny": tiny_backbone}


def with_stored_statistics(model):
    """Returns a copy of `model` whose batch normalisation never uses the batch's statistics."""

    def clone(layer):
        if isinstance(layer, layers.BatchNormalization):
            return StoredBatchNormalization.from_config(layer.get_config())
        return layer.__class__.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def make_backbone(name, frozen_batch_norm=False):
    """Builds the encoder called `name`.

    Args:
        name: str, a key of `BACKBONES`.
        frozen_batch_norm: bool, True = normalise with the stored statistics in training too.

    Returns:
        Keras model (batch, rows, columns, 3) -> (batch, rows/32, columns/32, channels).

    Raises:
        ValueError: if there is no encoder of that name.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone is {name!r}, but must be one of {', '.join(BACKBONES)}.")
    backbone = BACKBONES[name]()
    return with_stored_statistics(backbone) if frozen_batch_norm else backbone
