import numpy as np
import pytest
from osgeo import gdal, osr

from datasets.rasters.reading import Grid, read_info, read_raster
from datasets.rasters.writing import write_raster


def utm_grid(rows=2, columns=3):
    srs = osr.SpatialReference()
    srs.ImportFromEPSG(32632)
    return Grid(rows, columns, (5e5, 0.5, 0.0, 5e6, 0.0, -0.5), srs.ExportToWkt())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_pixels_and_place_survive_a_round_trip(tmp_path, dtype, bands):
    pixels = np.arange(6 * bands).reshape(2, 3, bands).astype(dtype)
    write_raster(tmp_path / "a.tif", pixels, utm_grid())
    back = read_raster(tmp_path / "a.tif")
    assert back.pixels.dtype == dtype
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.grid.geotransform == utm_grid().geotransform
    assert read_info(tmp_path / "a.tif").gsd == 0.5


def test_nan_becomes_the_nodata_value(tmp_path):
    heights = np.array([[1, np.nan, 3], [4, 5, 6]], "float32")
    write_raster(tmp_path / "a.tif", heights, utm_grid(), nodata=-9999.0)
    back = read_raster(tmp_path / "a.tif")
    assert back.pixels[0, 1, 0] == -9999
    assert np.argwhere(~back.valid).tolist() == [[0, 1]]
    assert np.isnan(heights[0, 1])  # the caller's array stays


def test_file_is_compressed_and_tiled(tmp_path):
    write_raster(tmp_path / "a.tif", np.zeros((300, 300), "float32"), utm_grid(300, 300))
    dataset = gdal.Open(str(tmp_path / "a.tif"))
    assert dataset.GetMetadataItem("COMPRESSION", "IMAGE_STRUCTURE") == "DEFLATE"
    assert dataset.GetRasterBand(1).GetBlockSize() == [256, 256]


def test_unit_description_and_colours_are_in_the_file(tmp_path):
    colours = [(3, "building", (200, 10, 20))]
    codes = np.full((2, 3), 3, "uint8")
    write_raster(tmp_path / "a.tif", codes, utm_grid(), None, "code", "classes", colours)
    dataset = gdal.Open(str(tmp_path / "a.tif"))
    band = dataset.GetRasterBand(1)
    assert (band.GetUnitType(), band.GetDescription()) == ("code", "classes")
    assert band.GetColorTable().GetColorEntry(3) == (200, 10, 20, 255)
    assert band.GetMetadataItem("CLASS_3") == "building"
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]  # no .aux.xml, no .part


def test_wrong_grid_names_both_shapes(tmp_path):
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(2, 3\)"):
        write_raster(tmp_path / "a.tif", np.zeros((3, 2), "uint8"), utm_grid())


def test_other_types_are_refused(tmp_path):
    with pytest.raises(ValueError, match="float64.*uint8, uint16, float32"):
        write_raster(tmp_path / "a.tif", np.zeros((2, 3)), utm_grid())


def test_failure_leaves_the_older_file_and_no_part(tmp_path):
    write_raster(tmp_path / "a.tif", np.ones((2, 3), "uint8"), utm_grid())
    with pytest.raises(TypeError):
        write_raster(tmp_path / "a.tif", np.zeros((2, 3), "uint8"), utm_grid(), nodata="none")
    assert read_raster(tmp_path / "a.tif").pixels.max() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_missing_folder_is_made(tmp_path):
    write_raster(tmp_path / "absent" / "a.tif", np.ones((2, 3), "uint8"), utm_grid())
    assert read_raster(tmp_path / "absent" / "a.tif").pixels.max() == 1


def test_grid_without_place_is_written_without(tmp_path):
    write_raster(tmp_path / "a.tif", np.zeros((2, 3), "uint8"), Grid(2, 3, None, ""))
    assert read_info(tmp_path / "a.tif").grid.geotransform is None
