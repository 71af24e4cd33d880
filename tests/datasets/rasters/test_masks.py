"""One raster of 4 x 2 pixels, in which each way to mark a gap hides other pixels."""

import numpy as np
import pytest
from osgeo import gdal

from datasets.rasters.grids import projection_wkt
from datasets.rasters.photos import open_photo
from datasets.rasters.reading import (
    Grid,
    nodata_code,
    read_labels,
    read_raster,
    read_window,
    sample_values,
)
from datasets.rasters.warping import warp, warp_labels

UTM = projection_wkt(32632)
PLACE = (5e5, 1.0, 0.0, 5e6, 0.0, -1.0)


def raster(path, bands, alpha=None, alpha_at=None, kind=gdal.GDT_Byte, nodata=None, mask=None):
    """Writes bands of 10, 11, 12, 13 in the first row and 7 in the second.

    Args:
        alpha: (2, 4) of an alpha band, at `alpha_at` (from 1).
        mask: (2, 4) of an internal mask of all bands.
    """
    count = bands + (alpha is not None)
    dataset = gdal.GetDriverByName("GTiff").Create(
        str(path), 4, 2, count, kind, ["PHOTOMETRIC=MINISBLACK"]
    )
    dataset.SetGeoTransform(PLACE)
    dataset.SetProjection(UTM)
    for number in range(1, count + 1):
        band = dataset.GetRasterBand(number)
        if number == alpha_at:
            band.SetColorInterpretation(gdal.GCI_AlphaBand)
            band.WriteArray(np.array(alpha))
            continue
        band.SetColorInterpretation(gdal.GCI_Undefined)
        band.WriteArray(np.array([[10, 11, 12, 13], [7, 7, 7, 7]]))
        if nodata is not None:
            band.SetNoDataValue(nodata)
    if mask is not None:
        gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", "YES")
        dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
        gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", None)
        dataset.GetRasterBand(1).GetMaskBand().WriteArray(np.array(mask, "uint8") * 255)
    dataset = None
    return path


def valid(path, **keywords):
    return read_window(path, 0, 0, 2, 4, **keywords)[1].astype(int).tolist()


ALPHA = [[1, 0, 1, 1], [1, 1, 1, 1]]  # one pixel is transparent


@pytest.mark.parametrize(
    "kind", [gdal.GDT_Byte, gdal.GDT_Int16, gdal.GDT_Float32, gdal.GDT_Float64]
)
@pytest.mark.parametrize("bands, at", [(1, 2), (1, 1), (3, 4), (4, 5), (4, 1), (4, 3)])
def test_alpha_of_any_type_and_place_hides_pixels(tmp_path, kind, bands, at):
    path = raster(tmp_path / "a.tif", bands, ALPHA, at, kind)
    assert valid(path) == [[1, 0, 1, 1], [1, 1, 1, 1]]


def test_nodata_beside_alpha_hides_pixels_as_well(tmp_path):
    path = raster(tmp_path / "a.tif", 3, ALPHA, 4, nodata=7)
    assert valid(path) == [[1, 0, 1, 1], [0, 0, 0, 0]]


def test_a_nodata_value_without_pixels_leaves_alpha_alone(tmp_path):
    path = raster(tmp_path / "a.tif", 3, ALPHA, 4, nodata=99)
    assert valid(path) == [[1, 0, 1, 1], [1, 1, 1, 1]]


def test_mask_alpha_and_nodata_together(tmp_path):
    path = raster(tmp_path / "a.tif", 3, ALPHA, 4, nodata=7, mask=[[1, 1, 0, 1], [1, 1, 1, 1]])
    assert valid(path) == [[1, 0, 0, 1], [0, 0, 0, 0]]


def test_msk_file_beside_nodata(tmp_path):
    path = raster(tmp_path / "a.tif", 1, nodata=7)
    dataset = gdal.Open(str(path))
    dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
    dataset.GetRasterBand(1).GetMaskBand().WriteArray(np.array(ALPHA, "uint8") * 255)
    dataset = None
    assert (tmp_path / "a.tif.msk").is_file()
    assert valid(path) == [[1, 0, 1, 1], [0, 0, 0, 0]]


def test_nodata_hides_only_pixels_that_have_it_in_every_band_read(tmp_path):
    path = raster(tmp_path / "a.tif", 4, nodata=7)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.GetRasterBand(4).WriteArray(np.array([[200, 200]], "uint8"), 0, 1)  # near infrared
    dataset = None
    assert valid(path) == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert valid(path, bands=[1, 2, 3]) == [[1, 1, 1, 1], [0, 0, 0, 0]]


def test_nodata_of_float32_is_found_although_it_is_rounded(tmp_path):
    path = raster(tmp_path / "a.tif", 1, kind=gdal.GDT_Float32, nodata=7.0000001)
    assert valid(path) == [[1, 1, 1, 1], [0, 0, 0, 0]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_no_data(tmp_path, value):
    path = raster(tmp_path / "a.tif", 1, kind=gdal.GDT_Float32)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.GetRasterBand(1).WriteArray(np.array([[value]]), 2, 1)
    dataset = None
    assert valid(path) == [[1, 1, 1, 1], [1, 1, 0, 1]]


@pytest.mark.parametrize("kind", [gdal.GDT_Byte, gdal.GDT_Float32])
def test_every_way_to_read_a_file_agrees(tmp_path, kind):
    path = raster(tmp_path / "a.tif", 4, ALPHA, 5, kind, nodata=7)
    expected = [[1, 0, 1, 1], [0, 0, 0, 0]]
    vrt = tmp_path / "a.vrt"
    gdal.Translate(str(vrt), str(path), format="VRT")
    grid = Grid(2, 4, PLACE, UTM)
    assert valid(vrt) == expected
    assert read_raster(path).valid.astype(int).tolist() == expected
    assert warp(path, grid, "nearest", [1, 2, 3])[1].astype(int).tolist() == expected
    assert open_photo(path).read(0, 2)[1].astype(int).tolist() == expected
    assert open_photo(path, gsd=1.0).read(0, 2)[1].astype(int).tolist() == expected
    np.testing.assert_array_equal(sample_values(path), [10, 12, 13])


def test_gaps_between_the_sources_of_a_vrt_have_no_data(tmp_path):
    first, bounds = raster(tmp_path / "a.tif", 3), (500006, 5e6, 500010, 4999998)
    gdal.Translate(str(tmp_path / "b.tif"), str(first), outputBounds=bounds).FlushCache()
    gdal.BuildVRT(str(tmp_path / "m.vrt"), [str(first), str(tmp_path / "b.tif")]).FlushCache()
    mosaic = read_window(tmp_path / "m.vrt", 0, 0, 2, 10)
    assert mosaic[1].astype(int).tolist() == [[1] * 4 + [0] * 2 + [1] * 4] * 2
    assert read_window(tmp_path / "m.vrt", 0, 0, 1, 3)[1].all()
    assert not read_window(tmp_path / "m.vrt", 0, 4, 2, 2)[1].any()
    assert open_photo(tmp_path / "m.vrt", gsd=2.0).read(0, 1)[1].tolist() == [[1, 1, 0, 1, 1]]


def test_a_nodata_value_of_all_bands_together(tmp_path):
    path = raster(tmp_path / "a.tif", 3)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.SetMetadataItem("NODATA_VALUES", "7 7 7")
    dataset = None
    assert valid(path) == [[1, 1, 1, 1], [0, 0, 0, 0]]
    assert nodata_code(path) == (7, 7, 7)
    assert read_labels(path, 0, 0, 2, 4, [(7, 7, 7)])[1].all()


@pytest.mark.parametrize("listed, second_row", [([7], 1), ([0, 12], 0)])
def test_a_listed_label_code_is_data_although_it_is_the_nodata_value(tmp_path, listed, second_row):
    path = raster(tmp_path / "a.tif", 1, nodata=7)
    grid = Grid(2, 4, PLACE, UTM)
    for has_label in (read_labels(path, 0, 0, 2, 4, listed)[1], warp_labels(path, grid, listed)[1]):
        assert has_label.astype(int).tolist() == [[1] * 4, [second_row] * 4]


def test_resampling_keeps_the_gaps_of_four_bands(tmp_path):
    rows = np.repeat([0, 90], [24, 72]).astype("uint8")
    path = tmp_path / "rgbn.tif"
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), 96, 96, 4, gdal.GDT_Byte)
    dataset.SetGeoTransform(PLACE)
    dataset.SetProjection(UTM)
    for number in range(1, 5):
        dataset.GetRasterBand(number).WriteArray(np.repeat(rows[:, None], 96, axis=1))
        dataset.GetRasterBand(number).SetNoDataValue(0)
    dataset.GetRasterBand(4).SetColorInterpretation(gdal.GCI_Undefined)
    dataset = None
    for gsd, size in ((None, 96), (2.0, 48), (0.5, 192)):
        photo = open_photo(path, gsd=gsd)
        parts = [photo.read(row, size // 4) for row in range(0, size, size // 4)]
        shares = [has_data.mean() for _, has_data in parts]
        assert shares == [0, 1, 1, 1]
        assert {int(image.max()) for image, _ in parts} == {0, 90}
