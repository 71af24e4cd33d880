import shutil

import numpy as np
import pytest

from datasets.crops.crop_reader import CropReader
from datasets.rasters.reading import RasterError
from datasets.records.record import find_record
from datasets.tiles.folders import list_tiles
from datasets.tiles.samples import read_tile_window


@pytest.fixture
def own_blocks(blocks, tmp_path):
    """Returns (record, training tiles) of a copy of the data set, which may be changed."""
    shutil.copytree(blocks, tmp_path / "data")
    record = find_record("blocks", str(tmp_path / "data"))
    return record, list_tiles(record, "train")


def test_crops_are_the_windows_of_the_tile_in_small_types(own_blocks):
    record, tiles = own_blocks
    image, heights, classes = CropReader(tiles, record, "uint8").read(2, 32, 10, 32).values()
    sample = read_tile_window(tiles[2], record, 32, 10, 32, 32)
    np.testing.assert_array_equal(image, sample["image"])
    np.testing.assert_array_equal(heights[..., 0], sample["heights"])
    np.testing.assert_array_equal(classes[..., 0], sample["classes"])
    assert (image.dtype, heights.dtype, classes.dtype) == ("uint8", "float32", "int16")
    assert np.isnan(heights[-2:]).all() and np.isfinite(heights[:-2]).all()


def test_an_unreadable_tile_is_an_error_or_left_out_and_counted(own_blocks, capsys):
    record, tiles = own_blocks
    tiles[1].dsm.write_bytes(tiles[1].dsm.read_bytes()[:700])
    with pytest.raises(RasterError, match=r"dsm.train_1\.tif"):
        CropReader(tiles, record).read(1, 0, 0, 32)
    reader = CropReader(tiles, record, "uint8", skip=True)
    for _ in range(3):
        image, heights, classes = reader.read(1, 0, 0, 32).values()
    assert (image == 0).all() and np.isnan(heights).all() and (classes == -1).all()
    assert image.shape == (32, 32, 3) and heights.shape == (32, 32, 1)
    crops, message = reader.skipped["train_1"]
    assert crops == 3 and "train_1.tif" in message
    assert capsys.readouterr().out.count("left out") == 1
    assert np.isfinite(reader.read(0, 0, 0, 32)["heights"]).any() and len(reader.skipped) == 1
