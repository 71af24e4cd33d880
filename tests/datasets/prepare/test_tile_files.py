import numpy as np
import pytest

from datasets.prepare.tile_files import (
    PrepareError,
    TilePixels,
    read_facts,
    tile_paths,
    write_tile,
)
from datasets.rasters.grids import projection_wkt
from datasets.rasters.reading import Grid, read_raster

GRID = Grid(2, 2, (5e5, 0.5, 0.0, 5e6, 0.0, -0.5), projection_wkt(32632))
ALL = np.ones((2, 2), bool)
MOST = np.array([[True, True], [True, False]])


def make_pixels(**changes):
    given = {
        "image": (np.full((2, 2, 3), 50, "uint8"), ALL),
        "heights": np.array([[1, 2], [3, np.nan]], "float32"),
        "labels": (np.array([[2, 6], [6, 9]], "uint8")[..., None], MOST),
        "grid": GRID,
    }
    return TilePixels(**{**given, **changes})


def test_a_tile_keeps_values_nodata_and_place(tmp_path):
    paths = tile_paths(tmp_path, "train", "a", has_labels=True)
    facts = write_tile(paths, make_pixels())
    heights, labels = read_raster(paths["dsm"]), read_raster(paths["sem"])
    assert heights.valid.tolist() == labels.valid.tolist() == [[True, True], [True, False]]
    assert heights.pixels[..., 0][heights.valid].tolist() == [1, 2, 3]
    assert labels.pixels[..., 0][labels.valid].tolist() == [2, 6, 6]
    assert heights.grid == read_raster(paths["rgb"]).grid == GRID
    assert (facts.valid_share, facts.lowest, facts.highest) == (0.75, 1, 3)
    assert facts.codes == {2, 6} and read_facts(paths) == facts


def test_gaps_of_a_photo_are_nodata_and_black_stays_data(tmp_path):
    image = np.array([[[0, 0, 0], [9, 9, 9]], [[0, 7, 0], [5, 5, 5]]], "uint8")
    paths = tile_paths(tmp_path, "train", "a", has_labels=True)
    write_tile(paths, make_pixels(image=(image, MOST)))
    photo = read_raster(paths["rgb"])
    assert photo.valid.tolist() == MOST.tolist()
    assert photo.pixels[photo.valid].tolist() == [[1, 1, 1], [9, 9, 9], [0, 7, 0]]
    write_tile(paths, make_pixels(image=(image, ALL)))
    assert read_raster(paths["rgb"]).pixels.tolist() == image.tolist()  # without gaps as it was


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_gaps_of_radar_are_nodata(tmp_path, dtype):
    radar = np.array([[0, 7], [9, 200]], dtype)[..., None]
    paths = tile_paths(tmp_path, "train", "a", has_labels=False, has_radar=True)
    assert list(paths) == ["rgb", "dsm", "sar"]
    write_tile(paths, make_pixels(labels=None, radar=(radar, MOST)))
    found = read_raster(paths["sar"])
    assert found.valid.tolist() == MOST.tolist() and found.grid == GRID
    assert found.pixels.dtype == dtype
    assert found.pixels[found.valid].ravel().tolist() == [0 if dtype == "float32" else 1, 7, 9]


def test_colour_labels_stay_colours(tmp_path):
    colours = np.array([[[0, 0, 255], [255, 0, 0]], [[0, 0, 255], [0, 0, 0]]], "uint8")
    paths = tile_paths(tmp_path, "train", "a", has_labels=True)
    facts = write_tile(paths, make_pixels(labels=(colours, MOST)))
    assert facts.codes == {(0, 0, 255), (255, 0, 0)} == read_facts(paths).codes


def test_a_photo_given_as_labels_is_refused(tmp_path):
    labels = np.arange(400).reshape(20, 20, 1)
    pixels = make_pixels(labels=(labels, np.ones((20, 20), bool)))
    with pytest.raises(PrepareError, match="400 different label codes, expected at most 256"):
        write_tile(tile_paths(tmp_path, "train", "a", True), pixels)
