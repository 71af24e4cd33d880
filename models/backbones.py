"""Encoders: image -> features from 1/32 to 1/2 of its resolution."""

import keras
from keras import layers

TINY_FILTERS = (8, 16, 32, 64, 128)


def tiny_backbone():
    """Builds an encoder of five stride-2 convolutions with batch normalisation.

    0.1 million parameters, for tests and for rehearsing a configuration; it is no substitute
    for a real encoder.
    """
    image = keras.Input((None, None, 3), name="image")
    x, stages = image, []
    for stage, filters in enumerate(TINY_FILTERS, start=1):
        x = layers.Conv2D(
            filters, 3, strides=2, padding="same", use_bias=False, name=f"stage{stage}_conv"
        )(x)
        x = layers.BatchNormalization(name=f"stage{stage}_bn")(x)
        x = layers.ReLU(name=f"stage{stage}_relu")(x)
        stages.append(x)
    return keras.Model(image, stages[::-1], name="tiny")


def densenet121_backbone():
    """Builds DenseNet121 without its classifier, randomly initialised.

    Huang et al., "Densely Connected Convolutional Networks", CVPR 2017.
    """
    network = keras.applications.DenseNet121(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    names = ("relu", "pool4_relu", "pool3_relu", "pool2_relu", "conv1_relu")
    outputs = [network.get_layer(name).output for name in names]
    return keras.Model(network.input, outputs, name="densenet121")


BACKBONES = {"densenet121": densenet121_backbone, "tiny": tiny_backbone}


def make_backbone(name, batch_norm):
    """Builds the encoder called `name`.

    Args:
        name: str, a key of `BACKBONES`.
        batch_norm: `BatchNormOptions`.

    Returns:
        Keras model (batch, rows, columns, 3) -> list of features from coarse to fine, at 1/32,
        1/16, 1/8, 1/4 and 1/2 of the rows and columns.

    Raises:
        ValueError: if there is no encoder of that name.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone is {name!r}, but must be one of {', '.join(BACKBONES)}.")
    return batch_norm.apply(BACKBONES[name]())
