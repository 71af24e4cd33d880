"""Four logical CPU devices, so that replica code runs on any machine, and a small data set."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest
import tensorflow as tf

from datasets.rasters.grids import projection_wkt
from datasets.rasters.reading import Grid
from datasets.rasters.writing import write_raster

# Must be set before TensorFlow creates a device.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)

RECORD = """
gsd = 0.5
crop_size = 32
batch_size = 2
building_code = 6
ignore_codes = [65]
classes = [{code = 2, name = "ground"}, {code = 6, name = "building"}]
"""


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


def write_tile(folder, name, size, generator):
    """Writes one tile: bright blocks on dark ground, with nodata, unlabelled pixels and noise."""
    heights = np.zeros((size, size), "float32")
    row, column = generator.integers(0, size // 2, 2)
    heights[row : row + size // 3, column : column + size // 3] = generator.uniform(3, 20)
    codes = np.where(heights > 0, 6, 2).astype("uint8")
    codes[:2] = 65
    photo = np.where(heights > 0, 170, 70)[..., None] + generator.normal(0, 9, (size, size, 3))
    heights[-2:] = np.nan
    grid = Grid(size, size, (500000.0, 0.5, 0.0, 5.0e6, 0.0, -0.5), projection_wkt(32632))
    rasters = {"rgb": photo.clip(0, 255).astype("uint8"), "dsm": heights, "sem": codes}
    for kind, pixels in rasters.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        write_raster(folder / kind / f"{name}.tif", pixels, grid)


@pytest.fixture(scope="session")
def blocks(tmp_path_factory):
    """Returns a folder that holds the data set "blocks": 4 train, 2 valid, 2 test tiles, 64 px."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(7)
    for split, count in (("train", 4), ("valid", 2), ("test", 2)):
        for number in range(count):
            write_tile(folder / "blocks" / split, f"{split}_{number}", 64, generator)
    (folder / "blocks" / "dataset.toml").write_text(RECORD)
    return folder


@pytest.fixture(scope="session")
def autzen():
    """Returns the folder that holds the data set "autzen", or skips."""
    root = Path(os.environ.get("AUTZEN_DIR", Path(__file__).parents[2] / "shared" / "autzen"))
    if not (root / "dataset.toml").is_file():
        pytest.skip(f"the Autzen data is not at {root}; set AUTZEN_DIR to its folder")
    return root
