import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

from models.backbones import make_backbone, pretrained_weights
from models.normalisation import BatchNormOptions
from models.torch_weights import WeightsError, keras_paths, load_torch_weights, read_tensors
from tests.models.test_backbones import assert_coarse_to_fine


class TorchDenseNet121:
    """The network as torch defines it; it draws each tensor when it first needs it.

    torchvision/models/densenet.py: growth 32, bottleneck 4 * 32, 64 initial filters.
    """

    def __init__(self):
        self.generator, self.tensors = np.random.default_rng(0), {}

    def conv(self, x, key, filters, size, stride=1):
        shape = (filters, x.shape[-1], size, size)
        scale = np.sqrt(2 / np.prod(shape[1:]))  # keeps features O(1) through the ReLUs
        kernel = self.generator.normal(0, scale, shape).astype("float32")
        self.tensors[f"features.{key}.weight"] = kernel
        side = [size // 2] * 2
        padding = [[0, 0], side, side, [0, 0]]
        return tf.nn.conv2d(x, kernel.transpose(2, 3, 1, 0), stride, padding)

    def norm_relu(self, x, key):
        mean, beta = self.generator.normal(0, 0.2, (2, x.shape[-1])).astype("float32")
        variance, gamma = self.generator.uniform(0.5, 1.5, (2, x.shape[-1])).astype("float32")
        parts = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": variance}
        self.tensors |= {f"features.{key}.{part}": value for part, value in parts.items()}
        return tf.nn.relu((x - mean) / np.sqrt(variance + 1e-5) * gamma + beta)

    def layer(self, x, key):
        bottleneck = self.conv(self.norm_relu(x, f"{key}.norm1"), f"{key}.conv1", 128, 1)
        return self.conv(self.norm_relu(bottleneck, f"{key}.norm2"), f"{key}.conv2", 32, 3)

    def stages(self, image):
        stages = [self.norm_relu(self.conv(image, "conv0", 64, 7, stride=2), "norm0")]
        x = tf.nn.max_pool2d(stages[0], 3, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])
        for block, size in enumerate((6, 12, 24, 16), start=1):
            for number in range(1, size + 1):
                new = self.layer(x, f"denseblock{block}.denselayer{number}")
                x = tf.concat([x, new], -1)
            key = f"transition{block}" if block < 4 else None
            stages.append(self.norm_relu(x, f"{key}.norm" if key else "norm5"))
            if key:
                x = self.conv(stages[-1], f"{key}.conv", x.shape[-1] // 2, 1)
                x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
        return stages[::-1]


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(1).normal(0, 1, (1, 64, 64, 3)).astype("float32")


@pytest.fixture(scope="module")
def torch_network(image):
    """Returns (tensors under torch's keys, the five stages that they give the image)."""
    network = TorchDenseNet121()
    stages = network.stages(image)
    return network.tensors, stages


@pytest.fixture
def tensors(torch_network):
    return dict(torch_network[0])


@pytest.fixture(scope="module")
def encoder(torch_network, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("weights") / "d.safetensors")
    extra = {
        "classifier.weight": np.zeros((1000, 1024), "float32"),
        "features.norm0.num_batches_tracked": np.array(7),
    }
    save_file(torch_network[0] | extra, path)
    return make_backbone("densenet121", BatchNormOptions(), path)


def test_stages_equal_those_of_the_torch_definition(encoder, torch_network, image):
    for found, expected in zip(encoder(image), torch_network[1], strict=True):
        assert 0.1 < np.std(expected) < 10
        # Variances are at least 0.5, so the epsilons (1e-5, 1.001e-5) differ by 1e-8 in effect
        # and what remains is float32 rounding over 121 layers.
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_features_of_densenet121_go_from_coarse_to_fine(encoder):
    assert_coarse_to_fine(encoder)


def test_keys_are_those_of_the_torch_definition(tensors):
    assert keras_paths().keys() == tensors.keys()


def test_old_spelling_gives_the_same_weights(tensors, tmp_path):
    old = {}
    for key, value in tensors.items():
        for module in ("norm1", "norm2", "conv1", "conv2"):
            key = key.replace(f".{module}.", f".{module[:4]}.{module[4]}.")
        old[key] = value
    assert "features.denseblock4.denselayer16.norm.2.running_var" in old
    assert "features.norm0.weight" in old
    save_file(old, tmp_path / "old.safetensors")
    found = read_tensors(tmp_path / "old.safetensors")
    assert found.keys() == tensors.keys()
    for key, value in tensors.items():
        np.testing.assert_array_equal(found[key], value)


def test_missing_tensor_is_named(encoder, tensors, tmp_path):
    del tensors["features.transition2.conv.weight"]
    save_file(tensors, tmp_path / "d.safetensors")
    message = r"expected features.transition2.conv.weight of shape \(256, 512, 1, 1\).*not hold it"
    with pytest.raises(WeightsError, match=message):
        load_torch_weights(encoder, tmp_path / "d.safetensors")


def test_wrong_shape_is_reported_in_the_order_of_torch(encoder, tensors, tmp_path):
    tensors["features.conv0.weight"] = np.zeros((64, 4, 7, 7), "float32")
    save_file(tensors, tmp_path / "d.safetensors")
    with pytest.raises(WeightsError, match=r"\(64, 3, 7, 7\), but the file has it as \(64, 4, 7"):
        load_torch_weights(encoder, tmp_path / "d.safetensors")


def test_tensor_of_another_network_is_named(encoder, tensors, tmp_path):
    tensors["features.denseblock3.denselayer25.norm1.weight"] = np.zeros(1, "float32")
    save_file(tensors, tmp_path / "d.safetensors")
    message = r"denseblock3.denselayer25.norm1.weight \(1 unknown.*only the keys of torchvision"
    with pytest.raises(WeightsError, match=message):
        load_torch_weights(encoder, tmp_path / "d.safetensors")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_pickle_is_refused_with_the_command_that_converts_it(encoder, suffix):
    message = rf"python -c .*torch.load\('a/d{suffix}',.*'a/d.safetensors'\)\"$"
    with pytest.raises(WeightsError, match=message):
        load_torch_weights(encoder, f"a/d{suffix}")


def test_damaged_file_is_reported(encoder, tensors, tmp_path):
    path = tmp_path / "d.safetensors"
    save_file(tensors, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="not a complete safetensors file.*Download"):
        load_torch_weights(encoder, path)


def test_resnet50_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "r.safetensors"
    save_file({"conv1.weight": np.zeros(1, "float32")}, path)
    message = "resnet50 cannot be given these weights.*strides in the 3x3.*Keras weight file. Witho"
    with pytest.raises(WeightsError, match=message):
        pretrained_weights("resnet50", str(path))
