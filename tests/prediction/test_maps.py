import pytest

from datasets.rasters.grids import projection_wkt
from datasets.rasters.reading import Grid
from prediction.maps import map_layers

UTM = projection_wkt(32632)
EAST = "surface normal, to the east", "surface normal, to the south", "surface normal, up"


@pytest.mark.parametrize(
    "place, projection, is_north_up",
    [
        ((0, 0.5, 0, 0, 0, -0.5), UTM, True),
        ((0, 0.5, 0, 0, 0, 0.5), UTM, False),  # south is up
        ((0, -0.5, 0, 0, 0, -0.5), UTM, False),  # columns run west
        ((0, 0.3, 0.4, 0, 0.4, -0.3), UTM, False),  # rotated
        ((0, 0.5, 0, 0, 0, -0.5), "", False),
        (None, "", False),
    ],
)
def test_normals_are_called_what_they_are(place, projection, is_north_up):
    layer = map_layers(["normals"], Grid(2, 2, place, projection), [], (), {})["normals"]
    assert (layer.bands == EAST) == is_north_up
    assert ("along a row, to higher columns" in layer.bands[0]) == (not is_north_up)
    assert layer.unit == ""
