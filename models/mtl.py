"""Stage 1: the multi-task network that predicts height, classes and surface normals.

Elhousni, Zhang, Huang, "Height Prediction and Refinement from Aerial Images with Semantic and
Geometric Guidance", IEEE Access 2021 (DSMNet).
"""

from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
from keras import layers, ops

from models.backbones import make_backbone
from models.blocks import DecoderStyle
from models.normalisation import BatchNormOptions
from models.segments import segment

STAGE_FILTERS = (1024, 512, 256, 64, 32)  # of each decoder, from coarse to fine
# Outputs of deep supervision: heights at 1/16, 1/8, 1/4 and 1/2 of the resolution.
COARSE_HEIGHTS = tuple(f"heights_stage{stage}" for stage in (1, 2, 3, 4))
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB / 255
RESNET_MEAN = (103.939, 116.779, 123.68)  # of blue, green, red, 0-255
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class NetworkOptions:
    """What shapes the two networks; the defaults are the published ones.

    Attributes:
        backbone: a key of `models.backbones.BACKBONES`.
        decoder_width: factor on the decoders' filter counts.
        decoder_norm: "none", or "batch" = batch normalisation in the decoders and the DAE.
        decoder_skips: bool, True = the encoder's finer features go into every decoder too.
        dropout: share of features dropped after each decoder stage; 0 = off.
        seed: int, of the dropout.
        encoder_batch_norm: "train", or "frozen" = stored statistics during training too.
        batch_norm_momentum: of the moving averages; 0.99 needs hundreds of steps to be right.
        sync_batch_norm: bool, True = batch statistics over all replicas, False = of each one.
        input_normalisation: "zero_to_one" = RGB / 255, or "imagenet" = as the ImageNet weights of
            the backbone were trained.
        normal_coding: "unit" = linear head, or "published" = ReLU head for [0, 1].
        sar_mode: "none", or "fusion" = the image has radar as its fourth band, which a layer fuses
            with the photo before the encoder.
        deep_supervision: float, above 0 = heights are predicted at the height decoder's coarser
            stages, too (Lee et al., "Deeply-supervised nets", AISTATS 2015).
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

    @property
    def style(self):
        """The `DecoderStyle` of the decoders and the DAE."""
        batch_norm = BatchNormOptions(False, self.batch_norm_momentum, self.sync_batch_norm)
        return DecoderStyle(
            self.decoder_width, self.dropout, self.decoder_norm, batch_norm, self.seed
        )


def normalise_image(image, kind, backbone="densenet121"):
    """Brings an image of 0-255 into the range that the encoder was trained with.

    `keras.applications` trained DenseNet121 on RGB / 255 minus the mean over the deviation, and
    ResNet50 on BGR minus the mean.
    """
    if kind == "imagenet" and backbone == "resnet50":
        offsets = [-mean for mean in RESNET_MEAN]
        return layers.Rescaling(1.0, offsets, name="image_imagenet")(ops.flip(image, axis=-1))
    x = layers.Rescaling(1 / 255, name="image_zero_to_one")(image)
    if kind == "imagenet":
        offsets = [-m / d for m, d in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)]
        x = layers.Rescaling([1 / d for d in IMAGENET_DEVIATION], offsets, name="image_imagenet")(x)
    return x


def fuse_radar(photo, radar):
    """Fuses a radar image with the photo in one 3x3 convolution, as the published fork does.

    Untrained it passes the photo on and nothing of the radar, so that the encoder's pretrained
    weights see what they were trained with.

    Args:
        photo: Keras tensor (batch, rows, columns, 3), normalised.
        radar: Keras tensor (batch, rows, columns, 1) of 0-255.

    Returns:
        Keras tensor (batch, rows, columns, 3).
    """
    kernel = np.zeros((3, 3, 4, 3), "float32")
    kernel[1, 1, :3] = np.eye(3)
    x = layers.Concatenate(name="image_and_sar")(
        [photo, layers.Rescaling(1 / 255, name="sar_zero_to_one")(radar)]
    )
    start = keras.initializers.Constant(kernel)
    return layers.Conv2D(3, 3, padding="same", kernel_initializer=start, name="sar_fusion")(x)


def decoder(x, skips, guides, name, style):
    """Decodes features to full resolution in five stages, each a `models.segments.Segment`.

    Args:
        x: Keras tensor (batch, rows/32, columns/32, channels).
        skips: encoder features for the stages, coarse to fine; empty = the published network.
        guides: the other decoders' stage features, a list each, for the height decoder.
        name: "semantic", "normal" or "height", prefix of the layer names.
        style: `DecoderStyle`.

    Returns:
        (last features (batch, rows, columns, filters), list of the features of each stage
        before dropout).
    """
    stages = []
    for number, filters in enumerate(STAGE_FILTERS):
        prefix = f"{name}_stage{number + 1}"
        build = partial(decoder_stage, name=prefix, filters=filters, style=style)
        finer = [guide[number] for guide in guides]
        features = segment(prefix, build, x, skips[number : number + 1], finer)
        stages.append(features)
        x = style.drop(features, prefix)
    return x, stages


def decoder_stage(x, skip, guides, name, filters, style):
    """Doubles rows and columns, and adds what skip and guides know.

    Args:
        x: Keras tensor (batch, rows, columns, channels).
        skip: list of the encoder's features for this stage, one or none.
        guides: list of the other decoders' features of this stage; the height decoder, which
            has them, adds two 3x3 convolutions, the others one where there is a skip.
        name: str, prefix of the layer names, such as "height_stage1".
        filters: int, at width 1.
        style: `DecoderStyle`.

    Returns:
        Keras tensor (batch, 2 rows, 2 columns, filters).
    """
    x = style.upsample(x, filters, f"{name}_up")
    skip = [style.convolve(tensor, filters, f"{name}_skip", kernel_size=1) for tensor in skip]
    fused = [x, *guides, *skip]
    x = layers.Concatenate(name=f"{name}_fuse")(fused) if len(fused) > 1 else x
    for number in range(1, 1 + (2 if name.startswith("height") else len(skip))):
        x = style.convolve(x, filters, f"{name}_conv{number}")
    return x


def head(x, channels, name, activation=None):
    """Predicts `channels` values per pixel; float32 whatever the precision before it."""
    return layers.Conv2D(
        channels, 3, padding="same", activation=activation, dtype="float32", name=name
    )(x)


def build_mtl(options, class_count=0, normals=True, backbone_weights=None):
    """Builds the multi-task network.

    Args:
        options: `NetworkOptions`.
        class_count: int, semantic classes; 0 = no semantic decoder.
        normals: bool, False = no normal decoder.
        backbone_weights: of `models.backbones.pretrained_weights`; None = random.

    Returns:
        Keras model: image (batch, rows, columns, 3, or 4 with radar) of 0-255, rows and columns
        multiples of 32, -> dict of `heights` (..., 1) in metres, and where they are on `semantics`
        (..., class_count) logits, `normals` (..., 3) in the coding of the options, and
        `COARSE_HEIGHTS` in metres.
    """
    has_radar = options.sar_mode == "fusion"
    image = keras.Input((None, None, 4 if has_radar else 3), name="image")
    photo = image[..., :3] if has_radar else image
    x = normalise_image(photo, options.input_normalisation, options.backbone)
    x = fuse_radar(x, image[..., 3:]) if has_radar else x
    batch_norm = BatchNormOptions(
        options.encoder_batch_norm == "frozen",
        options.batch_norm_momentum,
        options.sync_batch_norm,
    )
    x, *skips = make_backbone(options.backbone, batch_norm, backbone_weights)(x)
    x = batch_norm.layer("encoder_bn")(x)
    style, skips = options.style, skips if options.decoder_skips else []
    outputs, guides = {}, []
    if class_count:
        features, stages = decoder(x, skips, [], "semantic", style)
        outputs["semantics"] = head(features, class_count, "semantics")
        guides.append(stages)
    if normals:
        features, stages = decoder(x, skips, [], "normal", style)
        activation = "relu" if options.normal_coding == "published" else None
        outputs["normals"] = head(features, 3, "normals", activation)
        guides.append(stages)
    features, stages = decoder(x, skips, guides, "height", style)
    outputs["heights"] = head(features, 1, "heights")
    if options.deep_supervision:
        outputs |= {name: head(stages[i], 1, name) for i, name in enumerate(COARSE_HEIGHTS)}
    return keras.Model(image, outputs, name="mtl")
