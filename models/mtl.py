"""Stage 1: the multi-task network that predicts height, classes and surface normals.

Elhousni, Zhang, Huang, "Height Prediction and Refinement from Aerial Images with Semantic and
Geometric Guidance", IEEE Access 2021 (DSMNet).
"""

from functools import partial

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from models.backbones import BACKBONES, make_backbone
from models.blocks import NetworkOptions, convolve, drop
from models.segments import segment

STAGE_FILTERS = (1024, 512, 256, 64, 32)  # of each decoder, from coarse to fine
# Outputs of deep supervision: heights at 1/16, 1/8, 1/4 and 1/2 of the resolution.
COARSE_HEIGHTS = tuple(f"heights_stage{stage}" for stage in (1, 2, 3, 4))
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB / 255
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
IMAGENET_BGR_MEAN = (103.939, 116.779, 123.68)  # of 0-255


def normalise_image(
    image: tf.Tensor | keras.KerasTensor, kind: str, backbone: str = "densenet121"
) -> tf.Tensor | keras.KerasTensor:
    """Scales an image of 0-255 to the range that the encoder was trained with.

    Args:
        image: (batch, rows, columns, 3), RGB.
        kind: see `NetworkOptions.input_normalisation`.
        backbone: a key of `models.backbones.BACKBONES`.
    """
    if kind == "imagenet" and BACKBONES[backbone].bgr:
        offsets = [-mean for mean in IMAGENET_BGR_MEAN]
        return layers.Rescaling(1.0, offsets, name="image_imagenet")(ops.flip(image, axis=-1))
    x = layers.Rescaling(1 / 255, name="image_zero_to_one")(image)
    if kind == "imagenet":
        offsets = [-m / d for m, d in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)]
        x = layers.Rescaling([1 / d for d in IMAGENET_DEVIATION], offsets, name="image_imagenet")(x)
    return x


def fuse_radar(photo: keras.KerasTensor, radar: keras.KerasTensor) -> keras.KerasTensor:
    """Fuses a radar image with the photo in one 3x3 convolution, as the published fork does.

    Before training, it passes the photo through unchanged and ignores the radar, so that the
    encoder's pretrained weights receive what they were trained with.

    Args:
        photo: (batch, rows, columns, 3), normalised.
        radar: (batch, rows, columns, 1) of 0-255.

    Returns:
        (batch, rows, columns, 3).
    """
    kernel = np.zeros((3, 3, 4, 3), "float32")
    kernel[1, 1, :3] = np.eye(3)
    x = layers.Concatenate(name="image_and_sar")(
        [photo, layers.Rescaling(1 / 255, name="sar_zero_to_one")(radar)]
    )
    start = keras.initializers.Constant(kernel)
    return layers.Conv2D(3, 3, padding="same", kernel_initializer=start, name="sar_fusion")(x)


def decoder(
    x: keras.KerasTensor,
    skips: list[keras.KerasTensor],
    guides: list[list[keras.KerasTensor]],
    name: str,
    options: NetworkOptions,
    convolutions: int = 0,
) -> tuple[keras.KerasTensor, list[keras.KerasTensor]]:
    """Decodes features to full resolution in five stages, each a `models.segments.Segment`.

    Args:
        x: (batch, rows/32, columns/32, channels).
        skips: encoder features for the stages, coarse to fine; empty = the published network.
        guides: other decoders' stage features, a list per decoder.
        name: prefix of the layer names.
        options: of the network.
        convolutions: see `decoder_stage`.

    Returns:
        (last features (batch, rows, columns, filters), list of the features of each stage
        before dropout).
    """
    stages = []
    for number, filters in enumerate(STAGE_FILTERS):
        prefix = f"{name}_stage{number + 1}"
        build = partial(
            decoder_stage, name=prefix, filters=filters, options=options, convolutions=convolutions
        )
        finer = [guide[number] for guide in guides]
        features = segment(prefix, build, x, skips[number : number + 1], finer)
        stages.append(features)
        x = drop(features, prefix, options)
    return x, stages


def decoder_stage(
    x: keras.KerasTensor,
    skip: list[keras.KerasTensor],
    guides: list[keras.KerasTensor],
    name: str,
    filters: int,
    options: NetworkOptions,
    convolutions: int,
) -> keras.KerasTensor:
    """Doubles rows and columns, and fuses the result with skip and guides.

    Args:
        x: (batch, rows, columns, channels).
        skip: list of the encoder's features for this stage, one or none.
        guides: list of the other decoders' features of this stage.
        name: prefix of the layer names, such as "height_stage1".
        filters: int, at width 1.
        options: of the network.
        convolutions: int, 3x3 convolutions that follow; where there is a skip, at least one.

    Returns:
        Keras tensor (batch, 2 rows, 2 columns, filters).
    """
    x = convolve(x, filters, f"{name}_up", options, layers.Conv2DTranspose, strides=2)
    skip = [convolve(tensor, filters, f"{name}_skip", options, kernel_size=1) for tensor in skip]
    fused = [x, *guides, *skip]
    x = layers.Concatenate(name=f"{name}_fuse")(fused) if len(fused) > 1 else x
    for number in range(1, 1 + max(convolutions, len(skip))):
        x = convolve(x, filters, f"{name}_conv{number}", options)
    return x


def head(
    x: keras.KerasTensor, channels: int, name: str, activation: str | None = None
) -> keras.KerasTensor:
    """Predicts `channels` values per pixel, in float32 whatever the precision before it."""
    return layers.Conv2D(
        channels, 3, padding="same", activation=activation, dtype="float32", name=name
    )(x)


def decoder_heads(
    options: NetworkOptions, class_count: int, normals: bool
) -> list[tuple[str, str, int, str | None]]:
    """Lists the decoders beside that of the heights, which all of them guide.

    Returns:
        For each its name, the name of its output, the channels, and the activation of its head.
    """
    activation = "relu" if options.normal_coding == "published" else None
    heads = [
        ("semantic", "semantics", class_count, None),
        ("normal", "normals", 3 if normals else 0, activation),
    ]
    return [row for row in heads if row[2]]


def build_mtl(
    options: NetworkOptions,
    class_count: int = 0,
    normals: bool = True,
    backbone_weights: str | None = None,
) -> keras.Model:
    """Builds the multi-task network.

    It is an ordinary Keras model, which can be used without the rest of the project:

        mtl = build_mtl(NetworkOptions(dropout=0.0), normals=False)
        mtl.compile("adam", loss={"heights": "mse"})
        mtl.fit(images, {"heights": heights})

    With dropout, call it within `models.dropout.samples_from` in training.

    Args:
        options: of the network.
        class_count: semantic classes; 0 = no semantic decoder.
        normals: False = no normal decoder.
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
    batch_norm = options.batch_norm(frozen=options.encoder_batch_norm == "frozen")
    x, *skips = make_backbone(options.backbone, batch_norm, backbone_weights)(x)
    x = batch_norm.layer("encoder_bn")(x)
    skips = skips if options.decoder_skips else []
    outputs, guides = {}, []
    for name, output, channels, activation in decoder_heads(options, class_count, normals):
        features, stages = decoder(x, skips, [], name, options)
        outputs[output] = head(features, channels, output, activation)
        guides.append(stages)
    features, stages = decoder(x, skips, guides, "height", options, convolutions=2)
    outputs["heights"] = head(features, 1, "heights")
    if options.deep_supervision:
        outputs |= {name: head(stages[i], 1, name) for i, name in enumerate(COARSE_HEIGHTS)}
    return keras.Model(image, outputs, name="mtl")
