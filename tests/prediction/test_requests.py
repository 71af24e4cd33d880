from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal

from datasets.rasters.reading import Grid, RasterError
from datasets.rasters.writing import Layer, RowFile, write_raster
from prediction.requests import check_outputs
from project.errors import UserError
from settings.table import SettingsError

OWN = Layer("uint8", None, ("",), tags={"TIFFTAG_SOFTWARE": "DSMNet 1"})
GRID = Grid(4, 4, (0.0, 1.0, 0.0, 4.0, 0.0, -1.0), "")


@pytest.fixture
def photo(tmp_path):
    write_raster(tmp_path / "photo.tif", np.ones((4, 4, 3), "uint8"), GRID)
    return tmp_path / "photo.tif"


def link(path, target):
    path.symlink_to(target)
    return path


def hard_link(path, target):
    path.hardlink_to(target)
    return path


@pytest.mark.parametrize(
    "spelled",
    [
        lambda photo: photo,
        lambda photo: photo.parent / ".." / photo.parent.name / photo.name,
        lambda photo: link(photo.with_name("link.tif"), photo),
        lambda photo: hard_link(photo.with_name("same.tif"), photo),
    ],
)
def test_the_scene_is_not_replaced_however_it_is_spelled(photo, spelled):
    with pytest.raises(SettingsError, match="is an input itself.*put it in quotes"):
        check_outputs([(photo, spelled(photo))], ["heights"])


def test_parts_of_a_mosaic_and_of_a_mosaic_in_it_are_not_replaced(photo, tmp_path):
    for path, part in (("inner.vrt", "photo.tif"), ("outer.vrt", "inner.vrt")):
        gdal.BuildVRT(str(tmp_path / path), [str(tmp_path / part)]).FlushCache()
    for part in ("photo.tif", "inner.vrt"):
        with pytest.raises(SettingsError, match=f"{part} is an input itself"):
            check_outputs([(tmp_path / "outer.vrt", tmp_path / part)], ["heights"])


def test_an_own_raster_is_replaced_unless_it_is_an_input(photo, tmp_path):
    RowFile(tmp_path / "sar.tif", OWN, GRID).close()
    check_outputs([(photo, tmp_path / "sar.tif")], ["heights"])
    with pytest.raises(SettingsError, match="sar.tif is an input itself"):
        check_outputs([(photo, tmp_path / "sar.tif")], ["heights"], str(tmp_path / "sar.tif"))


def test_a_pattern_is_suspected_only_where_the_output_is_a_photo_beside_the_scene(photo, tmp_path):
    def refusal(output):
        with pytest.raises(RasterError) as caught:
            check_outputs([(photo, output)], ["heights"])
        return str(caught.value)

    (tmp_path / "out").mkdir()
    for name in ("other.tif", "out/other.tif"):
        write_raster(tmp_path / name, np.ones((4, 4, 3), "uint8"), GRID)
    RowFile(tmp_path / "own.tif", OWN, GRID).close()
    for name in ("own.tif.msk", "new.tif.msk"):
        (tmp_path / name).write_text("mine")
    assert "put it in quotes" in refusal(tmp_path / "other.tif")
    for name in ("out/other.tif", "own.tif", "new.tif"):
        assert "Move it away" in refusal(tmp_path / name)
        assert "quotes" not in refusal(tmp_path / name)


def test_every_map_is_checked(photo, tmp_path):
    write_raster(tmp_path / "h_classes.tif", np.ones((4, 4), "uint8"), GRID)
    check_outputs([(photo, tmp_path / "h.tif")], ["heights"])
    with pytest.raises(RasterError, match="h_classes.tif is there already"):
        check_outputs([(photo, tmp_path / "h.tif")], ["heights", "classes"])


def test_a_folder_that_cannot_be_is_refused(photo):
    with pytest.raises(UserError, match="written to /proc: .*Give another folder"):
        check_outputs([(photo, Path("/proc/h.tif"))], ["heights"])  # which root may not either
    with pytest.raises(UserError, match="photo.tif is not a folder"):
        check_outputs([(photo, photo / "h.tif")], ["heights"])
