"""Encoders: image -> features from 1/32 to 1/2 of its resolution."""

import contextlib
import socket
import warnings
from pathlib import Path

import keras
from keras import layers

from models.segments import in_segments
from models.torch_weights import WeightsError, is_torch_file, load_torch_weights
from project.errors import first_line

TINY_FILTERS = (8, 16, 32, 64, 128)
TIMEOUT = 10  # seconds without an answer after which a download is given up


def tiny_backbone(weights=None):
    """Builds an encoder of five stride-2 convolutions with batch normalisation.

    0.1 million parameters, for tests, rehearsals and the demo; it is no substitute for a real
    encoder, and there are no pretrained weights for it.
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


def densenet121_backbone(weights=None):
    """Builds DenseNet121 without its classifier.

    Huang et al., "Densely Connected Convolutional Networks", CVPR 2017.
    """
    network = without_classifier(keras.applications.DenseNet121, weights)
    names = ("relu", "pool4_relu", "pool3_relu", "pool2_relu", "conv1_relu")
    return stages_of(network, names, "densenet121")


def resnet50_backbone(weights=None):
    """Builds ResNet50 without its classifier.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    """
    network = without_classifier(keras.applications.ResNet50, weights)
    blocks = ("conv5_block3", "conv4_block6", "conv3_block4", "conv2_block3")
    return stages_of(network, (*(f"{block}_out" for block in blocks), "conv1_relu"), "resnet50")


def without_classifier(build, weights):
    """Builds a network of `keras.applications` without its classifier, with these weights."""
    in_torch_layout = is_torch_file(weights)
    network = build(
        include_top=False,
        weights=None if in_torch_layout else weights,
        input_shape=(None, None, 3),
    )
    if in_torch_layout:
        load_torch_weights(network, weights)
    return network


def stages_of(network, names, name):
    """Returns the model whose outputs are the named layers of `network`."""
    outputs = [network.get_layer(layer).output for layer in names]
    return keras.Model(network.input, outputs, name=name)


BACKBONES = {
    "densenet121": densenet121_backbone,
    "resnet50": resnet50_backbone,
    "tiny": tiny_backbone,
}


def fetched_weights(name):
    """Returns where `python -m models.fetch_weights` puts the ImageNet weights of an encoder."""
    return Path("weights") / f"{name}_imagenet.weights.h5"


def pretrained_weights(name, source):
    """Finds the weights with which an encoder begins.

    Args:
        name: a key of `BACKBONES`.
        source: "imagenet", "none", "auto" = imagenet if it can be had, or a weight file: of
            Keras, or .safetensors in torch's key layout (densenet121 only).

    Returns:
        (what `make_backbone` takes as `weights`, str for the start banner).

    Raises:
        WeightsError: if `source` is "imagenet" or a file, and it cannot be had.
    """
    if source == "none" or (name == "tiny" and source == "auto"):
        return None, "random"
    try:
        path = _find(name, source)
        with _timeout(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one a layer, where the file is of another network
            BACKBONES[name](path)
        return path, str(path)
    except Exception as error:  # Keras raises bare Exception where a download fails
        reason = first_line(error).rstrip(".")
    if source == "auto":
        return None, f"RANDOM, since ImageNet weights cannot be had ({reason})"
    raise WeightsError(
        f"backbone_weights is {source}, but {name} cannot be given these weights: {reason}. "
        "Without internet see python -m models.fetch_weights, name a weight file, or set none."
    )


def _find(name, source):
    if name == "tiny":
        raise WeightsError("there are none for the tiny encoder")
    if source in ("imagenet", "auto"):
        return str(fetched_weights(name)) if fetched_weights(name).is_file() else "imagenet"
    if not Path(source).is_file():
        raise WeightsError(f"there is no file {source}")
    return source


@contextlib.contextmanager
def _timeout():
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def make_backbone(name, batch_norm, weights=None):
    """Builds the encoder called `name`.

    Args:
        name: str, a key of `BACKBONES`.
        batch_norm: `models.normalisation.BatchNormOptions`.
        weights: None = random, "imagenet", or the path of a weight file as in
            `pretrained_weights`.

    Returns:
        Keras model (batch, rows, columns, 3) -> list of features from coarse to fine, at 1/32,
        1/16, 1/8, 1/4 and 1/2 of the rows and columns; each of the five stages is a
        `models.segments.Segment`.

    Raises:
        ValueError: if there is no encoder of that name.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone is {name!r}, but must be one of {', '.join(BACKBONES)}.")
    return in_segments(batch_norm.apply(BACKBONES[name](weights)))
