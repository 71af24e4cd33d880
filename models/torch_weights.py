"""Encoder weights in torch's key layout, as torchvision and timm write DenseNet121."""

import re
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from project.errors import UserError

BLOCKS = (6, 12, 24, 16)  # layers in each dense block of DenseNet121
# The parts of such a layer: torch's modules, and how the names of Keras' layers end.
DENSE_LAYER = {"norm1": "0_bn", "conv1": "1_conv", "norm2": "1_bn", "conv2": "2_conv"}
CONV = {"weight": "kernel"}
NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
PICKLES = (".pth", ".pt", ".bin")
CONVERT = (
    "import torch, safetensors.torch as s; "
    "s.save_file(torch.load({!r}, map_location='cpu', weights_only=True), {!r})"
)


class WeightsError(UserError):
    """Pretrained weights are not available, or do not fit."""


def is_torch_file(weights: str | None) -> bool:
    """Returns whether an encoder's `weights` are, by their suffix, a file that torch writes."""
    return Path(weights or "").suffix in (".safetensors", *PICKLES)


def load_torch_weights(model: keras.Model, path: str | Path) -> None:
    """Gives an encoder the weights of a file in torch's key layout.

    The epsilon of batch normalisation is 1e-5 in torch and 1.001e-5 in Keras. Compared with torch,
    this scales features of variance v by 1 - 5e-9 / (v + 1e-5), which is at least 0.9995.

    Args:
        model: Keras' DenseNet121, with any choice of outputs.
        path: of a safetensors file.

    Raises:
        WeightsError: if `model` is another network, or the file cannot be read, lacks a tensor of
            the encoder, has one in another shape, or has one that the encoder lacks.
    """
    if model.name != "densenet121":
        raise WeightsError(
            "files in torch's key layout are supported for densenet121 only. Torch's ResNet50 "
            "strides in the 3x3 convolution, Keras' in the 1x1 before it, so that the same weights "
            "would compute something else. Name a Keras weight file."
        )
    tensors, paths = read_tensors(path), keras_paths()
    if unknown := sorted(tensors.keys() - paths.keys()):
        raise WeightsError(
            f"the file holds {unknown[0]} ({len(unknown)} unknown keys in all), expected only the "
            "keys of torchvision's densenet121. Save the encoder's own state_dict."
        )
    variables = {variable.path: variable for variable in model.weights}
    for key, variable_path in paths.items():
        variable = variables[variable_path]
        variable.assign(_keras_order(key, tensors.get(key), tuple(variable.shape)))


def keras_paths() -> dict[str, str]:
    """Maps torch's keys of DenseNet121 to variable paths of Keras' DenseNet121.

    Returns:
        The paths of all tensors but the classifier's, such as
        {"features.denseblock1.denselayer2.conv1.weight": "conv2_block2_1_conv/kernel"}.
    """
    return {
        f"features.{module}.{key}": f"{layer}/{variable}"
        for module, layer in _layers()
        for key, variable in (NORM if layer.endswith("bn") else CONV).items()
    }


def _layers() -> Iterator[tuple[str, str]]:
    """Yields (torch's module below `features`, Keras' layer)."""
    yield from (("conv0", "conv1_conv"), ("norm0", "conv1_bn"), ("norm5", "bn"))
    for block, size in enumerate(BLOCKS, start=1):
        for number in range(1, size + 1):
            for part, layer in DENSE_LAYER.items():
                module = f"denseblock{block}.denselayer{number}.{part}"
                yield module, f"conv{block + 1}_block{number}_{layer}"
    for block in range(1, len(BLOCKS)):
        yield f"transition{block}.norm", f"pool{block + 1}_bn"
        yield f"transition{block}.conv", f"pool{block + 1}_conv"


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of an encoder, without those of the classifier and counts of batches.

    Torchvision's old spelling of the keys (norm.1 for norm1, conv.2 for conv2) is translated.

    Returns:
        Array of each of torch's keys; convolution kernels are (filters, channels, rows, columns).

    Raises:
        WeightsError: if the file cannot be read, or is a pickle.
    """
    path = Path(path)
    if path.suffix in PICKLES:
        code = CONVERT.format(str(path), str(path.with_suffix(".safetensors")))
        raise WeightsError(
            f"this is a {path.suffix} file, expected .safetensors. Convert it on a machine with "
            f'torch and safetensors: python -c "{code}"'
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"this is not a complete safetensors file ({error}). Download or convert it again."
        ) from None
    return {
        re.sub(r"\.(norm|conv)\.([12])\.", r".\1\2.", key): value
        for key, value in tensors.items()
        if not key.startswith("classifier.") and not key.endswith(".num_batches_tracked")
    }


def _keras_order(key, value, shape):
    """Returns the tensor in Keras' order of axes; in this order it must have `shape`."""
    # A kernel is (filters, channels, rows, columns) in torch, (rows, columns, channels, filters)
    # in Keras.
    kernel = len(shape) == 4
    expected = tuple(shape[axis] for axis in (3, 2, 0, 1)) if kernel else shape
    if value is None or value.shape != expected:
        received = "does not hold it" if value is None else f"has it as {value.shape}"
        raise WeightsError(
            f"expected {key} of shape {expected}, but the file {received}. "
            "Save the state_dict of an unmodified densenet121."
        )
    return np.transpose(value, (2, 3, 1, 0)) if kernel else value
