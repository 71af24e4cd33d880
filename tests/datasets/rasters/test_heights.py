import numpy as np
import pytest
from osgeo import gdal, osr

from datasets.rasters.heights import height_units, read_heights, vertical_datum
from datasets.rasters.reading import RasterError

SURVEY_FOOT = 1200 / 3937


def heights_file(folder, stored=(0, 50, 150), kind=gdal.GDT_Int16, unit="", crs="", tags=None):
    """Writes a raster of one row; `tags` are the Scale and Offset of its band."""
    path = folder / "dsm.tif"
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), len(stored), 1, 1, kind)
    band = dataset.GetRasterBand(1)
    band.WriteArray(np.array([stored]))
    band.SetUnitType(unit)
    if tags:
        band.SetScale(tags[0])
        band.SetOffset(tags[1])
    if crs:
        system = osr.SpatialReference()
        system.SetFromUserInput(crs)
        dataset.SetProjection(system.ExportToWkt())
        dataset.SetGeoTransform((5e5, 0.5, 0.0, 5e6, 0.0, -0.5))
    dataset = None
    return path


def metres(path, height_scale=None):
    found, valid = read_heights(path, (0, 0, 1, 3), height_scale)
    assert found.dtype == np.float32 and valid.all()
    return found[0].tolist()


def test_scale_and_offset_tags_are_applied(tmp_path):
    path = heights_file(tmp_path, tags=(0.1, -2.0))
    assert metres(path) == pytest.approx([-2, 3, 13])
    assert height_units(path).note == "heights have Scale 0.1 and Offset -2, converted to metres"


@pytest.mark.parametrize(
    "unit, crs, factor",
    [
        ("", "", 1.0),
        ("metre", "", 1.0),
        ("[m]", "EPSG:32632+5703", 1.0),
        ("cm", "", 0.01),
        ("ft", "", 0.3048),
        ("International feet", "", 0.3048),
        ("US survey foot", "", SURVEY_FOOT),
        ("us_survey_feet", "", SURVEY_FOOT),
        ("U.S. Survey Feet", "", SURVEY_FOOT),
        ("feet (US survey)", "", SURVEY_FOOT),
        ("Foot_US", "", SURVEY_FOOT),
        ("[ft_i]", "", 0.3048),
        ("ftUS", "EPSG:32610+6360", SURVEY_FOOT),
        ("", "EPSG:32610+6360", SURVEY_FOOT),
        ("", "EPSG:2992+8228", 0.3048),
        ("", "EPSG:2992+5703", 1.0),
        ("", "EPSG:2992", 1.0),  # feet on the ground say nothing of the heights
        ("", "EPSG:4979", 1.0),
    ],
)
def test_declared_units_become_metres(tmp_path, unit, crs, factor):
    path = heights_file(tmp_path, unit=unit, crs=crs)
    assert metres(path) == pytest.approx([0, 50 * factor, 150 * factor])
    assert ("converted to metres" in height_units(path).note) == (factor != 1)


def test_scale_tag_and_unit_work_together(tmp_path):
    path = heights_file(tmp_path, unit="ft", tags=(0.1, 10.0))
    assert metres(path) == pytest.approx([3.048, 4.572, 7.62])
    assert (
        height_units(path).note
        == "heights have Scale 0.1 and Offset 10 in the unit ft (0.3048 m), converted to metres"
    )


def test_height_scale_counts_where_the_file_says_nothing_else(tmp_path):
    assert metres(heights_file(tmp_path), 0.1) == pytest.approx([0, 5, 15])
    assert metres(heights_file(tmp_path, unit="parsnip"), 0.1) == pytest.approx([0, 5, 15])
    assert metres(heights_file(tmp_path, unit="m", crs="EPSG:32610+6360"), 1) == [0, 50, 150]
    assert metres(heights_file(tmp_path, tags=(0.1, 1)), 0.1) == pytest.approx([1, 6, 16])
    # The two feet differ by less than anybody writes down.
    assert metres(heights_file(tmp_path, unit="ftUS"), 0.3048) == pytest.approx(
        [0, 15.24, 45.72], rel=1e-5
    )


@pytest.mark.parametrize(
    "unit, crs, tags, height_scale, message",
    [
        ("", "", (0.1, 0), 1.0, r"Scale 0.1, but height_scale is 1.*-scale 1 -offset 0 dsm.tif"),
        ("ft", "", None, 1.0, r"unit ft \(0.3048 m\), but height_scale is 1.*-units m dsm.tif"),
        ("parsnip", "", None, None, 'the unit "parsnip", which is not known.*height_scale = <'),
        ("m", "EPSG:32610+6360", None, None, 'unit "m", but the vertical CRS in units of 0.3048'),
        ("", "", (0.0, 0), None, "Scale 0 and Offset 0, expected a number above 0"),
        ("", "", (float("nan"), 0), None, "Scale nan"),
        ("feet above the sea", "", None, None, 'the unit "feet above the sea", which is not known'),
    ],
)
def test_contradictions_are_refused(tmp_path, unit, crs, tags, height_scale, message):
    path = heights_file(tmp_path, unit=unit, crs=crs, tags=tags)
    with pytest.raises(RasterError, match=message):
        height_units(path, height_scale)


def test_a_unit_of_metres_beside_height_scale_is_said(tmp_path):
    path = heights_file(tmp_path, unit="metre")
    assert metres(path, 0.1) == pytest.approx([0, 5, 15])
    note = height_units(path, 0.1).note
    assert note == "the unit metre is taken for that of stored heights x height_scale 0.1"


def mosaic(folder, units):
    """Writes a VRT of a raster of each unit, side by side, as gdalbuildvrt makes it: without."""
    parts = []
    for number, unit in enumerate(units):
        place = folder / str(number)
        place.mkdir()
        parts.append(str(heights_file(place, unit=unit)))
        dataset = gdal.Open(parts[-1], gdal.GA_Update)
        dataset.SetGeoTransform((5e5 + 3 * number, 1, 0, 5e6, 0, -1))
        dataset = None
    gdal.BuildVRT(str(folder / "dsm.vrt"), parts)
    assert gdal.Open(str(folder / "dsm.vrt")).GetRasterBand(1).GetUnitType() == ""
    return folder / "dsm.vrt"


def test_a_vrt_has_the_unit_of_its_parts(tmp_path):
    path = mosaic(tmp_path, ["ft", "foot"])
    assert metres(path) == pytest.approx([0, 15.24, 45.72])
    gdal.BuildVRT(str(tmp_path / "outer.vrt"), [str(path)])
    assert metres(tmp_path / "outer.vrt") == pytest.approx([0, 15.24, 45.72])


def test_parts_of_a_vrt_in_different_units_are_refused(tmp_path):
    with pytest.raises(RasterError, match='parts have different units .*: "ft".*: "none"'):
        height_units(mosaic(tmp_path, ["ft", ""]))


def test_heights_beyond_float32_stay_heights(tmp_path):
    path = heights_file(tmp_path, (1e301, -1e301, 2), gdal.GDT_Float64)
    most = float(np.finfo("float32").max)
    assert metres(path) == [most, -most, 2]


def test_several_bands_are_no_heights(tmp_path):
    gdal.GetDriverByName("GTiff").Create(str(tmp_path / "a.tif"), 2, 2, 2, gdal.GDT_Float32)
    with pytest.raises(RasterError, match="2 bands .*expected 1 of heights"):
        read_heights(tmp_path / "a.tif", (0, 0, 2, 2))


@pytest.mark.parametrize(
    "crs, datum",
    [
        ("EPSG:32610", None),
        ("EPSG:32610+5703", "North American Vertical Datum 1988"),
        ("EPSG:32610+6360", "North American Vertical Datum 1988"),  # the same in feet
        ("EPSG:32610+5773", "EGM96 geoid"),
        ("EPSG:4979", "ellipsoid of WGS_1984"),
    ],
)
def test_the_declared_vertical_datum_is_found(tmp_path, crs, datum):
    assert vertical_datum(heights_file(tmp_path, crs=crs)) == datum
