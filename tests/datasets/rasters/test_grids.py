import pytest
from osgeo import osr

from datasets.rasters.grids import projection_wkt, same_projection


def test_utm_zone_by_its_number():
    system = osr.SpatialReference(projection_wkt(32632))
    assert (system.GetUTMZone(), system.GetLinearUnits()) == (32, 1.0)


def test_an_unknown_number_is_named():
    with pytest.raises(ValueError, match="EPSG:99 "):
        projection_wkt(99)


@pytest.mark.parametrize(
    "first, second, same",
    [
        ("EPSG:32610", "EPSG:32610+5703", True),  # with heights above the geoid
        ("EPSG:4326", "EPSG:4979", True),  # with ellipsoidal heights
        ("EPSG:32632", "EPSG:32633", False),
        ("EPSG:32632", "EPSG:2056", False),
    ],
)
def test_vertical_parts_do_not_count(first, second, same):
    texts = []
    for name in (first, second):
        system = osr.SpatialReference()
        system.SetFromUserInput(name)
        texts.append(system.ExportToWkt())
    assert same_projection(*texts) == same_projection(*texts[::-1]) == same


def test_no_projection_agrees_with_any():
    assert same_projection("", projection_wkt(32632))
