"""Stage 2: the denoising autoencoder that corrects the heights of stage 1.

Elhousni, Zhang, Huang, IEEE Access 2021 (DSMNet); the U-Net of Ronneberger et al., MICCAI 2015.
"""

from functools import partial

import keras
import tensorflow as tf
from keras import layers, ops

from models.blocks import NetworkOptions, convolve, drop
from models.segments import segment

LEVEL_FILTERS = (64, 128, 256, 512)
BOTTOM_FILTERS = 1024


def dae_input(image: tf.Tensor, outputs: dict[str, tf.Tensor]) -> tf.Tensor:
    """Stacks what stage 1 received and predicted as the input of stage 2.

    Args:
        image: (batch, rows, columns, 3 or 4) of 0-255; only the first three bands are used.
        outputs: of the MTL for it; `semantics` are logits.

    Returns:
        (batch, rows, columns, channels): heights in metres, class probabilities, normals,
        RGB / 255.
    """
    parts = [outputs["heights"]]
    if "semantics" in outputs:
        parts.append(ops.softmax(outputs["semantics"], axis=-1))
    if "normals" in outputs:
        parts.append(outputs["normals"])
    parts.append(ops.cast(image[..., :3], parts[0].dtype) / 255.0)
    return ops.concatenate(parts, axis=-1)


def dae_channels(class_count: int = 0, normals: bool = True) -> int:
    """Returns the channel count of `dae_input`."""
    return 1 + class_count + (3 if normals else 0) + 3


def double_convolution(
    x: keras.KerasTensor, filters: int, name: str, options: NetworkOptions
) -> keras.KerasTensor:
    """Applies two 3x3 convolutions with ReLU."""
    x = convolve(x, filters, f"{name}_conv1", options)
    return convolve(x, filters, f"{name}_conv2", options)


def down_level(
    x: keras.KerasTensor, filters: int, name: str, options: NetworkOptions
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Returns (features of a level of the U-Net, the same at half the resolution)."""
    x = double_convolution(x, filters, name, options)
    return x, layers.MaxPooling2D(name=f"{name}_pool")(x)


def up_level(
    x: keras.KerasTensor, level: keras.KerasTensor, filters: int, name: str, options: NetworkOptions
) -> keras.KerasTensor:
    """Returns the features of a level on the way up.

    Args:
        x: features of the level below.
        level: features of this level on the way down.
        filters: at width 1.
        name: prefix of the layer names.
        options: of the network.
    """
    x = layers.Conv2DTranspose(options.filters(filters), 2, strides=2, name=name)(x)
    x = layers.Concatenate(name=f"{name}_fuse")([level, x])
    return drop(double_convolution(x, filters, name, options), name, options)


def build_dae(channels: int, options: NetworkOptions, start: str = "random") -> keras.Model:
    """Builds the U-Net whose output is subtracted from the heights of stage 1.

    It is an ordinary Keras model, which can be used without the rest of the project:

        mtl, dae = build_mtl(options), build_dae(dae_channels(), options)
        outputs = mtl(image)
        heights = outputs["heights"] - dae(dae_input(image, outputs))

    Args:
        channels: see `dae_channels`.
        options: of the network.
        start: "random", or "zero" = the untrained network corrects nothing, so that stage 2
            starts no worse than stage 1 (Goyal et al., arXiv:1706.02677, of residual branches).

    Returns:
        Keras model: (batch, rows, columns, channels), rows and columns multiples of 16, ->
        correction (batch, rows, columns, 1), metres.
    """
    features = keras.Input((None, None, channels), name="features")
    x, levels = features, []

    def part(build, filters, name, *inputs):
        build = partial(build, filters=filters, name=name, options=options)
        return segment(f"{name}_level", build, *inputs)

    for number, filters in enumerate(LEVEL_FILTERS, start=1):
        level, x = part(down_level, filters, f"down{number}", x)
        levels.append(level)
    x = part(double_convolution, BOTTOM_FILTERS, "bottom", x)
    for number, filters in reversed(list(enumerate(LEVEL_FILTERS, start=1))):
        x = part(up_level, filters, f"up{number}", x, levels.pop())
    initializer = "zeros" if start == "zero" else "glorot_uniform"
    correction = layers.Conv2D(
        1, 3, padding="same", kernel_initializer=initializer, dtype="float32", name="correction"
    )(x)
    return keras.Model(features, correction, name="dae")
