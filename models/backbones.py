"""Encoders: image -> features from 1/32 to 1/2 of its resolution.

To add an encoder, write a function that builds it and enter it in `BACKBONES`.
"""

import contextlib
import socket
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
from keras import layers

from models.normalisation import BatchNormOptions
from models.segments import in_segments
from models.torch_weights import WeightsError, is_torch_file, load_torch_weights
from models.weight_files import check_tensors
from project.errors import first_line

TINY_FILTERS = (8, 16, 32, 64, 128)
TIMEOUT = 10  # seconds without an answer after which a download is given up


@dataclass(frozen=True)
class Backbone:
    """An encoder that the networks can be built with.

    Attributes:
        build: function (weights) -> Keras model: image (batch, rows, columns, 3) -> list of five
            features from coarse to fine, at 1/32, 1/16, 1/8, 1/4 and 1/2 of the rows and columns,
            each computed from the next finer one alone. It is made of Keras' own layers. `weights`
            is what `pretrained_weights` found; None = random.
        pretrained: whether there are ImageNet weights for it.
        bgr: whether these were trained on BGR minus its mean (as the original ResNet) instead of
            RGB, scaled to mean 0 and standard deviation 1.
    """

    build: Callable[[str | None], keras.Model]
    pretrained: bool = True
    bgr: bool = False


def keras_application(
    application: Callable[..., keras.Model], stages: Sequence[str], weights: str | None
) -> keras.Model:
    """Builds a network of `keras.applications` as an encoder, without its classifier.

    Args:
        application: such as `keras.applications.DenseNet121`.
        stages: names of the layers whose outputs are the features, from coarse to fine.
        weights: as in `pretrained_weights`; None = random.
    """
    torch_file = weights if is_torch_file(weights) else None
    network = application(
        include_top=False,
        weights=None if torch_file else weights,
        input_shape=(None, None, 3),
    )
    if torch_file:
        load_torch_weights(network, torch_file)
    outputs = [network.get_layer(name).output for name in stages]
    return keras.Model(network.input, outputs, name=network.name)


def tiny_backbone(weights: str | None = None) -> keras.Model:
    """Builds an encoder of five stride-2 convolutions with batch normalisation.

    It has 0.1 million parameters and is meant for tests, rehearsals and the demo. It does not
    replace a real encoder, and there are no pretrained weights for it.
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


# Name of each encoder, as in the setting `backbone`.
BACKBONES = {
    # Huang et al., "Densely Connected Convolutional Networks", CVPR 2017.
    "densenet121": Backbone(
        partial(
            keras_application,
            keras.applications.DenseNet121,
            ("relu", "pool4_relu", "pool3_relu", "pool2_relu", "conv1_relu"),
        )
    ),
    # He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    "resnet50": Backbone(
        partial(
            keras_application,
            keras.applications.ResNet50,
            (
                "conv5_block3_out",
                "conv4_block6_out",
                "conv3_block4_out",
                "conv2_block3_out",
                "conv1_relu",
            ),
        ),
        bgr=True,
    ),
    "tiny": Backbone(tiny_backbone, pretrained=False),
}


def make_backbone(
    name: str, batch_norm: BatchNormOptions, weights: str | None = None
) -> keras.Model:
    """Builds an encoder.

    Args:
        name: a key of `BACKBONES`.
        batch_norm: of all its batch normalisations.
        weights: of `pretrained_weights`; None = random.

    Returns:
        Keras model (batch, rows, columns, 3) -> list of features from coarse to fine, at 1/32,
        1/16, 1/8, 1/4 and 1/2 of the rows and columns; each of the five stages is a
        `models.segments.Segment`.

    Raises:
        ValueError: if there is no encoder of that name.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone is {name!r}, but must be one of {', '.join(BACKBONES)}.")
    return in_segments(batch_norm.apply(BACKBONES[name].build(weights)))


def fetched_weights(name: str) -> Path:
    """Returns where `python -m models.fetch_weights` puts the ImageNet weights of an encoder."""
    return Path("weights") / f"{name}_imagenet.weights.h5"


def pretrained_weights(name: str, source: str) -> tuple[str | None, str]:
    """Finds the weights with which an encoder starts.

    Args:
        name: a key of `BACKBONES`.
        source: "imagenet", "none", "auto" = imagenet if it is available, or a weight file: of
            Keras, or .safetensors in torch's key layout (densenet121 only).

    Returns:
        (`weights` for `make_backbone`, a description for the start banner).

    Raises:
        WeightsError: if `source` is "imagenet" or a file, and it is not available or does not fit.
    """
    if source == "none" or (source == "auto" and not BACKBONES[name].pretrained):
        return None, "random"
    try:
        weights = _find(name, source)
        with warnings.catch_warnings(action="ignore"), contextlib.ExitStack() as afterwards:
            # Keras warns once per layer if the file is of another network; the error says it once.
            afterwards.callback(socket.setdefaulttimeout, socket.getdefaulttimeout())
            socket.setdefaulttimeout(TIMEOUT)
            BACKBONES[name].build(weights)
        return weights, weights
    except Exception as error:  # Keras raises a bare Exception if a download fails
        reason = first_line(error).rstrip(".")
    if source == "auto":
        return None, f"RANDOM, because ImageNet weights are not available ({reason})"
    raise WeightsError(
        f"backbone_weights is {source}, but {name} cannot be given these weights: {reason}. "
        "Without internet access, see python -m models.fetch_weights, name a weight file, or set "
        "none."
    )


def _find(name, source):
    if not BACKBONES[name].pretrained:
        raise WeightsError(f"there are none for the {name} encoder")
    if source in ("imagenet", "auto"):
        fetched = fetched_weights(name)
        if not fetched.is_file():
            return "imagenet"
        source = str(fetched)
    if not Path(source).is_file():
        raise WeightsError(f"there is no file {source}")
    if not is_torch_file(source):
        # Keras would also read archives, and files that name further files.
        if Path(source).suffix not in (".h5", ".hdf5"):
            raise WeightsError(f"expected .h5 or .safetensors, but the file is {source}")
        check_tensors(Path(source))
    return source
