"""Four logical CPU devices, so that replica code runs on any machine, and a small data set."""

import os
import tarfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pytest
import tensorflow as tf

from tests.blocks import write_blocks

# Must be set before TensorFlow creates a device.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)


@pytest.fixture(autouse=True)
def float32_afterwards():
    """Takes back the precision that a script has set for the whole process."""
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def make_replicas():
    """Returns a function (count) -> strategy over that many CPU replicas."""

    def make(count):
        if count == 1:
            return tf.distribute.get_strategy()
        # Collectives of another size in one process need a fresh range of keys.
        tf.distribute.MirroredStrategy._collective_key_base += 100000
        return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])

    return make


@pytest.fixture(scope="session")
def blocks(tmp_path_factory):
    """Returns a folder that holds the data set "blocks": 4 train, 2 valid, 2 test tiles, 64 px."""
    folder = tmp_path_factory.mktemp("data")
    write_blocks(folder)
    return folder


@pytest.fixture(scope="session")
def autzen():
    """Returns the folder that holds the data set "autzen", or skips."""
    root = Path(os.environ.get("AUTZEN_DIR", Path(__file__).parents[2] / "shared" / "autzen"))
    if not (root / "dataset.toml").is_file():
        pytest.skip(f"the Autzen data is not at {root}; set AUTZEN_DIR to its folder")
    return root


# Stage 1 stopped after 2 of 4 steps, and stage 2 on top of it, on the data set "blocks".
WRITTEN = Path(__file__).parent / "runs" / "data" / "written_by_71a477f.tar.xz"


@pytest.fixture
def earlier_run(tmp_path, blocks):
    """Unpacks what commit 71a477f wrote into `tmp_path`; returns the arguments that name it."""
    with tarfile.open(WRITTEN) as archive:
        archive.extractall(tmp_path / "ck" / "blocks", filter="data")
    places = [f"--checkpoint_dir={tmp_path / 'ck'}", f"--output_dir={tmp_path / 'out'}"]
    return ["--dataset_name=blocks", f"--shortcut_path={blocks}", *places]
