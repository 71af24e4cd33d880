import pytest
from osgeo import osr

from datasets.rasters.projections import projection_wkt


def test_utm_zone_by_its_number():
    system = osr.SpatialReference(projection_wkt(32632))
    assert (system.GetUTMZone(), system.GetLinearUnits()) == (32, 1.0)


def test_an_unknown_number_is_named():
    with pytest.raises(ValueError, match="EPSG:99 "):
        projection_wkt(99)
