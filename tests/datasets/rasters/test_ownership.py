from pathlib import Path

import numpy as np
import pytest

from datasets.rasters.ownership import check_replaceable, remove_derived, written_by_project
from datasets.rasters.reading import Grid, RasterError
from datasets.rasters.writing import Layer, RowFile, write_raster

GRID = Grid(2, 2, None, "")


def write_own(path: Path) -> None:
    """Writes a raster with the tag that the maps of this project carry."""
    RowFile(path, Layer("uint8", None, ("",), tags={"TIFFTAG_SOFTWARE": "DSMNet 1"}), GRID).close()


def test_a_new_file_an_empty_one_and_an_own_raster_may_be_written(tmp_path):
    (tmp_path / "empty.tif").touch()
    write_own(tmp_path / "own.tif")
    for name in ("new.tif", "empty.tif", "own.tif"):
        check_replaceable(tmp_path / name)


@pytest.mark.parametrize("kind", ["raster", "text", "folder", "broken link"])
def test_what_others_have_written_is_refused(tmp_path, kind):
    path = tmp_path / "a.tif"
    if kind == "raster":
        write_raster(path, np.ones((2, 2), "uint8"), GRID)
    if kind == "text":
        path.write_text("DSMNet")
    if kind == "folder":
        path.mkdir()
    if kind == "broken link":
        path.symlink_to(tmp_path / "absent")
    with pytest.raises(RasterError, match="a.tif is there already.*Move it away"):
        check_replaceable(path)


@pytest.mark.parametrize("ending", [".aux.xml", ".ovr", ".msk"])
def test_side_files_of_another_raster_are_not_taken_over(tmp_path, ending):
    (tmp_path / f"a.tif{ending}").write_text("<PAMDataset/>")
    with pytest.raises(RasterError, match=f"a.tif{ending} .* a part of a.tif"):
        check_replaceable(tmp_path / "a.tif")


def test_statistics_of_an_own_raster_go_with_it_and_a_mask_does_not(tmp_path):
    path, statistics, mask = (tmp_path / f"a.tif{ending}" for ending in ("", ".aux.xml", ".msk"))
    write_own(path)
    statistics.write_text("<PAMDataset/>")
    check_replaceable(path)
    assert remove_derived(path) == [statistics] and not statistics.exists()
    write_own(mask)
    with pytest.raises(RasterError, match="a.tif.msk"):
        check_replaceable(path)
    assert written_by_project(path)
