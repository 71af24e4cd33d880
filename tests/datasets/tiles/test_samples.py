from pathlib import Path

import numpy as np
import pytest

from datasets.rasters.reading import Grid
from datasets.rasters.writing import write_raster
from datasets.records.record import ClassLabel, Record
from datasets.tiles.folders import DataError, Tile
from datasets.tiles.labels import LabelError
from datasets.tiles.samples import read_tile_window, tile_grid

CLASSES = (ClassLabel(2, "ground"), ClassLabel(6, "building"))


def tile_of(tmp_path, rgb, dsm, sem=None, nodata=None, **more):
    """Writes the files of a tile without georeference."""
    paths = {}
    for kind, pixels in {"rgb": rgb, "dsm": dsm, "sem": sem, **more}.items():
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


def test_heights_too_large_for_float32_are_not_lost(tmp_path):
    stored = np.array([[1e38, 2]], "float32")
    tile = tile_of(tmp_path, np.zeros((1, 2, 3), "uint8"), stored)
    sample = read_tile_window(tile, record_of(height_scale=100.0), 0, 0, 1, 2)
    assert sample["heights"].tolist() == [[np.finfo("float32").max, 200]]  # the check refuses it


def test_terrain_is_subtracted_where_both_are_known(tmp_path):
    surface = np.array([[250, 247, np.nan, 260]], "float32")  # decimetres
    terrain = np.array([[200, 250, 200, np.inf]], "float32")
    tile = tile_of(tmp_path, np.zeros((1, 4, 3), "uint8"), surface, dem=terrain)
    sample = read_tile_window(tile, record_of(height_scale=0.1), 0, 0, 1, 4)
    assert sample["valid"].tolist() == [[True, True, False, False]]
    np.testing.assert_allclose(sample["heights"], [[5, -0.3, np.nan, np.nan]], atol=1e-5)


def test_unsigned_integers_below_the_terrain_do_not_wrap(tmp_path):
    surface, terrain = np.full((1, 1), 3, "uint8"), np.full((1, 1), 5, "uint8")
    tile = tile_of(tmp_path, np.zeros((1, 1, 3), "uint8"), surface, dem=terrain)
    assert read_tile_window(tile, record_of(), 0, 0, 1, 1)["heights"].tolist() == [[-2]]


def test_limits_hold_above_ground_and_surfaces_must_be_on_earth(tmp_path):
    surface = np.array([[2100, -9999, 900, 70]], "float32")
    terrain = np.array([[2060, -9999, -200, 60]], "float32")  # differences: 40, 0, 1100, 10
    tile = tile_of(tmp_path, np.zeros((1, 4, 3), "uint8"), surface, dem=terrain)
    sample = read_tile_window(tile, record_of(height_limits=(-1000.0, 1000.0)), 0, 0, 1, 4)
    assert sample["valid"].tolist() == [[True, False, False, True]]
    assert sample["heights"][0, 3] == 10


def test_heights_have_no_data_where_the_terrain_has_none(tmp_path):
    blank = np.zeros((1, 2), "float32")
    tile = tile_of(tmp_path, np.zeros((1, 2, 3), "uint8"), blank + 30, dem=blank)
    write_raster(tile.dem, np.array([[20, 7]], "float32"), Grid(1, 2, None, ""), nodata=7)
    sample = read_tile_window(tile, record_of(height_limits=(-99.0, 99.0)), 0, 0, 1, 2)
    assert sample["valid"].tolist() == [[True, False]]


def test_terrain_is_read_in_the_same_window(tmp_path):
    ramp = np.arange(12).reshape(3, 4).astype("float32")
    tile = tile_of(tmp_path, np.zeros((3, 4, 3), "uint8"), 3 * ramp, dem=ramp)
    sample = read_tile_window(tile, record_of(), 1, 2, 2, 2)
    assert sample["heights"].tolist() == [[12, 14], [20, 22]]


def test_radar_is_the_fourth_band_on_its_own_scale(tmp_path):
    rgb, dsm = np.full((1, 2, 3), 40, "uint8"), np.zeros((1, 2), "float32")
    radar = np.array([[1000, 2550]], "uint16")
    tile = tile_of(tmp_path, rgb, dsm, sar=radar)
    sample = read_tile_window(tile, record_of(sar_scale=0.1, rgb_scale=2.0), 0, 0, 1, 2)
    np.testing.assert_allclose(sample["image"], [[[80, 80, 80, 100], [80, 80, 80, 255]]], rtol=1e-6)


def test_image_has_no_data_where_the_radar_has_none(tmp_path):
    rgb, sem = np.full((1, 2, 3), 40, "uint8"), np.full((1, 2), 6, "uint8")
    radar = np.array([[np.nan, 0.5]], "float32")
    tile = tile_of(tmp_path, rgb, np.ones((1, 2), "float32"), sem, sar=radar)
    sample = read_tile_window(tile, record_of(sar_scale=100.0), 0, 0, 1, 2)
    assert sample["image"].tolist() == [[[0, 0, 0, 0], [40, 40, 40, 50]]]
    assert sample["has_image"].tolist() == sample["valid"].tolist() == [[False, True]]
    assert sample["classes"].tolist() == [[-1, 1]]


def ramp_tile(tmp_path, rows, columns):
    """Writes a tile whose heights count the pixels, of which only the photo is georeferenced."""
    heights = np.arange(rows * columns).reshape(rows, columns).astype("float32")
    tile = tile_of(tmp_path, np.zeros((rows, columns, 3), "uint8"), heights)
    place = (1000.0, 0.5, 0.0, 2000.0, 0.0, -0.5)
    write_raster(tile.rgb, np.zeros((rows, columns, 3), "uint8"), Grid(rows, columns, place, ""))
    return tile


def test_centre_crop_counts_from_its_own_corner(tmp_path):
    tile, record = ramp_tile(tmp_path, 5, 6), record_of(centre_crop=3)  # 1 row above, 1 column left
    whole = read_tile_window(tile, record, 0, 0, 3, 3)["heights"]
    assert whole.tolist() == [[7, 8, 9], [13, 14, 15], [19, 20, 21]]
    part = read_tile_window(tile, record, 1, 2, 2, 1)["heights"]
    np.testing.assert_array_equal(part, whole[1:, 2:])


@pytest.mark.parametrize("row, column", [(1, 0), (0, 1), (-1, 0)])
def test_window_that_leaves_the_centre_crop_is_an_error(tmp_path, row, column):
    tile = ramp_tile(tmp_path, 5, 6)
    with pytest.raises(DataError, match=r"rgb\.tif: the window of 3 x 3 .*leaves the middle 3 x 3"):
        read_tile_window(tile, record_of(centre_crop=3), row, column, 3, 3)


def test_grid_of_a_tile_is_that_of_its_part_at_its_place(tmp_path):
    tile = ramp_tile(tmp_path, 5, 6)
    assert tile_grid(tile, record_of()) == Grid(5, 6, (1000.0, 0.5, 0.0, 2000.0, 0.0, -0.5), "")
    part = (1000.5, 0.5, 0.0, 1999.5, 0.0, -0.5)
    assert tile_grid(tile, record_of(centre_crop=3)) == Grid(3, 3, part, "")


def test_without_labels_all_pixels_are_ignored(tmp_path):
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
