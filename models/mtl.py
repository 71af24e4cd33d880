"""Stage 1: the multi-task network that predicts height, classes and surface normals.

Elhousni, Zhang, Huang, "Height Prediction and Refinement from Aerial Images with Semantic and
Geometric Guidance", IEEE Access 2021 (DSMNet).
"""

from dataclasses import dataclass

import keras
from keras import layers

from models.backbones import StoredBatchNormalization, make_backbone
from models.blocks import convolutions, scaled_filters, upsample

STAGE_FILTERS = (1024, 512, 256, 64, 32)  # of each decoder, from coarse to fine
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB / 255
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class NetworkOptions:
    """What shapes the two networks; the defaults are the published ones.

    Attributes:
        backbone: a key of `models.backbones.BACKBONES`.
        decoder_width: factor on the decoders' filter counts.
        dropout: share of features dropped after each decoder stage; 0 = off.
        encoder_batch_norm: "train", or "frozen" = stored statistics during training too.
        input_normalisation: "zero_to_one" = RGB / 255, or "imagenet" = also minus the mean and
            over the deviation of ImageNet.
        normal_coding: "unit" = linear head, or "published" = ReLU head for [0, 1].
    """

    backbone: str = "densenet121"
    decoder_width: float = 1.0
    dropout: float = 0.5
    encoder_batch_norm: str = "train"
    input_normalisation: str = "zero_to_one"
    normal_coding: str = "unit"


def normalise_image(image, kind):
    """Brings an image of 0-255 into the range that the encoder was trained with."""
    x = layers.Rescaling(1 / 255, name="image_zero_to_one")(image)
    if kind == "imagenet":
        offsets = [-m / d for m, d in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)]
        x = layers.Rescaling([1 / d for d in IMAGENET_DEVIATION], offsets, name="image_imagenet")(x)
    return x


def decoder(x, name, options, guides=()):
    """Decodes features to full resolution in five stages.

    Args:
        x: Keras tensor (batch, rows/32, columns/32, channels).
        name: str, prefix of the layer names.
        options: `NetworkOptions`.
        guides: lists of the other decoders' stage features; where there are any, each stage
            fuses them with two 3x3 convolutions.

    Returns:
        (last features (batch, rows, columns, filters), list of the features of each stage
        before dropout).
    """
    stages = []
    for stage, filters in enumerate(STAGE_FILTERS, start=1):
        filters = scaled_filters(filters, options.decoder_width)
        prefix = f"{name}_stage{stage}"
        x = upsample(x, filters, f"{prefix}_up")
        if guides is not None:
            fused = [x, *(guide[stage - 1] for guide in guides)]
            x = layers.Concatenate(name=f"{prefix}_fuse")(fused) if guides else x
            x = convolutions(x, filters, prefix)
        stages.append(x)
        if options.dropout:
            x = layers.Dropout(options.dropout, name=f"{prefix}_dropout")(x)
    return x, stages


def head(x, channels, name, activation=None):
    """Predicts `channels` values per pixel; float32 whatever the precision before it."""
    return layers.Conv2D(
        channels, 3, padding="same", activation=activation, dtype="float32", name=name
    )(x)


def build_mtl(options, class_count=0, normals=True):
    """Builds the multi-task network.

    Args:
        options: `NetworkOptions`.
        class_count: int, semantic classes; 0 = no semantic decoder.
        normals: bool, False = no normal decoder.

    Returns:
        Keras model: image (batch, rows, columns, 3) of 0-255, rows and columns multiples of 32,
        -> dict of `heights` (..., 1) in metres, and where they are on `semantics`
        (..., class_count) logits and `normals` (..., 3) in the coding of the options.
    """
    image = keras.Input((None, None, 3), name="image")
    x = normalise_image(image, options.input_normalisation)
    frozen = options.encoder_batch_norm == "frozen"
    x = make_backbone(options.backbone, frozen)(x)
    make_batch_norm = StoredBatchNormalization if frozen else layers.BatchNormalization
    x = make_batch_norm(name="encoder_bn")(x)
    outputs, guides = {}, []
    if class_count:
        features, stages = decoder(x, "semantic", options, guides=None)
        outputs["semantics"] = head(features, class_count, "semantics")
        guides.append(stages)
    if normals:
        features, stages = decoder(x, "normal", options, guides=None)
        activation = "relu" if options.normal_coding == "published" else None
        outputs["normals"] = head(features, 3, "normals", activation)
        guides.append(stages)
    features, _ = decoder(x, "height", options, guides)
    outputs["heights"] = head(features, 1, "heights")
    return keras.Model(image, outputs, name="mtl")
