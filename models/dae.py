"""Stage 2: the denoising autoencoder that corrects the height of stage 1.

Elhousni, Zhang, Huang, IEEE Access 2021 (DSMNet); the U-Net of Ronneberger et al., MICCAI 2015.
"""

import keras
from keras import layers, ops

LEVEL_FILTERS = (64, 128, 256, 512)
BOTTOM_FILTERS = 1024


def dae_input(image, outputs):
    """Stacks what stage 1 saw and predicted as the input of stage 2.

    Args:
        image: tensor (batch, rows, columns, 3) of 0-255.
        outputs: dict of the MTL's outputs for it; `semantics` are logits.

    Returns:
        Tensor (batch, rows, columns, channels): heights in metres, class probabilities,
        normals, RGB / 255.
    """
    parts = [outputs["heights"]]
    if "semantics" in outputs:
        parts.append(ops.softmax(outputs["semantics"], axis=-1))
    if "normals" in outputs:
        parts.append(outputs["normals"])
    parts.append(ops.cast(image, parts[0].dtype) / 255.0)
    return ops.concatenate(parts, axis=-1)


def dae_channels(class_count=0, normals=True):
    """Returns the channel count of `dae_input`."""
    return 1 + class_count + (3 if normals else 0) + 3


def double_convolution(x, style, filters, name):
    """Applies two 3x3 convolutions with ReLU."""
    return style.convolve(style.convolve(x, filters, f"{name}_conv1"), filters, f"{name}_conv2")


def build_dae(channels, style, start="random"):
    """Builds the U-Net whose output is subtracted from the height of stage 1.

    Args:
        channels: int, see `dae_channels`.
        style: `models.blocks.DecoderStyle`.
        start: "random", or "zero" = the untrained network corrects nothing, so that stage 2
            begins no worse than stage 1 (Goyal et al., arXiv:1706.02677, of residual branches).

    Returns:
        Keras model: (batch, rows, columns, channels), rows and columns multiples of 16, ->
        correction (batch, rows, columns, 1), metres.
    """
    features = keras.Input((None, None, channels), name="features")
    x, levels = features, []
    for level, filters in enumerate(LEVEL_FILTERS, start=1):
        x = double_convolution(x, style, filters, f"down{level}")
        levels.append(x)
        x = layers.MaxPooling2D(name=f"down{level}_pool")(x)
    x = double_convolution(x, style, BOTTOM_FILTERS, "bottom")
    for level in range(len(LEVEL_FILTERS), 0, -1):
        filters = LEVEL_FILTERS[level - 1]
        x = layers.Conv2DTranspose(style.filters(filters), 2, strides=2, name=f"up{level}")(x)
        x = layers.Concatenate(name=f"up{level}_fuse")([levels[level - 1], x])
        x = double_convolution(x, style, filters, f"up{level}")
        x = style.drop(x, f"up{level}")
    first = "zeros" if start == "zero" else "glorot_uniform"
    correction = layers.Conv2D(
        1, 3, padding="same", kernel_initializer=first, dtype="float32", name="correction"
    )(x)
    return keras.Model(features, correction, name="dae")
