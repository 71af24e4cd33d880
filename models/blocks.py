"""The options of the two networks, and the building blocks that these share."""

from dataclasses import dataclass

import keras
from keras import layers

from models.dropout import SampleDropout
from models.normalisation import BatchNormOptions


@dataclass(frozen=True)
class NetworkOptions:
    """What shapes the two networks; the defaults are the published ones.

    Attributes:
        backbone: a key of `models.backbones.BACKBONES`.
        decoder_width: factor on the filter counts of the decoders and the DAE.
        decoder_norm: "none", or "batch" = batch normalisation in the decoders and the DAE.
        decoder_skips: True = the encoder's finer features go into every decoder, too.
        dropout: share of features dropped after each stage of the decoders and the DAE; 0 = off.
        seed: of the dropout.
        encoder_batch_norm: "train", or "frozen" = use the stored statistics in training, too.
        batch_norm_momentum: of the moving statistics. They need some hundred steps to become right
            at 0.99, so that short fine-tuning needs less.
        sync_batch_norm: True = batch statistics over all replicas, False = of each replica.
        input_normalisation: "zero_to_one" = RGB / 255, or "imagenet" = as the ImageNet weights of
            the backbone were trained.
        normal_coding: "unit" = linear head, or "published" = ReLU head for [0, 1].
        sar_mode: "none", or "fusion" = the image has radar as its fourth band, which a layer fuses
            with the photo before the encoder.
        deep_supervision: above 0 = also predict heights at the height decoder's coarser stages
            (Lee et al., "Deeply-supervised nets", AISTATS 2015).
    """

    backbone: str = "densenet121"
    decoder_width: float = 1.0
    decoder_norm: str = "none"
    decoder_skips: bool = False
    dropout: float = 0.5
    seed: int = 0
    encoder_batch_norm: str = "train"
    batch_norm_momentum: float = 0.99
    sync_batch_norm: bool = False
    input_normalisation: str = "zero_to_one"
    normal_coding: str = "unit"
    sar_mode: str = "none"
    deep_supervision: float = 0.0

    def batch_norm(self, frozen: bool = False) -> BatchNormOptions:
        """Returns the options of the batch normalisation layers."""
        return BatchNormOptions(frozen, self.batch_norm_momentum, self.sync_batch_norm)

    def filters(self, published: int) -> int:
        """Returns the filter count of a layer that has `published` at width 1; at least 4."""
        return max(4, round(published * self.decoder_width))


def drop(x: keras.KerasTensor, name: str, options: NetworkOptions) -> keras.KerasTensor:
    """Applies dropout; at rate 0 the layer stays, so that weight files list the same layers."""
    return SampleDropout(options.dropout, options.seed, name=f"{name}_dropout")(x)


def convolve(
    x: keras.KerasTensor,
    published: int,
    name: str,
    options: NetworkOptions,
    kind: type[layers.Layer] = layers.Conv2D,
    **keywords: int,
) -> keras.KerasTensor:
    """Applies a 3x3 convolution, batch normalisation where it is on, and ReLU.

    Args:
        x: (batch, rows, columns, channels).
        published: filters at width 1.
        name: of the layer.
        options: of the network.
        kind: of the layer; `layers.Conv2DTranspose` with `strides=2` doubles rows and columns.
        keywords: for the layer, such as another `kernel_size`.

    Returns:
        (batch, rows, columns, filters).
    """
    filters, normalised = options.filters(published), options.decoder_norm == "batch"
    keywords = {"kernel_size": 3} | keywords
    # Batch normalisation subtracts the mean, and with it any bias; its beta takes the bias' place.
    x = kind(filters, padding="same", use_bias=not normalised, name=name, **keywords)(x)
    if normalised:
        x = options.batch_norm().layer(f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
