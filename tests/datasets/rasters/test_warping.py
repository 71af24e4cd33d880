import numpy as np
import pytest
from osgeo import gdal, osr

from datasets.rasters.grids import projection_wkt
from datasets.rasters.reading import Grid, RasterError, pixel_size, sample_values
from datasets.rasters.warping import common_grid, smooth_method, square_grid, warp, warp_heights

UTM, OREGON, DEGREES = "EPSG:32610", "EPSG:2992", "EPSG:4326"  # OREGON is in international feet
FOOT = 0.3048


def wkt(name):
    system = osr.SpatialReference()
    system.SetFromUserInput(name)
    return system.ExportToWkt()


def move(points, source, target):
    """Returns (n, 2) points, east before north, in another CRS."""
    systems = [osr.SpatialReference(wkt(name)) for name in (source, target)]
    for system in systems:
        system.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    moved = osr.CoordinateTransformation(*systems).TransformPoints(points.tolist())
    return np.array(moved)[:, :2]


def write(path, pixels, crs, corner, nodata=None, alpha=False):
    """Writes (rows, columns, bands) with GDAL itself; corner = left, step, top."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    kinds = {"uint8": gdal.GDT_Byte, "uint16": gdal.GDT_UInt16, "float32": gdal.GDT_Float32}
    memory = gdal.GetDriverByName("MEM").Create(
        "", pixels.shape[1], pixels.shape[0], pixels.shape[2], kinds[pixels.dtype.name]
    )
    for i in range(pixels.shape[2]):
        band = memory.GetRasterBand(i + 1)
        band.WriteArray(pixels[..., i])
        if nodata is not None:
            band.SetNoDataValue(nodata)
    if alpha:
        band.SetColorInterpretation(gdal.GCI_AlphaBand)
    left, step, top = corner
    memory.SetGeoTransform((left, step, 0, top, 0, -step))
    if crs:
        memory.SetProjection(wkt(crs))
    gdal.GetDriverByName("GTiff").CreateCopy(str(path), memory)
    return path


def centres(corner, rows, columns):
    """Returns (rows * columns, 2): where the pixel centres lie."""
    left, step, top = corner
    x, y = np.meshgrid(
        left + (np.arange(columns) + 0.5) * step, top - (np.arange(rows) + 0.5) * step
    )
    return np.stack([x.ravel(), y.ravel()], axis=1)


def plane(points):
    """Returns the height of a tilted plane at points in UTM: 100 m, 1 % east and 2 % north."""
    return 100 + 0.01 * (points[:, 0] - 495000) + 0.02 * (points[:, 1] - 4875000)


def utm_grid(rows=40, columns=50, step=1.0, left=495000.0, top=4875000.0):
    return Grid(rows, columns, (left, step, 0.0, top, 0.0, -step), wkt(UTM))


def write_plane(path, crs, step, rows=250, columns=250, **keywords):
    """Writes the plane in another CRS, around the grid of `utm_grid`."""
    middle = move(np.array([[495025.0, 4874980.0]]), UTM, crs)[0]
    corner = (middle[0] - columns / 2 * step, step, middle[1] + rows / 2 * step)
    heights = plane(move(centres(corner, rows, columns), crs, UTM)).reshape(rows, columns)
    return write(path, heights.astype("float32"), crs, corner, **keywords)


@pytest.mark.parametrize(
    "crs, step",
    [(UTM, 1.37), (UTM, 0.25), (OREGON, 0.8 / FOOT), (OREGON, 0.3 / FOOT), (DEGREES, 5e-6)],
)
def test_a_plane_keeps_its_heights_in_any_projection_and_resolution(tmp_path, crs, step):
    path = write_plane(tmp_path / "a.tif", crs, step)
    heights, valid = warp(path, utm_grid(), smooth_method(path, utm_grid()))
    expected = plane(centres((495000.0, 1.0, 4875000.0), 40, 50)).reshape(40, 50)
    assert valid.all()
    np.testing.assert_allclose(heights[..., 0], expected, atol=1e-3)  # a few hundredths of a pixel


def test_bilinear_values_are_those_worked_out_by_hand(tmp_path):
    heights = np.array([[0, 4], [8, 12]], "float32")
    path = write(tmp_path / "a.tif", heights, UTM, (0.0, 1.0, 2.0))
    grid = Grid(1, 1, (0.75, 1.0, 0.0, 1.75, 0.0, -1.0), wkt(UTM))  # centre 3/4 right, 1/4 down
    pixels, _ = warp(path, grid, "bilinear")
    assert pixels[0, 0, 0] == pytest.approx(0.75 * 4 + 0.25 * 8)


def test_shrinking_takes_the_mean_of_the_pixels_with_data(tmp_path):
    heights = np.array([[1, 2, 9, -9], [3, 6, -9, -9], [-9, -9, 0, 0], [-9, -9, 0, 0]], "float32")
    path = write(tmp_path / "a.tif", heights, UTM, (0.0, 1.0, 4.0), nodata=-9)
    grid = Grid(2, 2, (0.0, 2.0, 0.0, 4.0, 0.0, -2.0), wkt(UTM))
    assert smooth_method(path, grid) == "average"
    pixels, valid = warp(path, grid, "average")
    assert pixels[..., 0].tolist() == [[3, 9], [0, 0]]
    assert valid.tolist() == [[True, True], [False, True]]


def test_labels_keep_their_codes(tmp_path):
    codes = np.array([[2, 6], [65, 6]], "uint8")
    path = write(tmp_path / "a.tif", codes, UTM, (0.0, 1.0, 2.0), nodata=65)
    grid = Grid(4, 4, (0.0, 0.5, 0.0, 2.0, 0.0, -0.5), wkt(UTM))
    pixels, valid = warp(path, grid, "nearest")
    assert pixels[..., 0].tolist() == [[2, 2, 6, 6]] * 2 + [[0, 0, 6, 6]] * 2
    assert valid.tolist() == [[True] * 4] * 2 + [[False, False, True, True]] * 2


def test_overviews_do_not_mix_label_codes(tmp_path):
    codes = np.tile(np.array([[2, 6]], "uint8"), (64, 32))
    path = write(tmp_path / "a.tif", codes, UTM, (0.0, 1.0, 64.0))
    gdal.Open(str(path), gdal.GA_Update).BuildOverviews("AVERAGE", [2, 4])
    grid = Grid(16, 16, (0.0, 4.0, 0.0, 64.0, 0.0, -4.0), wkt(UTM))
    assert set(np.unique(warp(path, grid, "nearest")[0])) <= {2, 6}


def test_outside_nodata_and_nan_are_not_valid(tmp_path):
    heights = np.array([[1, -9999, np.nan, 4]], "float32")
    path = write(tmp_path / "a.tif", heights, UTM, (0.0, 1.0, 1.0), nodata=-9999)
    grid = Grid(1, 6, (-1.0, 1.0, 0.0, 1.0, 0.0, -1.0), wkt(UTM))
    pixels, valid = warp(path, grid, "bilinear")
    assert valid.tolist() == [[False, True, False, False, True, False]]
    assert pixels[0, :, 0].tolist() == [0, 1, 0, 0, 4, 0]


def test_values_are_left_out_beside_the_declared_nodata(tmp_path):
    heights = np.array([[1, -9999, 3, -500]], "float32")
    path = write(tmp_path / "a.tif", heights, UTM, (0.0, 1.0, 1.0), nodata=-500)
    grid = Grid(1, 4, (0.0, 1.0, 0.0, 1.0, 0.0, -1.0), wkt(UTM))
    read = warp_heights(path, grid, "bilinear", lambda stored, valid: valid & (stored != -9999))
    np.testing.assert_array_equal(read, [[1, np.nan, 3, np.nan]])
    assert sorted(sample_values(path, -9999)) == [1, 3]


@pytest.mark.parametrize("method, step", [("bilinear", 1.0), ("average", 2.0)])
def test_values_left_out_reach_no_neighbour(tmp_path, method, step):
    heights = np.array([[20, -9999] * 4] * 4, "float32")
    path = write(tmp_path / "a.tif", heights, UTM, (0.0, 1.0, 4.0))
    grid = Grid(
        2, 3, (0.03, step, 0.0, 4.0, 0.0, -step), wkt(UTM)
    )  # 0.03 px off the grid of the file
    read = warp_heights(path, grid, method, lambda stored, valid: valid & (stored > -1000))
    assert set(read[np.isfinite(read)].tolist()) == {20}


def test_integers_are_interpolated_as_fractions(tmp_path):
    heights = np.array([[0, 1, 2]], "uint16")
    path = write(tmp_path / "a.tif", heights, UTM, (0.0, 1.0, 1.0))
    grid = Grid(1, 4, (0.5, 0.5, 0.0, 1.0, 0.0, -1.0), wkt(UTM))
    # Centres at 0.75, 1.25, 1.75, 2.25 m; those of the file at 0.5, 1.5, 2.5 m.
    read = warp_heights(path, grid, "bilinear")
    assert read.dtype == np.float32 and read.tolist() == [[0.25, 0.75, 1.25, 1.75]]


@pytest.mark.parametrize("given", ["nodata", "alpha"])
def test_colours_beside_a_gap_stay_as_they_are(tmp_path, given):
    photo = np.array([[[200, 90, 0], [0, 0, 0]]], "uint8")
    if given == "alpha":
        photo = np.concatenate([photo, [[[255], [0]]]], axis=-1).astype("uint8")
    keywords = {"nodata": 0} if given == "nodata" else {"alpha": True}
    path = write(tmp_path / "a.tif", photo, UTM, (0.0, 1.0, 1.0), **keywords)
    grid = Grid(1, 4, (0.0, 0.5, 0.0, 1.0, 0.0, -1.0), wkt(UTM))
    pixels, valid = warp(path, grid, "bilinear")
    assert valid.tolist() == [[True, True, False, False]]
    assert pixels[0, :2].tolist() == [[200, 90, 0]] * 2


@pytest.mark.parametrize("crs", [UTM, OREGON, DEGREES])
def test_a_raster_read_in_parts_is_the_same(tmp_path, monkeypatch, crs):
    step = {UTM: 0.3, OREGON: 1.0, DEGREES: 3e-6}[crs]
    path = write_plane(tmp_path / "a.tif", crs, step, nodata=0)
    for method in ("bilinear", "average"):
        whole = warp_heights(path, utm_grid(), method)
        with monkeypatch.context() as patch:
            patch.setattr("datasets.rasters.warping.MOST_PIXELS", 2000)
            parts = warp_heights(path, utm_grid(), method)
        assert np.isfinite(whole).all()
        np.testing.assert_allclose(parts, whole, atol=1e-3)


def test_photo_nodata_hides_black_only_and_alpha_is_a_mask(tmp_path):
    photo = np.array([[[0, 0, 0], [200, 0, 0]]], "uint8")
    grid = Grid(1, 2, (0.0, 1.0, 0.0, 1.0, 0.0, -1.0), wkt(UTM))
    path = write(tmp_path / "a.tif", photo, UTM, (0.0, 1.0, 1.0), nodata=0)
    assert warp(path, grid, "bilinear")[1].tolist() == [[False, True]]
    photo = np.concatenate([photo, [[[255], [0]]]], axis=-1).astype("uint8")
    path = write(tmp_path / "b.tif", photo, UTM, (0.0, 1.0, 1.0), alpha=True)
    pixels, valid = warp(path, grid, "bilinear")
    assert pixels.shape == (1, 2, 3) and valid.tolist() == [[True, False]]


def test_a_zero_beside_colours_takes_part_in_their_mean(tmp_path):
    photo = np.array([[[200, 0, 0], [100, 50, 30]]], "uint8")
    path = write(tmp_path / "a.tif", photo, UTM, (0.0, 1.0, 1.0), nodata=0)
    grid = Grid(1, 1, (0.5, 1.0, 0.0, 1.0, 0.0, -1.0), wkt(UTM))  # half of each
    assert warp(path, grid, "bilinear")[0].tolist() == [[[150, 25, 15]]]
    same = Grid(1, 2, (0.0, 1.0, 0.0, 1.0, 0.0, -1.0), wkt(UTM))
    assert warp(path, same, "bilinear")[0].tolist() == photo.tolist()


def test_alpha_counts_when_bands_are_picked(tmp_path):
    photo = np.array([[[10, 20, 30, 255], [11, 21, 31, 0]]], "uint8")
    path = write(tmp_path / "a.tif", photo, UTM, (0.0, 1.0, 1.0), alpha=True)
    grid = Grid(1, 2, (0.0, 1.0, 0.0, 1.0, 0.0, -1.0), wkt(UTM))
    pixels, valid = warp(path, grid, "bilinear", bands=(3, 2, 1))
    assert pixels[0, 0].tolist() == [30, 20, 10] and valid.tolist() == [[True, False]]


def test_bands_are_picked_in_order_and_the_fourth_is_no_alpha(tmp_path):
    photo = np.array([[[10, 20, 30, 0], [11, 21, 31, 0]]], "uint8")
    path = write(tmp_path / "a.tif", photo, UTM, (0.0, 1.0, 1.0))
    grid = Grid(1, 2, (0.0, 1.0, 0.0, 1.0, 0.0, -1.0), wkt(UTM))
    pixels, valid = warp(path, grid, "bilinear", bands=(4, 1, 2))
    assert pixels.tolist() == [[[0, 10, 20], [0, 11, 21]]] and valid.all()


def test_a_photo_keeps_its_own_pixels_inside_the_shared_rectangle(tmp_path):
    photo = write(tmp_path / "a.tif", np.zeros((10, 10, 3), "uint8"), UTM, (100.25, 0.5, 50.25))
    heights = write(tmp_path / "b.tif", np.zeros((4, 4), "float32"), UTM, (101.0, 1.0, 50.0))
    grid = common_grid([photo, heights])
    # Columns from (101 - 100.25) / 0.5 = 1.5 -> 2, up to (105 - 100.25) / 0.5 = 9.5 -> 9.
    assert grid.geotransform == (101.25, 0.5, 0.0, 49.75, 0.0, -0.5)
    assert (grid.rows, grid.columns) == (7, 7)


def test_gsd_in_feet_and_degrees_is_metres(tmp_path):
    feet = write_plane(tmp_path / "a.tif", OREGON, 1 / FOOT)
    degrees = write_plane(tmp_path / "b.tif", DEGREES, 1e-5)
    grid = common_grid([feet, degrees], gsd=2.0)
    assert grid.geotransform[1] == pytest.approx(2 / FOOT) and pixel_size(grid) == pytest.approx(2)
    grid = common_grid([degrees, feet], gsd=2.0)
    assert grid.geotransform[1] == 2 and wkt(UTM) == grid.projection  # zone 10 north


def test_degrees_in_the_south_go_to_a_southern_zone(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((9, 9), "float32"), DEGREES, (151.2, 1e-5, -33.8))
    assert common_grid([path]).projection == projection_wkt(32756)  # Sydney


def test_a_vertical_part_shifts_nothing(tmp_path):
    path = write_plane(tmp_path / "a.tif", UTM + "+5773", 1.0)
    heights, _ = warp(path, utm_grid(), "bilinear")
    expected = plane(centres((495000.0, 1.0, 4875000.0), 40, 50)).reshape(40, 50)
    np.testing.assert_allclose(heights[..., 0], expected, atol=1e-4)


def test_a_raster_without_crs_says_how_to_add_one(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((4, 4), "float32"), "", (0.0, 1.0, 4.0))
    with pytest.raises(RasterError, match="gdal_edit.py -a_srs"):
        common_grid([path])


def test_a_raster_without_georeference_is_refused(tmp_path):
    gdal.GetDriverByName("GTiff").Create(str(tmp_path / "a.tif"), 4, 4).FlushCache()
    with pytest.raises(RasterError, match="no georeference"):
        common_grid([tmp_path / "a.tif"])


def test_rasters_apart_have_no_common_grid(tmp_path):
    photo = write(tmp_path / "a.tif", np.zeros((4, 4, 3), "uint8"), UTM, (0.0, 1.0, 4.0))
    heights = write(tmp_path / "b.tif", np.zeros((4, 4), "float32"), UTM, (4.0, 1.0, 4.0))
    with pytest.raises(RasterError, match="no common area"):
        common_grid([photo, heights])


@pytest.mark.parametrize("crs, corner", [(DEGREES, (1e10, 1, 1e10)), (UTM, (1e308, 1e300, 1e308))])
def test_extents_beyond_all_reason_are_refused(tmp_path, crs, corner):
    whole = write(tmp_path / "a.tif", np.ones((4, 4), "uint8"), UTM, (5e5, 0.5, 5e6))
    wrong = write(tmp_path / "b.tif", np.ones((4, 4), "uint8"), crs, corner)
    with pytest.raises(
        RasterError, match="in pixels of 0.5, their extents in the CRS of the first"
    ):
        common_grid([whole, wrong])


def test_a_gsd_that_makes_too_many_pixels_is_refused(tmp_path):
    path = write(tmp_path / "b.tif", np.ones((4, 4), "uint8"), UTM, (5e5, 0.5, 5e6))
    with pytest.raises(RasterError, match=r"b.tif would have 2e\+12 x 2e\+12 pixels .* of 1e-12 m"):
        square_grid(gdal.Open(str(path)), 1e-12)
