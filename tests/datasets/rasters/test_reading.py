import shutil

import numpy as np
import pytest
from osgeo import gdal, osr

from datasets.rasters.reading import (
    DRIVERS,
    VECTOR_DRIVERS,
    Grid,
    RasterError,
    describe_projection,
    file_list,
    pixel_size,
    read_info,
    read_raster,
    read_window,
)

FEET = 0.5 / 0.3048  # feet in half a metre


def wkt(name):
    srs = osr.SpatialReference()
    srs.SetFromUserInput(name)
    return srs.ExportToWkt()


def write(path, bands, driver="GTiff", options=(), nodata=None, epsg=None, place=None, unit=""):
    """Writes an array (bands, rows, columns) with GDAL itself, by way of the MEM driver."""
    count, rows, columns = bands.shape
    kind = {"uint8": gdal.GDT_Byte, "uint16": gdal.GDT_UInt16}.get(
        bands.dtype.name, gdal.GDT_Float32
    )
    memory = gdal.GetDriverByName("MEM").Create("", columns, rows, count, kind)
    for i in range(count):
        memory.GetRasterBand(i + 1).WriteArray(bands[i])
        memory.GetRasterBand(i + 1).SetUnitType(unit)
        if nodata is not None:
            memory.GetRasterBand(i + 1).SetNoDataValue(nodata)
    if epsg:
        memory.SetProjection(wkt(epsg))
    if place:
        memory.SetGeoTransform(place)
    gdal.GetDriverByName(driver).CreateCopy(str(path), memory, options=list(options))
    return path


def ramp(bands=3, rows=4, columns=5, dtype="uint8"):
    return np.arange(bands * rows * columns).reshape(bands, rows, columns).astype(dtype)


@pytest.mark.parametrize("driver, name", [("GTiff", "a.tif"), ("PNG", "a.png")])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pixels_keep_values_and_type(tmp_path, driver, name, dtype):
    raster = read_raster(write(tmp_path / name, ramp(dtype=dtype), driver))
    assert raster.pixels.dtype == dtype
    np.testing.assert_array_equal(raster.pixels, ramp().transpose(1, 2, 0))
    assert raster.valid.all()


@pytest.mark.parametrize(
    "driver, name, options",
    [
        ("JPEG", "a.jpg", ["QUALITY=95"]),
        ("JP2OpenJPEG", "a.jp2", ["REVERSIBLE=YES", "QUALITY=100"]),
    ],
)
def test_jpeg_and_jpeg_2000_are_read(tmp_path, driver, name, options):
    if gdal.GetDriverByName(driver) is None:
        pytest.skip(f"this GDAL has no {driver} driver")
    grey = np.full((3, 32, 32), 100, "uint8")
    raster = read_raster(write(tmp_path / name, grey, driver, options))
    assert np.abs(raster.pixels.astype(int) - 100).max() <= 1


def test_window_is_cut_at_row_and_column(tmp_path):
    path = write(tmp_path / "a.tif", ramp(bands=1))
    pixels, valid = read_window(path, row=1, column=2, rows=2, columns=3)
    assert pixels[..., 0].tolist() == [[7, 8, 9], [12, 13, 14]]
    assert valid.shape == (2, 3)


def test_window_outside_the_raster_is_an_error(tmp_path):
    path = write(tmp_path / "a.tif", ramp(bands=1))
    with pytest.raises(RasterError, match=r"a\.tif.*out of range"):
        read_window(path, 3, 0, 2, 2)


def test_nodata_value_and_nan_are_not_valid(tmp_path):
    heights = ramp(bands=1, rows=2, columns=3, dtype="float32")
    heights[0, 1, 2] = np.nan
    heights[0, 1, 1] = np.inf
    raster = read_raster(write(tmp_path / "a.tif", heights, nodata=1))
    assert raster.valid.tolist() == [[True, False, True], [True, False, False]]


def test_nodata_hides_a_pixel_only_if_all_bands_have_it(tmp_path):
    photo = np.zeros((3, 1, 2), "uint8")
    photo[0, 0, 1] = 200  # pure red next to black
    raster = read_raster(write(tmp_path / "a.tif", photo, nodata=0))
    assert raster.valid.tolist() == [[False, True]]


def test_alpha_is_a_mask_and_no_band(tmp_path):
    photo = ramp(bands=4, rows=1, columns=2)
    photo[3] = [[0, 255]]
    path = write(tmp_path / "a.png", photo, "PNG")
    raster = read_raster(path)
    assert raster.pixels.shape == (1, 2, 3) and read_info(path).bands == 3
    assert raster.valid.tolist() == [[False, True]]


def write_masked(path):
    """Writes one row of two pixels, of which a mask file beside it hides the second."""
    write(path, ramp(rows=1, columns=2))
    dataset = gdal.Open(str(path))
    dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
    dataset.GetRasterBand(1).GetMaskBand().WriteArray(np.array([[255, 0]], "uint8"))
    return path


def test_mask_file_beside_the_raster_counts(tmp_path):
    path = write_masked(tmp_path / "a.tif")
    assert (tmp_path / "a.tif.msk").exists()
    assert read_raster(path).valid.tolist() == [[True, False]]


def test_mask_file_in_upper_case_belongs_to_another_file(tmp_path):
    path = write_masked(tmp_path / "a.tif")
    path.with_name("a.tif.msk").rename(path.with_name("A.TIF.msk"))
    assert read_raster(path).valid.all()


def test_gdal_keeps_only_the_formats_that_are_read():
    names = {gdal.GetDriver(i).ShortName for i in range(gdal.GetDriverCount())}
    assert {"GTiff", "PNG", "JPEG", "VRT"} <= names <= {*DRIVERS, *VECTOR_DRIVERS}


@pytest.mark.parametrize(
    "epsg, place",
    [
        ("EPSG:32632", (5e5, 0.5, 0, 5e6, 0, -0.5)),
        ("EPSG:2992", (6e5, FEET, 0, 8e5, 0, -FEET)),  # international feet
        ("EPSG:2992+5703", (6e5, FEET, 0, 8e5, 0, -FEET)),  # with a vertical CRS
        ("EPSG:32632", (5e5, 0.3, 0.4, 5e6, 0.4, -0.3)),  # turned: a 3-4-5 triangle
    ],
)
def test_gsd_is_in_metres(tmp_path, epsg, place):
    path = write(tmp_path / "a.tif", ramp(), epsg=epsg, place=place)
    assert read_info(path).gsd == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize(
    "latitude, east, north", [(0, 111319.5, 110574.3), (60, 55800.0, 111412.3)]
)
def test_gsd_of_degrees_is_taken_at_the_tiles_latitude(latitude, east, north):
    # Lengths of a degree on the WGS 84 ellipsoid, from published tables.
    grid = Grid(2, 2, (10, 1e-5, 0, latitude + 1e-5, 0, -1e-5), wkt("EPSG:4326"))
    assert pixel_size(grid) == pytest.approx((east + north) / 2 * 1e-5, rel=1e-5)


def test_png_with_world_file_has_a_place_but_no_gsd(tmp_path):
    path = write(tmp_path / "a.png", ramp(), "PNG")
    (tmp_path / "a.pgw").write_text("0.5\n0\n0\n-0.5\n100.25\n199.75\n")
    info = read_info(path)
    assert info.grid.geotransform == (100.0, 0.5, 0.0, 200.0, 0.0, -0.5)
    assert (info.gsd, info.grid.projection) == (None, "")


def test_file_without_georeference_has_none(tmp_path):
    info = read_info(write(tmp_path / "a.tif", ramp()))
    assert (info.grid.geotransform, info.gsd, info.dtype) == (None, None, "uint8")


@pytest.mark.parametrize(
    "name, text",
    [
        ("EPSG:32632", "EPSG:32632, WGS 84 / UTM zone 32N, metre"),
        ("EPSG:4326", "EPSG:4326, WGS 84, degree"),
        ("EPSG:2992+5703", "EPSG:2992, NAD83 / Oregon GIC Lambert (ft), foot"),
        ("+proj=tmerc +lon_0=9", "unknown, metre"),
    ],
)
def test_projection_is_described(name, text):
    assert describe_projection(wkt(name)) == text


def test_palette_is_reported(tmp_path):
    dataset = gdal.GetDriverByName("GTiff").Create(str(tmp_path / "a.tif"), 2, 2, 1)
    table = gdal.ColorTable()
    table.SetColorEntry(0, (1, 2, 3))
    dataset.GetRasterBand(1).SetRasterColorTable(table)
    dataset = None
    assert read_info(tmp_path / "a.tif").palette
    assert not read_info(write(tmp_path / "b.tif", ramp())).palette


@pytest.mark.parametrize("driver, name", [("GTiff", "a.tif"), ("PNG", "a.png"), ("JPEG", "a.jpg")])
def test_cut_off_file_is_an_error(tmp_path, capfd, driver, name):
    noise = np.random.default_rng(0).integers(0, 255, (3, 64, 64), "uint8")
    path = write(tmp_path / name, noise, driver)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RasterError, match=name):
        read_raster(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", [b"", b"no raster"])
def test_file_that_is_not_a_raster_is_named(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(RasterError, match=r"a\.tif: GDAL cannot open"):
        read_info(tmp_path / "a.tif")


def test_reading_writes_nothing_beside_the_data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "a.jpg", ramp(), "JPEG", nodata=0, epsg="EPSG:32632")
    write(folder / "b.png", ramp(), "PNG", nodata=0)
    shutil.copytree(folder, tmp_path / "before")
    for name in ("a.jpg", "b.png"):
        read_info(folder / name), read_raster(folder / name)
    before, after = (sorted(p.name for p in f.iterdir()) for f in (tmp_path / "before", folder))
    assert before == after


def test_texts_that_are_not_utf8_are_taken_for_latin_1(tmp_path):
    path = write(
        tmp_path / "a.tif", ramp(), epsg="+proj=tmerc +ellps=bessel +to_meter=0.5 +type=crs"
    )
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.SetProjection(dataset.GetProjection().replace('GEOGCS["unknown', 'GEOGCS["Parish'))
    dataset.SetGeoTransform((0, 1, 0, 0, 0, -1))
    dataset = None
    assert path.read_bytes().count(b"Parish") == 1
    path.write_bytes(path.read_bytes().replace(b"Parish", b"Par\xefsh"))
    info = read_info(path)
    assert 'GEOGCS["Par\xefsh"' in info.grid.projection
    assert info.gsd == 0.5


def test_control_points_are_part_of_the_place(tmp_path):
    path = write(tmp_path / "a.tif", ramp())
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.SetGCPs([gdal.GCP(7.0, 9.0, 2.0, 3.0, 4.0)], wkt("EPSG:32632"))
    dataset = None
    grid = read_info(path).grid
    assert (grid.geotransform, grid.control_points.points) == (None, ((3.0, 4.0, 7.0, 9.0, 2.0),))
    assert "32632" in grid.control_points.projection


def test_path_that_is_not_utf8_is_named(tmp_path):
    with pytest.raises(RasterError, match=r"caf.udce9.tif': the path is not UTF-8"):
        read_info(tmp_path / "caf\udce9.tif")


def test_message_of_gdal_that_is_not_utf_8_is_an_error_of_the_project(tmp_path):
    path = tmp_path / "a.tif"
    write(path, np.ones((3, 32, 40), "uint8"))
    gdal.Open(str(path)).BuildOverviews("NEAREST", [2])
    side = tmp_path / "a.tif.ovr"
    damaged = side.read_bytes().replace(b"<Item sample=", b"<Item \xe4ample ")
    assert damaged != side.read_bytes()
    side.write_bytes(damaged)
    with pytest.raises(RasterError, match="a.tif: GDAL cannot open .*attribute 'äample'"):
        file_list(path)


def test_window_that_does_not_fit_into_memory_is_an_error_of_the_project(tmp_path):
    path = tmp_path / "a.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="2000000000" rasterYSize="2000000000">'
        '<VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
    )
    with pytest.raises(RasterError, match="a.vrt: GDAL cannot read this file"):
        read_window(path, 0, 0, 10**6, 10**9)


@pytest.mark.parametrize("rpcs", [{"LINE_OFF": "12"}, {"LINE_OFF": "abc", "SAMP_OFF": "1"}])
def test_rpcs_that_cannot_be_shifted_are_none(tmp_path, rpcs):
    path = write(tmp_path / "a.tif", ramp())
    items = "".join(f'<MDI key="{name}">{text}</MDI>' for name, text in rpcs.items())
    side = f'<PAMDataset><Metadata domain="RPC">{items}</Metadata></PAMDataset>'
    (tmp_path / "a.tif.aux.xml").write_text(side)
    assert read_info(path).grid.rpcs == ()
