import numpy as np
import pytest
from osgeo import gdal

from datasets.rasters.grids import projection_wkt
from datasets.rasters.photos import file_state, open_photo, open_radar
from datasets.rasters.reading import Grid, RasterError
from datasets.rasters.writing import write_raster

UTM = (5e5, 0.5, 0.0, 5e6, 0.0, -0.5)


def grid(rows, columns, place=UTM, epsg=32632):
    return Grid(rows, columns, place, projection_wkt(epsg) if epsg else "")


def colours(rows=8, columns=6, bands=3, kind="uint8"):
    """Pixels from 10 on, another number in each pixel and band."""
    return (10 + np.arange(rows * columns * bands)).reshape(rows, columns, bands).astype(kind)


def photo_file(folder, pixels, place=UTM, epsg=32632, nodata=None):
    path = folder / "scene.tif"
    write_raster(path, pixels, grid(*pixels.shape[:2], place, epsg), nodata)
    return path


def test_rows_come_as_0_to_255(tmp_path):
    photo = open_photo(photo_file(tmp_path, colours()))
    image, valid = photo.read(2, 3)
    assert (photo.gsd, photo.notes, image.dtype) == (0.5, (), np.float32)
    np.testing.assert_array_equal(image, colours()[2:5])
    assert valid.shape == (3, 6) and valid.all()


def test_nodata_is_not_valid_and_zero(tmp_path):
    pixels = colours()
    pixels[1, 2] = 7
    pixels[1, 3, 0] = 7  # one band alone is a colour
    image, valid = open_photo(photo_file(tmp_path, pixels, nodata=7)).read(0, 8)
    assert np.argwhere(~valid).tolist() == [[1, 2]]
    assert image[1, 2].tolist() == [0, 0, 0] and image[1, 3, 0] == 7


def test_alpha_is_a_mask_and_noted(tmp_path):
    path = tmp_path / "a.tif"
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), 6, 8, 4, gdal.GDT_Byte)
    dataset.GetRasterBand(1).Fill(50)
    dataset.GetRasterBand(4).WriteArray(np.array([[0, 255]], "uint8"), 0, 0)
    dataset = None
    photo = open_photo(path)
    assert photo.read(0, 1)[1].tolist() == [[False, True, False, False, False, False]]
    assert photo.notes == ("band 4 is alpha: where it is 0 there is no data",)


def test_near_infrared_is_left_out_and_noted(tmp_path):
    path = photo_file(tmp_path, colours(bands=4))
    photo = open_photo(path)
    np.testing.assert_array_equal(photo.read(0, 8)[0], colours(bands=4)[..., :3])
    assert photo.notes == ("of 4 bands, [1, 2, 3] are taken as red, green, blue",)


def test_colours_are_found_by_the_interpretation_of_the_bands(tmp_path):
    path = photo_file(tmp_path, colours(bands=4))  # as of Planet: blue, green, red, infrared
    dataset = gdal.Open(str(path), gdal.GA_Update)
    for number, colour in enumerate((gdal.GCI_BlueBand, gdal.GCI_GreenBand, gdal.GCI_RedBand), 1):
        dataset.GetRasterBand(number).SetColorInterpretation(colour)
    dataset = None
    photo = open_photo(path)
    assert photo.bands == (3, 2, 1)
    np.testing.assert_array_equal(photo.read(0, 8)[0], colours(bands=4)[..., [2, 1, 0]])


def test_16_bits_are_scaled_as_in_training(tmp_path):
    path = photo_file(tmp_path, colours(kind="uint16") * 16)
    image, _ = open_photo(path, rgb_scale=1 / 16).read(0, 8)
    np.testing.assert_allclose(image, colours())


def test_8_bits_do_not_become_dark_after_a_training_on_16(tmp_path):
    photo = open_photo(photo_file(tmp_path, colours()), rgb_scale=1 / 16)
    assert "8 bits are taken as 0-255" in photo.notes[0]
    np.testing.assert_array_equal(photo.read(0, 8)[0], colours())


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (colours(bands=1), "1 band, expected 3: red, green, blue"),
        (colours(bands=2), "2 bands, expected 3"),
        (colours(kind="uint16") * 16, r"uint16 values from 160 to 2\d+, expected 0-255.*-scale"),
        (colours(kind="float32") / 255, "look like 0-1.*-scale 0 1 0 255"),
    ],
)
def test_other_rasters_are_refused_with_advice(tmp_path, pixels, message):
    with pytest.raises(RasterError, match=message):
        open_photo(photo_file(tmp_path, pixels))


def test_single_values_beyond_the_range_are_clipped_and_counted(tmp_path):
    pixels = colours(300, 300, kind="float32") % 200 + 10
    pixels[151, 151], pixels[151, 152, 0], pixels[0, 0] = 4000, -7, 300
    photo = open_photo(
        photo_file(tmp_path, pixels)
    )  # the sample that is checked includes the corner
    np.testing.assert_array_equal(photo.read(151, 1)[0][0], pixels[151].clip(0, 255))
    assert photo.clipped == 2


def test_a_dark_strip_of_a_bright_photo_is_read(tmp_path):
    pixels = colours(20, 6, kind="float32") % 250
    pixels[10:] = 0.7
    photo = open_photo(photo_file(tmp_path, pixels))
    np.testing.assert_array_equal(photo.read(10, 10)[0], pixels[10:])


@pytest.mark.parametrize(("kind", "scale"), [("uint16", 1 / 16), ("float32", 1)])
def test_values_beyond_the_range_from_cubic_resampling_are_clipped(tmp_path, kind, scale):
    checks = np.indices((8, 6)).sum(axis=0) // 2 % 2 * 255 / scale  # edges from 0 to 255
    pixels = np.repeat(checks[..., None], 3, axis=-1).astype(kind)
    photo = open_photo(photo_file(tmp_path, pixels), rgb_scale=scale, gsd=0.2)
    image, _ = photo.read(0, photo.grid.rows)
    assert (image.min(), image.max()) == (0, 255) and photo.clipped > 0


def test_infrared_first_is_refused_with_the_bands_names(tmp_path):
    path = photo_file(tmp_path, colours())
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.GetRasterBand(1).SetColorInterpretation(gdal.GCI_CyanBand)
    dataset = None
    with pytest.raises(RasterError, match="Cyan, .*gdal_translate -b"):
        open_photo(path)


def test_a_photo_without_georeference_has_no_gsd(tmp_path):
    photo = open_photo(photo_file(tmp_path, colours(), None, None))
    assert photo.gsd is None and photo.grid.projection == ""
    with pytest.raises(RasterError, match="no georeference"):
        open_photo(photo.path, gsd=0.5)


def test_degrees_are_measured_in_metres(tmp_path):
    # a ten-thousandth of a degree at the equator: 11.13 m east, 11.06 m north
    place = (0.0, 1e-4, 0.0, 4e-4, 0.0, -1e-4)
    photo = open_photo(photo_file(tmp_path, colours(), place, 4326))
    assert photo.gsd == pytest.approx((11.132 + 11.057) / 2, abs=0.001)


def test_web_mercator_is_measured_on_the_ground(tmp_path):
    # at y = 6,378,137 m x arsinh(tan 60 degrees) = 8,399,738 m: half as long as they say
    place = (0.0, 1.0, 0.0, 8399742.0, 0.0, -1.0)
    path = photo_file(tmp_path, colours(), place, 3857)
    assert open_photo(path).gsd == pytest.approx(0.5, abs=1e-6)
    photo = open_photo(path, gsd=0.25)
    assert (photo.grid.rows, photo.grid.columns) == (16, 12)


def test_coarser_pixels_are_means_of_finer_ones(tmp_path):
    photo = open_photo(photo_file(tmp_path, colours()), gsd=1.0)
    assert (photo.grid.rows, photo.grid.columns) == (4, 3)
    assert photo.grid.geotransform == (5e5, 1.0, 0.0, 5e6, 0.0, -1.0)
    means = colours().reshape(4, 2, 3, 2, 3).mean(axis=(1, 3))
    strips = [photo.read(row, 1)[0] for row in range(4)]
    np.testing.assert_allclose(np.concatenate(strips), means, atol=0.5)  # 8 bits


def test_resampling_keeps_gaps_and_gives_square_pixels_in_degrees(tmp_path):
    pixels = colours(60, 60) % 90 + 10
    pixels[:30] = 7
    place = (0.0, 1e-4, 0.0, 60.006, 0.0, -1e-4)  # at 60 degrees: 5.6 m east, 11.1 m north
    photo = open_photo(photo_file(tmp_path, pixels, place, 4326, nodata=7), gsd=11.14)
    assert (photo.grid.rows, photo.grid.columns) == (60, 30)
    _, valid = photo.read(0, 60)
    assert not valid[:29].any() and valid[31:].all()


def test_resampling_hides_only_what_is_nodata_in_every_band(tmp_path):
    pixels = colours()
    pixels[:2, :2, 0] = 7
    photo = open_photo(photo_file(tmp_path, pixels, nodata=7), gsd=1.0)
    image, valid = photo.read(0, 4)
    assert valid.all()
    np.testing.assert_allclose(image[0, 0], pixels[:2, :2].mean(axis=(0, 1)), atol=0.5)


def test_resampling_averages_pixels_and_not_overviews(tmp_path):
    checks = (np.indices((8, 6)).sum(axis=0) % 2 * 200).astype("uint8")
    path = photo_file(tmp_path, np.repeat(checks[..., None], 3, axis=-1))
    gdal.Open(str(path), gdal.GA_Update).BuildOverviews("NEAREST", [2])
    np.testing.assert_allclose(open_photo(path, gsd=1.0).read(0, 4)[0], 100)


def test_strips_of_a_resampled_scene_equal_the_scene_read_at_once(tmp_path):
    photo = open_photo(photo_file(tmp_path, colours(40, 30) % 180), gsd=0.3)
    whole, _ = photo.read(0, photo.grid.rows)
    np.testing.assert_array_equal(photo.read(20, 7)[0], whole[20:27])


def test_radar_must_lie_on_the_grid_of_the_photo(tmp_path):
    photo = open_photo(photo_file(tmp_path, colours()))
    write_raster(tmp_path / "sar.tif", colours(bands=1), grid(8, 6))
    radar = open_radar(tmp_path / "sar.tif", photo.grid, scale=2.0)
    np.testing.assert_array_equal(radar.read(0, 8)[0], colours(bands=1) * 2.0)
    write_raster(tmp_path / "moved.tif", colours(bands=1), grid(8, 6, (5e5 + 1, *UTM[1:])))
    with pytest.raises(RasterError, match="moved.tif.*gdalwarp"):
        open_radar(tmp_path / "moved.tif", photo.grid)
    with pytest.raises(RasterError, match="3 bands, expected 1"):
        open_radar(photo.path, photo.grid)


def test_a_changed_part_of_a_mosaic_changes_its_state(tmp_path):
    path = photo_file(tmp_path, colours())
    gdal.BuildVRT(str(tmp_path / "mosaic.vrt"), [str(path)]).FlushCache()
    before = file_state(tmp_path / "mosaic.vrt")
    photo_file(tmp_path, colours(9))
    assert len(before) == 2 and file_state(tmp_path / "mosaic.vrt") != before


@pytest.fixture
def mosaic(tmp_path):
    """Returns a function (source) -> a VRT in a folder of its own."""
    path, scene = tmp_path / "mosaics" / "all.vrt", photo_file(tmp_path, colours())
    path.parent.mkdir()
    gdal.Translate(str(path), str(scene), format="VRT")
    before = path.read_text()

    def make(source):
        path.write_text(before.replace(str(scene), source))
        return path

    return make


def test_mosaic_of_files_elsewhere_is_read_and_says_so(tmp_path, mosaic):
    photo = open_photo(mosaic(str(tmp_path / "scene.tif")))
    assert photo.notes == (f"its pixels come from 1 file in {tmp_path}",)
    np.testing.assert_array_equal(photo.read(0, 8)[0], colours())


@pytest.mark.parametrize("source", ["/vsicurl/http://127.0.0.1:9/a.tif", "http://127.0.0.1:9/a"])
def test_mosaic_of_a_network_is_refused_before_it_is_opened(mosaic, source):
    path = mosaic(source)
    for call in (open_photo, lambda path: open_radar(path, grid(8, 6))):
        with pytest.raises(RasterError, match=f"all.vrt: a VRT that points to {source}, on a netw"):
            call(path)


def test_description_of_a_map_service_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    path.write_text(
        "<GDAL_WMS><Service><ServerUrl>http://127.0.0.1:9/</ServerUrl></Service></GDAL_WMS>"
    )
    with pytest.raises(RasterError, match=r"a text \(XML or JSON\) without pixels"):
        open_photo(path)
