from pathlib import Path

import numpy as np
import pytest

from datasets.folders import DataError, Tile
from datasets.labels import LabelError
from datasets.rasters.reading import Grid
from datasets.rasters.writing import write_raster
from datasets.records import ClassLabel, Record
from datasets.samples import read_tile_window

CLASSES = (ClassLabel(2, "ground"), ClassLabel(6, "building"))


def tile_of(tmp_path, rgb, dsm, sem=None, nodata=None):
    """Writes the files of a tile without georeference."""
    paths = {}
    for kind, pixels in {"rgb": rgb, "dsm": dsm, "sem": sem}.items():
        paths[kind] = None if pixels is None else tmp_path / f"{kind}.tif"
        if pixels is not None:
            grid = Grid(*pixels.shape[:2], None, "")
            write_raster(paths[kind], pixels, grid, nodata if kind == "rgb" else None)
    return Tile("t", **paths)


def record_of(**values):
    return Record(name="mine", folder=Path("mine"), classes=CLASSES, **values)


def test_window_is_read_from_all_files(tmp_path):
    rgb = np.arange(36).reshape(3, 4, 3).astype("uint8")
    dsm = np.arange(12).reshape(3, 4).astype("float32")
    sem = np.full((3, 4), 2, "uint8")
    sem[2, 3] = 6
    sample = read_tile_window(tile_of(tmp_path, rgb, dsm, sem), record_of(), 1, 2, 2, 2)
    np.testing.assert_array_equal(sample["image"], rgb[1:, 2:])
    assert sample["heights"].tolist() == [[6, 7], [10, 11]]
    assert sample["classes"].tolist() == [[0, 0], [0, 1]]
    assert {name: str(part.dtype) for name, part in sample.items()} == {
        "image": "float32", "has_image": "bool", "heights": "float32", "valid": "bool",
        "classes": "int32",
    }  # fmt: skip


def test_nodata_of_image_and_heights(tmp_path):
    rgb = np.full((1, 3, 3), 9, "uint8")
    rgb[0, 0] = 7
    dsm = np.array([[1, np.nan, 3]], "float32")
    tile = tile_of(tmp_path, rgb, dsm, np.full((1, 3), 6, "uint8"), nodata=7)
    sample = read_tile_window(tile, record_of(), 0, 0, 1, 3)
    assert sample["valid"].tolist() == [[False, False, True]]
    np.testing.assert_array_equal(sample["heights"], [[np.nan, np.nan, 3]])
    assert sample["image"][0].tolist() == [[0, 0, 0], [9, 9, 9], [9, 9, 9]]
    assert sample["classes"].tolist() == [[-1, 1, 1]]


def test_stored_values_are_scaled(tmp_path):
    rgb = np.full((1, 1, 3), 65535, "uint16")
    dsm = np.full((1, 1), 255, "uint8")  # decimetres
    record = record_of(rgb_scale=255 / 65535, height_scale=0.1)
    sample = read_tile_window(tile_of(tmp_path, rgb, dsm), record, 0, 0, 1, 1)
    np.testing.assert_allclose(sample["image"], 255, rtol=1e-6)
    np.testing.assert_allclose(sample["heights"], 25.5, rtol=1e-6)


def test_heights_beyond_the_limits_have_no_data(tmp_path):
    stored = np.array([[-3281, -3280, 12, 3280, 3281]], "float32")  # feet; 3280 ft = 999.744 m
    tile = tile_of(tmp_path, np.zeros((1, 5, 3), "uint8"), stored)
    record = record_of(height_scale=0.3048, height_limits=(-1000.0, 1000.0))
    sample = read_tile_window(tile, record, 0, 0, 1, 5)
    assert sample["valid"].tolist() == [[False, True, True, True, False]]
    expected = [[np.nan, -999.744, 3.6576, 999.744, np.nan]]
    np.testing.assert_allclose(sample["heights"], expected, rtol=1e-6)


def test_heights_too_large_for_float32_have_no_data(tmp_path):
    stored = np.array([[1e38, 2]], "float32")
    tile = tile_of(tmp_path, np.zeros((1, 2, 3), "uint8"), stored)
    sample = read_tile_window(tile, record_of(height_scale=100.0), 0, 0, 1, 2)
    assert sample["valid"].tolist() == [[False, True]]


def test_no_labels_are_all_ignored(tmp_path):
    tile = tile_of(tmp_path, np.zeros((1, 2, 3), "uint8"), np.zeros((1, 2), "float32"))
    assert read_tile_window(tile, record_of(), 0, 0, 1, 2)["classes"].tolist() == [[-1, -1]]


def test_wrong_bands_name_the_file(tmp_path):
    tile = tile_of(tmp_path, np.zeros((1, 2, 2), "uint8"), np.zeros((1, 2), "float32"))
    with pytest.raises(DataError, match=r"rgb\.tif: 2 bands, expected 3"):
        read_tile_window(tile, record_of(), 0, 0, 1, 2)


def test_unknown_label_names_the_file(tmp_path):
    blank = np.zeros((1, 2), "float32"), np.full((1, 2), 4, "uint8")
    tile = tile_of(tmp_path, np.zeros((1, 2, 3), "uint8"), *blank)
    with pytest.raises(LabelError, match=r"sem\.tif: unknown label codes: 4 \(2 pixels\)"):
        read_tile_window(tile, record_of(), 0, 0, 1, 2)
