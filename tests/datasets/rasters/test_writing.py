import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from osgeo import gdal, osr
from osgeo_utils.samples.validate_cloud_optimized_geotiff import validate

from datasets.rasters.grids import part_of_grid, projection_wkt, same_projection
from datasets.rasters.reading import ControlPoints, Grid, RasterError, read_info, read_raster
from datasets.rasters.writing import Layer, RowFile, read_tags, write_cog, write_raster
from project.files import DiskError
from tests.full_disk import file_limit

GRID = Grid(1100, 700, (5e5, 0.5, 0.0, 5e6, 0.0, -0.5), projection_wkt(32632))
SMALL = part_of_grid(GRID, 0, 0, 2, 3)
RPC_NAMES = ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")
RPC_PARTS = ("LINE_NUM", "LINE_DEN", "SAMP_NUM", "SAMP_DEN")
HEIGHTS = Layer("float32", -9999.0, ("height",), "metre", None, {"MODEL": "a", "VERSION": "1"})


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_pixels_and_place_survive_a_round_trip(tmp_path, dtype, bands):
    pixels = np.arange(6 * bands).reshape(2, 3, bands).astype(dtype)
    write_raster(tmp_path / "a.tif", pixels, SMALL)
    back = read_raster(tmp_path / "a.tif")
    assert back.pixels.dtype == dtype
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.grid.geotransform == SMALL.geotransform
    assert read_info(tmp_path / "a.tif").gsd == 0.5


def test_nan_becomes_the_nodata_value(tmp_path):
    heights = np.array([[1, np.nan, 3], [4, 5, 6]], "float32")
    write_raster(tmp_path / "a.tif", heights, SMALL, nodata=-9999.0)
    back = read_raster(tmp_path / "a.tif")
    assert back.pixels[0, 1, 0] == -9999
    assert np.argwhere(~back.valid).tolist() == [[0, 1]]
    assert np.isnan(heights[0, 1])  # the caller's array stays


def test_file_is_compressed_and_tiled(tmp_path):
    write_raster(tmp_path / "a.tif", np.zeros((1100, 700), "float32"), GRID)
    dataset = gdal.Open(str(tmp_path / "a.tif"))
    assert dataset.GetMetadataItem("COMPRESSION", "IMAGE_STRUCTURE") == "DEFLATE"
    assert dataset.GetRasterBand(1).GetBlockSize() == [256, 256]


def test_unit_description_and_colours_are_in_the_file(tmp_path):
    colours = [(3, "building", (200, 10, 20))]
    codes = np.full((2, 3), 3, "uint8")
    write_raster(tmp_path / "a.tif", codes, SMALL, None, "code", "classes", colours)
    dataset = gdal.Open(str(tmp_path / "a.tif"))
    band = dataset.GetRasterBand(1)
    assert (band.GetUnitType(), band.GetDescription()) == ("code", "classes")
    assert band.GetColorTable().GetColorEntry(3) == (200, 10, 20, 255)
    assert band.GetMetadataItem("CLASS_3") == "building"
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]  # no .aux.xml, no .part


def test_wrong_grid_names_both_shapes(tmp_path):
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(2, 3\)"):
        write_raster(tmp_path / "a.tif", np.zeros((3, 2), "uint8"), SMALL)


def test_other_types_are_refused(tmp_path):
    with pytest.raises(ValueError, match="float64.*uint8, uint16, float32"):
        write_raster(tmp_path / "a.tif", np.zeros((2, 3)), SMALL)


def test_failure_leaves_the_older_file_and_no_part(tmp_path):
    write_raster(tmp_path / "a.tif", np.ones((2, 3), "uint8"), SMALL)
    with pytest.raises(TypeError):
        write_raster(tmp_path / "a.tif", np.zeros((2, 3), "uint8"), SMALL, nodata="none")
    assert read_raster(tmp_path / "a.tif").pixels.max() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_missing_folder_is_made(tmp_path):
    write_raster(tmp_path / "absent" / "a.tif", np.ones((2, 3), "uint8"), SMALL)
    assert read_raster(tmp_path / "absent" / "a.tif").pixels.max() == 1


def test_grid_without_place_is_written_without(tmp_path):
    write_raster(tmp_path / "a.tif", np.zeros((2, 3), "uint8"), Grid(2, 3, None, ""))
    assert read_info(tmp_path / "a.tif").grid.geotransform is None


def finished(folder, layer=HEIGHTS, classes=False):
    """Writes rows 0 to 599 of a layer, reopening the file in between, then the COG."""
    pixels = np.arange(600 * 700 * len(layer.bands)).reshape(600, 700, -1) % 200
    for start in (0, 300):
        rows = RowFile(folder / "rows.tif", layer, None if start else GRID)
        rows.write(start, pixels[start : start + 300].astype(layer.dtype))
        rows.close()
    write_cog(folder / "rows.tif", folder / "a.tif", classes)
    return pixels


def test_file_passes_gdals_validation_and_keeps_the_pixels(tmp_path):
    pixels = finished(tmp_path)
    _, errors, _ = validate(str(tmp_path / "a.tif"), full_check=True)
    assert not errors
    back = read_raster(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.pixels[:600], pixels)
    assert back.valid[:600].all() and not back.valid[600:].any()  # never written: nodata
    assert (back.pixels[600:] == -9999).all()


def test_place_unit_tags_and_overviews_are_in_the_file(tmp_path):
    finished(tmp_path)
    dataset = gdal.Open(str(tmp_path / "a.tif"))
    band = dataset.GetRasterBand(1)
    assert dataset.GetMetadataItem("LAYOUT", "IMAGE_STRUCTURE") == "COG"
    assert (band.GetUnitType(), band.GetDescription(), band.GetNoDataValue()) == (
        "metre",
        "height",
        -9999,
    )
    assert band.GetOverviewCount() >= 2
    assert read_tags(tmp_path / "a.tif").items() >= {"MODEL": "a", "VERSION": "1"}.items()
    info = read_info(tmp_path / "a.tif")
    assert info.grid.geotransform == GRID.geotransform and info.gsd == 0.5


READ_WITH_RASTERIO = """
import sys, rasterio
with rasterio.open(sys.argv[1]) as file:
    print(file.crs, file.res, file.nodata, file.units, file.overviews(1)[0], file.read(1)[0, 7])
"""


def test_other_readers_see_the_same(tmp_path):
    if importlib.util.find_spec("rasterio") is None:
        pytest.skip("rasterio is not installed; ./setup.sh --dev does")
    finished(tmp_path)
    # A process of its own: rasterio brings another GDAL.
    command = [sys.executable, "-c", READ_WITH_RASTERIO, str(tmp_path / "a.tif")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    assert told == "EPSG:32632 (0.5, 0.5) -9999.0 ('metre',) 2 7.0"


def test_four_bands_stay_four_bands(tmp_path):
    layer = Layer("float32", -9999.0, ("a", "b", "c", "d"))
    pixels = finished(tmp_path, layer)
    np.testing.assert_array_equal(read_raster(tmp_path / "a.tif").pixels[:600], pixels)
    dataset = gdal.Open(str(tmp_path / "a.tif"))
    assert dataset.GetRasterBand(4).GetDescription() == "d"


def test_classes_have_colours_names_and_overviews_of_codes(tmp_path):
    colours = [(code, f"name {code}", (code, 1, 2)) for code in (7, 9, 90)]
    layer = Layer("uint8", 255, ("class",), "", colours)
    rows = RowFile(tmp_path / "rows.tif", layer, GRID)
    codes = np.full((600, 700, 1), 90)
    codes[:, ::2] = 7  # the mean colour of 7 and 90 is nearer to that of 9
    rows.write(0, codes)
    rows.close()
    write_cog(tmp_path / "rows.tif", tmp_path / "a.tif", classes=True)
    dataset = gdal.Open(str(tmp_path / "a.tif"))
    band = dataset.GetRasterBand(1)
    assert band.GetColorTable().GetColorEntry(7) == (7, 1, 2, 255)
    assert band.GetMetadataItem("CLASS_7") == "name 7"
    assert not (tmp_path / "a.tif.aux.xml").exists()
    assert set(np.unique(band.GetOverview(0).ReadAsArray())) <= {7, 90, 255}


def test_a_file_to_continue_must_exist(tmp_path):
    with pytest.raises(RasterError, match="rows.tif"):
        RowFile(tmp_path / "rows.tif", HEIGHTS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [0, 100, 3000, 30_000])
@pytest.mark.parametrize("kind", ["whole", "rows", "cog"])
def test_a_full_disk_is_told_by_every_writer_and_leaves_no_half_file(tmp_path, kind, limit):
    pixels = np.random.default_rng(0).normal(size=(100, 100)).astype("float32")
    grid = part_of_grid(GRID, 0, 0, 100, 100)
    write_raster(tmp_path / "a.tif", pixels, grid)

    def write_rows(path):
        file = RowFile(path, HEIGHTS, grid)
        file.write(0, pixels[..., None])
        file.close()

    write = {
        "whole": lambda path: write_raster(path, pixels, grid),
        "rows": write_rows,
        "cog": lambda path: write_cog(tmp_path / "a.tif", path),
    }[kind]
    with file_limit(limit), pytest.raises(DiskError, match="b.tif cannot be written: .* allowed"):
        write(tmp_path / "b.tif")
    assert kind != "whole" or [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    write(tmp_path / "c.tif")
    np.testing.assert_array_equal(read_raster(tmp_path / "c.tif").pixels[..., 0], pixels)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RasterError, match="absent/rows.tif.*folder exists"):
        RowFile(tmp_path / "absent" / "rows.tif", HEIGHTS, GRID)


def test_heights_keep_the_horizontal_crs_alone(tmp_path):
    system = osr.SpatialReference()
    system.SetFromUserInput("EPSG:32610+6360")  # heights in US survey feet above NAVD88
    grid = Grid(2, 3, SMALL.geotransform, system.ExportToWkt())
    write_raster(tmp_path / "a.tif", np.zeros((2, 3, 3), "float32"), grid, unit="metre")
    write_cog(tmp_path / "a.tif", tmp_path / "b.tif")
    for name in ("a.tif", "b.tif"):
        dataset = gdal.Open(str(tmp_path / name))
        assert same_projection(dataset.GetProjection(), projection_wkt(32610))
        assert dataset.GetSpatialRef().GetAxesCount() == 2
        assert dataset.GetRasterBand(1).GetUnitType() == "metre"
    write_raster(tmp_path / "c.tif", np.zeros((2, 3), "float32"), grid)
    assert gdal.Open(str(tmp_path / "c.tif")).GetRasterBand(1).GetUnitType() == ""


def test_control_points_and_rpcs_are_carried_over(tmp_path):
    corners = ((0, 0, 5e5, 5e6, 1.0), (700, 0, 500350, 5e6, 1.0), (0, 1100, 5e5, 4999450, 1.0))
    rpcs = {f"{name}_COEFF": " ".join(["0.5"] * 20) for name in RPC_PARTS}
    rpcs |= {f"{name}_{end}": "7" for name in RPC_NAMES for end in ("OFF", "SCALE")}
    points = ControlPoints(corners, projection_wkt(32632))
    grid = Grid(1100, 700, None, "", points, tuple(sorted(rpcs.items())))
    part = part_of_grid(grid, 100, 200, 5, 6)
    write_raster(tmp_path / "a.tif", np.zeros((5, 6), "float32"), part)
    write_cog(tmp_path / "a.tif", tmp_path / "b.tif")
    for name in ("a.tif", "b.tif"):
        dataset = gdal.Open(str(tmp_path / name))
        found = [(gcp.GCPPixel, gcp.GCPLine, gcp.GCPX) for gcp in dataset.GetGCPs()]
        assert found == [(-200, -100, 5e5), (500, -100, 500350), (-200, 1000, 5e5)]
        assert same_projection(dataset.GetGCPProjection(), projection_wkt(32632))
        stored = dataset.GetMetadata("RPC")
        offsets = {key: float(stored[key]) for key in ("LINE_OFF", "SAMP_OFF", "LAT_OFF")}
        assert offsets == {"LINE_OFF": 7 - 100, "SAMP_OFF": 7 - 200, "LAT_OFF": 7}


def test_tags_that_are_not_utf8_are_read(tmp_path):
    path = tmp_path / "a.tif"
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), 2, 2)
    dataset.SetMetadata({"AUTHOR": "Rene"})
    dataset = None
    path.write_bytes(path.read_bytes().replace(b"Rene", b"Ren\xe9"))
    assert read_tags(path)["AUTHOR"] == "Ren\xe9"
