import contextlib
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from osgeo import gdal, osr

from datasets.checks import tile_check, validation
from datasets.checks.validation import check_split, remembered_check
from datasets.crops.crop_reader import CropReader, Decoder
from datasets.crops.pipeline import CropPlan, feeding_order, training_dataset
from datasets.rasters.reading import ControlPoints, Grid
from datasets.rasters.writing import write_raster
from datasets.records.record import ClassLabel, Record, find_record
from datasets.tiles.folders import DataError, list_tiles


def grid_of(rows=8, columns=8, gsd=0.5, x=0.0, epsg=32632):
    srs = osr.SpatialReference()
    srs.ImportFromEPSG(epsg)
    return Grid(rows, columns, (5e5 + x, gsd, 0.0, 5e6, 0.0, -gsd), srs.ExportToWkt())


def write_tile(folder, kind, name, pixels=None, grid=None):
    """Writes a file of the train split: by default a good one of 8 x 8 pixels."""
    grid = grid or grid_of()
    shape = (grid.rows, grid.columns)
    good = {
        "rgb": np.full((*shape, 3), 100, "uint8"),
        "dsm": np.full(shape, 3, "float32"),
        "sem": np.full(shape, 2, "uint8"),
    }
    (folder / "train" / kind).mkdir(parents=True, exist_ok=True)
    path = folder / "train" / kind / f"{name}.tif"
    write_raster(path, good[kind] if pixels is None else pixels, grid)
    return path


@pytest.fixture
def record(tmp_path):
    """A data set of two good tiles, a and b; tests spoil one file of b."""
    for kind in ("rgb", "dsm", "sem"):
        for name in ("a", "b"):
            write_tile(tmp_path, kind, name)
    classes = (ClassLabel(2, "ground"), ClassLabel(6, "building"))
    return Record("mine", tmp_path, gsd=0.5, classes=classes, ignore_codes=(65,))


@pytest.fixture
def without_rights(tmp_path, monkeypatch):
    """Returns a context in which paths are relative to tmp_path and root has no special rights."""

    @contextlib.contextmanager
    def context():
        tmp_path.chmod(0o755)
        monkeypatch.chdir(tmp_path)  # its parents are closed to others
        user = os.geteuid()
        try:
            os.seteuid(user or 65534)
            yield
        finally:
            os.seteuid(user)

    return context


def check(record, crop_size=8):
    return check_split(record, "train", list_tiles(record, "train"), crop_size)


def assert_problem(record, pattern, crop_size=8, count=1):
    with pytest.raises(DataError, match=f"(?s){count} problems? in the train split:.*{pattern}"):
        check(record, crop_size)


def test_summary_of_a_good_split(record, tmp_path):
    heights = np.full((8, 8), 5, "float32")
    heights[0] = np.nan
    write_tile(tmp_path, "dsm", "b", heights)
    labels = np.full((8, 8), 6, "uint8")
    labels[:, 0] = 65
    write_tile(tmp_path, "sem", "b", labels)
    summary = check(record)
    assert (summary.split, summary.tiles, summary.gsd, summary.warnings) == ("train", 2, 0.5, ())
    assert summary.valid_pixels == 64 + 56
    assert summary.mean_height == pytest.approx((64 * 3 + 56 * 5) / 120)
    assert summary.class_counts == (64, 56)
    assert summary.shapes == ((8, 8), (8, 8))


def test_summary_of_heights_above_a_terrain(record, tmp_path):
    for name in ("a", "b"):
        write_tile(tmp_path, "dem", name, np.full((8, 8), 1, "float32"))
    summary = check(record)
    assert (summary.valid_pixels, summary.mean_height) == (128, 2)


def test_terrain_is_checked_like_the_heights(record, tmp_path):
    write_tile(tmp_path, "dem", "a", np.ones((8, 8), "float32"))
    write_tile(tmp_path, "dem", "b", np.ones((8, 9), "float32"), grid_of(8, 9))
    assert_problem(record, r"dem.b\.tif: 8 x 9 pixels .rows x columns., but .*rgb.b\.tif has 8 x 8")
    write_tile(tmp_path, "dem", "b", np.ones((8, 8), "float32"), grid_of(x=2))
    assert_problem(record, r"dem.b\.tif: its georeference is 4\.0 pixels off")
    write_tile(tmp_path, "dem", "b", np.ones((8, 8, 2), "float32"))
    assert_problem(record, r"dem.b\.tif: 2 bands, expected 1")


def check_radar(record):
    return check_split(record, "train", list_tiles(record, "train", sar=True), 8)


def test_radar_is_checked_like_the_photo(record, tmp_path):
    for name in ("a", "b"):
        write_tile(tmp_path, "sar", name, np.full((8, 8), 300, "uint16"))
    with pytest.raises(
        DataError, match=r"sar.a\.tif: values reach 300, expected 0-255\. .*sar_scale"
    ):
        check_radar(record)
    assert check_radar(replace(record, sar_scale=0.1)).valid_pixels == 128
    write_tile(tmp_path, "sar", "a", np.full((8, 8), 30, "uint8"))
    write_tile(tmp_path, "sar", "b", np.full((8, 8), 0.5, "float32"))
    with pytest.raises(DataError, match=r"sar.b\.tif: pixels are float32.*Give sar_scale"):
        check_radar(record)
    write_tile(tmp_path, "sar", "b", np.zeros((8, 8, 3), "uint8"))
    with pytest.raises(DataError, match=r"sar.b\.tif: 3 bands, expected 1"):
        check_radar(record)


def test_centre_crop_is_what_counts(record, tmp_path, monkeypatch):
    heights = np.full((8, 8), 90, "float32")
    heights[2:6, 2:6] = np.arange(16).reshape(4, 4)
    for name in ("a", "b"):
        write_tile(tmp_path, "dsm", name, heights)
    middle = replace(record, centre_crop=4)
    summary = check(middle, 4)
    assert summary.shapes == ((4, 4), (4, 4)) and summary.class_counts == (32, 0)
    assert (summary.valid_pixels, summary.mean_height) == (32, 7.5)
    monkeypatch.setattr(tile_check, "BLOCK_PIXELS", 12)  # 3 rows and 1
    assert check(middle, 4) == summary
    assert_problem(
        replace(record, centre_crop=9),
        r"a\.tif: 8 x 8 pixels .*smaller than centre_crop 9",
        count=2,
    )


def test_crop_size_above_the_centre_crop(record):
    middle = replace(record, centre_crop=4)
    assert_problem(
        middle, r"4 x 4 pixels .* in the middle \(centre_crop\) is smaller than crop", count=2
    )


def test_progress_is_reported(record):
    seen = []
    tiles = list_tiles(record, "train")
    check_split(record, "train", tiles, 8, lambda done, count: seen.append((done, count)))
    assert seen == [(1, 2), (2, 2)]


def test_gsd_of_the_files_where_the_record_has_none(record):
    assert check(replace(record, gsd=None)).gsd == 0.5


def test_truncated_file(record, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (8, 8, 3), "uint8")
    path = write_tile(tmp_path, "rgb", "b", noise)
    path.write_bytes(path.read_bytes()[:-100])
    assert_problem(record, r"rgb.b\.tif: GDAL cannot read this file")


@pytest.mark.parametrize("kind, content", [("rgb", b""), ("dsm", b"heights"), ("sem", b"II*\0")])
def test_file_that_is_no_raster(record, tmp_path, kind, content):
    (tmp_path / "train" / kind / "b.tif").write_bytes(content)
    assert_problem(record, rf"{kind}.b\.tif: GDAL cannot open this file")


@pytest.mark.parametrize(
    "kind, shape, message",
    [
        ("rgb", (8, 8, 2), "2 bands, expected 3"),
        ("rgb", (8, 8, 1), "1 band, expected 3"),
        ("dsm", (8, 8, 3), "3 bands, expected 1"),
        ("sem", (8, 8, 3), "3 bands, expected 1"),
    ],
)
def test_wrong_number_of_bands(record, tmp_path, kind, shape, message):
    write_tile(tmp_path, kind, "b", np.zeros(shape, "uint8"))
    assert_problem(record, rf"{kind}.b\.tif: {message}")


def test_palette_image_is_refused_with_advice(record, tmp_path):
    colours = [(2, "ground", (90, 60, 30))]
    for kind in ("rgb", "sem"):  # where label codes may have colours
        path = tmp_path / "train" / kind / "b.tif"
        write_raster(path, np.full((8, 8), 2, "uint8"), grid_of(), colours=colours)
    assert_problem(record, r"rgb.b\.tif: a palette image, expected 3 bands.*-expand rgb")


@pytest.mark.parametrize("kind", ["rgb", "dsm"])
def test_complex_numbers_are_refused(record, tmp_path, kind):
    path, bands = tmp_path / "train" / kind / "b.tif", 3 if kind == "rgb" else 1
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), 8, 8, bands, gdal.GDT_CFloat32)
    dataset.FlushCache()
    assert_problem(record, rf"{kind}.b\.tif: pixels are complex64, expected real numbers")


def test_image_with_alpha_is_right(record, tmp_path):
    dataset = gdal.GetDriverByName("GTiff").Create(
        str(tmp_path / "train" / "rgb" / "b.tif"), 8, 8, 4, gdal.GDT_Byte, ["ALPHA=YES"]
    )
    dataset.GetRasterBand(4).Fill(255)
    dataset = None
    assert check(record).valid_pixels == 128


@pytest.mark.parametrize("kind", ["dsm", "sem"])
def test_sizes_that_differ(record, tmp_path, kind):
    write_tile(tmp_path, kind, "b", grid=grid_of(8, 7))
    assert_problem(record, rf"{kind}.b\.tif: 8 x 7 pixels.*rgb.b\.tif has 8 x 8")


def test_tile_smaller_than_the_crop(record, tmp_path):
    for kind in ("rgb", "dsm", "sem"):
        write_tile(tmp_path, kind, "a", grid=grid_of(32, 32))
    assert_problem(record, r"rgb.b\.tif: 8 x 8 pixels .*smaller than crop_size 32", 32)


@pytest.mark.parametrize("kind", ["dsm", "sem"])
def test_pair_in_different_places(record, tmp_path, kind):
    write_tile(tmp_path, kind, "b", grid=grid_of(x=0.3))
    assert_problem(record, rf"{kind}.b\.tif: its georeference is 0.6 pixels off")


def test_pair_turned_against_each_other(record, tmp_path):
    place = (5e5, 0.3, 0.4, 5e6, 0.4, -0.3)  # 53 degrees, pixels of 0.5 m
    turned = Grid(8, 8, place, grid_of().projection)
    write_tile(tmp_path, "dsm", "b", grid=turned)
    # The upper right corner: 8 pixels times (0.3 - 0.5, 0.4) metres, in pixels of 0.5 m.
    assert_problem(record, r"dsm.b\.tif: its georeference is 7.2 pixels off that of .*b\.tif")
    for kind in ("rgb", "sem"):
        write_tile(tmp_path, kind, "b", grid=turned)
    assert check(record).gsd == 0.5  # all files turned alike


@pytest.mark.parametrize(
    "place", [(5e5, 0, 0, 5e6, 0, 0), (5e5, 0.3535, 0.3535, 5e6, 0.3535, 0.3535)]
)
def test_georeference_without_pixel_size(record, tmp_path, place):
    write_tile(tmp_path, "dsm", "b", grid=replace(grid_of(), geotransform=place))
    assert_problem(record, r"dsm.b\.tif: its georeference gives pixels no size")


def test_less_than_half_a_pixel_apart_is_right(record, tmp_path):
    write_tile(tmp_path, "dsm", "b", grid=grid_of(x=0.2))
    assert check(record).tiles == 2


def test_image_without_georeference_is_right(record, tmp_path):
    write_tile(tmp_path, "rgb", "b", grid=Grid(8, 8, None, ""))
    assert check(record).gsd == 0.5


def test_feet_that_pass_for_metres(record, tmp_path):
    for kind in ("rgb", "dsm", "sem"):
        write_tile(tmp_path, kind, "b", grid=grid_of(gsd=0.5 / 0.3048))
    message = r"3 problems.*dsm.b\.tif: its georeference gives 1.64 m per pixel.*gsd = 0.5"
    with pytest.raises(DataError, match=f"(?s){message}"):
        check(record)


def test_feet_in_a_crs_of_feet_are_right(record, tmp_path):
    for kind in ("rgb", "dsm", "sem"):
        write_tile(tmp_path, kind, "b", grid=grid_of(gsd=0.5 / 0.3048, epsg=2992))
    assert check(record).gsd == 0.5


def test_tiles_of_different_gsd(record, tmp_path):
    for kind in ("rgb", "dsm", "sem"):
        write_tile(tmp_path, kind, "b", grid=grid_of(gsd=0.6))
    assert_problem(replace(record, gsd=None), r"b\.tif: 0.6 m per pixel.*a\.tif has 0.5")


def test_no_gsd_anywhere(record, tmp_path):
    for kind in ("rgb", "dsm", "sem"):
        for name in ("a", "b"):
            write_tile(tmp_path, kind, name, grid=Grid(8, 8, None, ""))
    assert_problem(replace(record, gsd=None), "Give gsd, metres per pixel, in dataset.toml")
    assert check(record).gsd == 0.5


def test_unknown_label_code(record, tmp_path):
    labels = np.full((8, 8), 2, "uint8")
    labels[3, 3:5] = 7
    write_tile(tmp_path, "sem", "b", labels)
    assert_problem(record, r"sem.b\.tif: unknown label codes: 7 \(2 pixels\)")


def test_label_codes_that_are_not_integers(record, tmp_path):
    labels = np.full((8, 8), 2, "float32")
    labels[0, 0] = 2.5  # as interpolation leaves it between two codes
    write_tile(tmp_path, "sem", "b", labels)
    assert_problem(record, r"sem.b\.tif: unknown label codes: 2\.5 \(1 pixel\)\. Known codes: 2")


def test_colour_labels_that_were_saved_as_jpeg(record, tmp_path):
    colours = np.zeros((8, 8, 3), "uint8")
    colours[:, 3:] = [0, 0, 255]
    write_tile(tmp_path, "sem", "a", colours)
    (tmp_path / "train" / "sem" / "b.tif").unlink()
    cv2.imwrite(str(tmp_path / "train" / "sem" / "b.jpg"), colours[..., ::-1])
    classes = (ClassLabel((0, 0, 0), "ground"), ClassLabel((0, 0, 255), "building"))
    coloured = replace(record, classes=classes, ignore_codes=())
    assert_problem(coloured, r"sem.b\.jpg: unknown label codes: \(\d+, .*Known codes: \(0, 0, 0")


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_photo_of_floats_that_are_no_numbers_has_no_data_there(record, tmp_path, value):
    photo = np.full((8, 8, 3), 0.5, "float32")
    write_tile(tmp_path, "rgb", "a", photo)
    photo[0, 0] = value
    write_tile(tmp_path, "rgb", "b", photo)
    assert check(replace(record, rgb_scale=255.0)).valid_pixels == 127


def test_image_of_floats_needs_a_scale(record, tmp_path):
    write_tile(tmp_path, "rgb", "b", np.full((8, 8, 3), 0.5, "float32"))
    assert_problem(record, r"rgb.b\.tif: pixels are float32.*rgb_scale")
    write_tile(tmp_path, "rgb", "a", np.full((8, 8, 3), 1, "uint8"))
    assert check(replace(record, rgb_scale=255.0)).tiles == 2


def test_image_of_16_bits_needs_a_scale(record, tmp_path):
    write_tile(tmp_path, "rgb", "b", np.full((8, 8, 3), 4095, "uint16"))
    assert_problem(record, r"rgb.b\.tif: values reach 4095, expected 0-255.*rgb_scale")
    write_tile(tmp_path, "rgb", "a", np.full((8, 8, 3), 4095, "uint16"))
    assert check(replace(record, rgb_scale=255 / 4095)).tiles == 2


def test_scale_for_16_bits_is_refused_on_8_bits(record):
    scaled = replace(record, rgb_scale=255 / 65535)
    message = r"2 problems.*rgb.a\.tif: pixels are uint8, but rgb_scale 0.00389 makes 0-0.992"
    with pytest.raises(DataError, match=f"(?s){message}"):
        check(scaled)


@pytest.mark.parametrize(
    "dtype, value, scale, found", [("uint16", 3000, 0.25, 750), ("float32", -80, 0.5, -40)]
)
def test_image_that_leaves_the_range_after_its_scale(record, tmp_path, dtype, value, scale, found):
    for name in ("a", "b"):  # a: 40 x 0.25 = 10, 40 x 0.5 = 20
        pixels = np.full((8, 8, 3), 40 if name == "a" else value, dtype)
        write_tile(tmp_path, "rgb", name, pixels)
    scaled = replace(record, rgb_scale=scale)
    assert_problem(scaled, rf"rgb.b\.tif: values reach {found}, expected 0-255.*rgb_scale")


def test_image_of_16_bits_may_be_scaled_by_256(record, tmp_path):
    for name in ("a", "b"):  # 65535 / 256 = 255.996
        write_tile(tmp_path, "rgb", name, np.full((8, 8, 3), 65535, "uint16"))
    assert check(replace(record, rgb_scale=1 / 256)).tiles == 2


def test_scaled_heights_of_floats_are_a_warning(record, tmp_path):
    warning, _ = check(replace(record, height_scale=0.1)).warnings
    assert "dsm/a.tif and 1 more: heights are float32 and height_scale is 0.1" in warning
    for name in ("a", "b"):
        write_tile(tmp_path, "dsm", name, np.full((8, 8), 30, "uint8"))
    assert not any(
        "height_scale" in text for text in check(replace(record, height_scale=0.1)).warnings
    )


def test_labels_that_no_class_is_listed_for_are_a_warning(record, tmp_path):
    write_tile(tmp_path, "sem", "a", np.arange(64, dtype="uint8").reshape(8, 8))
    (warning,) = check(replace(record, classes=(), ignore_codes=())).warnings
    assert "train/sem: 2 label files are not used" in warning and "codes 0, 1, 2, 3" in warning
    colours = np.zeros((8, 8, 3), "uint8")
    colours[0] = [0, 0, 255]
    write_tile(tmp_path, "sem", "a", colours)
    (warning,) = check(replace(record, classes=(), ignore_codes=())).warnings
    assert "codes (0, 0, 0), (0, 0, 255) in a.tif)" in warning


def test_all_nodata_tile_is_a_warning(record, tmp_path):
    write_tile(tmp_path, "dsm", "b", np.full((8, 8), np.nan, "float32"))
    summary = check(record)
    assert len(summary.warnings) == 2 and "b.tif: no pixel has" in summary.warnings[0]
    assert (summary.valid_pixels, summary.mean_height) == (64, 3.0)


def test_infinite_heights_are_no_heights(record, tmp_path):
    heights = np.full((8, 8), 3, "float32")
    heights[0, 0], heights[0, 1] = np.inf, -np.inf
    write_tile(tmp_path, "dsm", "b", heights)
    assert check(record).valid_pixels == 64 + 62 and check(record).mean_height == 3
    write_tile(tmp_path, "dsm", "b", heights * np.inf)
    assert "b.tif: no pixel has both image and height" in check(record).warnings[0]


@pytest.mark.parametrize("height, shown", [(-9999, "-9999 to 3"), (1e10, "3 to 1e.10")])
def test_heights_that_cannot_be_true_stop_a_run(record, tmp_path, height, shown):
    heights = np.full((8, 8), 3, "float32")
    heights[2, 3:5] = height
    write_tile(tmp_path, "dsm", "b", heights)
    assert_problem(record, rf"dsm.b\.tif: 2 heights of 64 beyond -100 to 1000 m.* from {shown}")
    assert_problem(record, r"height_limits = \[-100, 1000\] to dataset.toml")
    limited = check(replace(record, height_limits=(-100.0, 1000.0)))
    assert (limited.valid_pixels, limited.mean_height) == (126, 3)


def test_limits_of_the_record_replace_the_usual_ones(record, tmp_path):
    write_tile(tmp_path, "dsm", "b", np.full((8, 8), 1600, "float32"))
    assert check(replace(record, height_limits=(-100.0, 2000.0))).valid_pixels == 128
    heights = np.array([-100, 1000] * 32, "float32").reshape(8, 8)  # the limits themselves
    write_tile(tmp_path, "dsm", "b", heights)
    assert check(record).valid_pixels == 128


def test_surfaces_that_are_not_on_earth_stop_a_run(record, tmp_path):
    for kind in ("dsm", "dem"):  # the sentinels of both would cancel each other
        for name in ("a", "b"):
            heights = np.full((8, 8), 2000, "float32")
            heights[0, 0] = -9999 if name == "b" else 2000
            write_tile(tmp_path, kind, name, heights)
    assert_problem(record, r"dsm.b\.tif: 1 height beyond -1000 to 10000 m, such as -9999")
    assert check(replace(record, height_limits=(-5.0, 50.0))).valid_pixels == 127


def declare(path, scale=None, unit=None):
    dataset = gdal.Open(str(path), gdal.GA_Update)
    if scale:
        dataset.GetRasterBand(1).SetScale(scale)
    if unit:
        dataset.GetRasterBand(1).SetUnitType(unit)
    dataset = None


def test_declared_scales_and_units_are_converted_and_said(record, tmp_path):
    declare(tmp_path / "train" / "dsm" / "a.tif", scale=0.1)  # 3 decimetres
    declare(tmp_path / "train" / "dsm" / "b.tif", unit="ft")
    summary = check(record)
    assert summary.mean_height == pytest.approx((0.3 + 3 * 0.3048) / 2)
    assert [note.split("dsm/")[1] for note in summary.notes] == [
        "a.tif: heights have Scale 0.1, converted to metres",
        "b.tif: heights have the unit ft (0.3048 m), converted to metres",
    ]
    assert_problem(replace(record, height_scale=0.01), r"dsm.a\.tif declares .*Scale 0.1", count=2)


def test_pixels_that_are_not_square_on_the_ground(record, tmp_path):
    degrees = Grid(8, 8, (9.0, 5e-6, 0.0, 50.0, 0.0, -5e-6), grid_of(epsg=4326).projection)
    for kind in ("rgb", "dsm"):
        write_tile(tmp_path, kind, "b", grid=degrees)
    assert_problem(
        replace(record, gsd=None),
        r"rgb.b\.tif: its pixels are 0.358 m .along a row. x 0.556 m.*"
        r"gdalwarp -t_srs EPSG:32632 -tr 0.457 0.457 -r average b.tif",
    )


@pytest.mark.parametrize(
    "place, count",
    [
        ((0.5, 0.0, 0.0, -0.5 * 1.009), 0),
        ((0.5, 0.0, 0.0, -0.5 * 1.011), 1),
        ((0.3, 0.4, 0.4, -0.3), 0),  # rotated squares
        ((0.5, 0.004, 0.0, -0.5), 0),
        ((0.5, 0.3, 0.0, -0.4), 1),  # sheared: sides of 0.5 m at 53 degrees
    ],
)
def test_pixels_may_differ_from_squares_by_a_hundredth(record, tmp_path, place, count):
    x_step, x_row, y_column, y_step = place
    grid = replace(grid_of(), geotransform=(5e5, x_step, x_row, 5e6, y_column, y_step))
    for kind in ("rgb", "dsm", "sem"):
        write_tile(tmp_path, kind, "b", grid=grid)
    with pytest.raises(DataError, match="squares") if count else contextlib.nullcontext():
        check(record)


def test_a_listed_code_is_a_label_even_where_it_is_the_nodata_of_the_file(record, tmp_path):
    labels = np.full((8, 8), 6, "uint8")
    labels[:2] = 2
    labels[7] = 99  # not listed
    for nodata, counts in ((2, None), (99, (80, 40))):
        write_raster(tmp_path / "train" / "sem" / "b.tif", labels, grid_of(), nodata)
        if counts is None:
            assert_problem(record, r"sem.b\.tif: unknown label codes: 99 .8 pixels.")
        else:
            assert check(record).class_counts == counts
    labels[7] = 6
    write_raster(tmp_path / "train" / "sem" / "b.tif", labels, grid_of(), 2)
    assert check(record).class_counts == (80, 48)


def test_files_that_control_points_place_are_named_with_gdalwarp(record, tmp_path):
    corners = tuple((c, r, 5e5 + c / 2, 5e6 - r / 2, 0.0) for c, r in ((0, 0), (8, 0), (0, 8)))
    grid = Grid(8, 8, None, "", ControlPoints(corners, grid_of().projection))
    for name in ("a", "b"):
        for kind in ("rgb", "dsm", "sem"):
            write_tile(tmp_path, kind, name, grid=grid)
    message = r"rgb.a.tif has 3 ground control points .*gdalwarp -t_srs"
    assert any(re.search(message, text) for text in check(record).warnings)
    assert_problem(replace(record, gsd=None), f"no file has a georeference.*{message}")


def test_a_class_without_a_training_pixel_is_named(record):
    (warning,) = check(record).warnings
    assert "no training pixel has the class building (6)" in warning


def test_files_on_a_network_are_refused_by_training_too(record, tmp_path):
    (tmp_path / "train" / "rgb" / "b.tif").write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand><SimpleSource><SourceFilename>'
        "/vsicurl/http://127.0.0.1:9/b.tif</SourceFilename></SimpleSource></VRTRasterBand>"
        "</VRTDataset>"
    )
    assert_problem(record, r"rgb.b\.tif: a VRT that points to /vsicurl/.*, on a network")


def test_link_in_a_loop_and_link_to_nowhere(record, tmp_path):
    path = tmp_path / "train" / "rgb" / "b.tif"
    path.unlink()
    path.symlink_to(path)
    assert_problem(record, r"rgb.b\.tif: the file cannot be opened \(Too many levels of symbolic")
    path.unlink()
    path.symlink_to(tmp_path / "lost.tif")
    assert_problem(record, r"rgb.b\.tif: the file cannot be opened \(No such file")


def test_pipe_is_not_waited_for(record, tmp_path):
    path = tmp_path / "train" / "dsm" / "b.tif"
    path.unlink()
    os.mkfifo(path)
    assert_problem(record, r"dsm.b\.tif: not a regular file, expected a raster")


def test_file_that_must_not_be_read(record, tmp_path, without_rights):
    (tmp_path / "train" / "dsm" / "b.tif").chmod(0)
    with without_rights():
        assert_problem(replace(record, folder=Path(".")), r"b\.tif: .*\(Permission denied\)")


def test_folder_that_must_not_be_read(record, tmp_path, without_rights):
    (tmp_path / "train" / "dsm").chmod(0)
    message = (
        r"train.dsm: the folder cannot be read \(Permission denied\)\. Correct its permissions"
    )
    with without_rights(), pytest.raises(DataError, match=message):
        check(replace(record, folder=Path(".")))
    (tmp_path / "train" / "dsm").chmod(0o755)


def test_file_that_disappears_between_check_and_training_is_named(record, tmp_path):
    tiles = list_tiles(record, "train")
    assert check(record).tiles == 2
    (tmp_path / "train" / "dsm" / "b.tif").unlink()
    plan = CropPlan(((8, 8), (8, 8)), 8, seed=0)
    reader = CropReader(Decoder(tiles, record, plan.shapes))
    dataset = training_dataset(reader, plan, feeding_order(1), range(4))
    with pytest.raises(tf.errors.OpError, match=r"RasterError: .*dsm.b\.tif: GDAL cannot open"):
        list(dataset)


def test_file_that_disappears_before_the_check_is_named(record, tmp_path):
    tiles = list_tiles(record, "train")
    (tmp_path / "train" / "sem" / "b.tif").unlink()
    with pytest.raises(DataError, match=r"sem.b\.tif: the file cannot be opened \(No such file"):
        check_split(record, "train", tiles, 8)


def test_names_with_spaces_and_letters_of_any_kind_are_read(record, tmp_path):
    for kind in ("rgb", "dsm", "sem"):
        path = tmp_path / "train" / kind / "b.tif"
        path.rename(path.with_name("Straße 東京 #1.tif"))
    assert check(record).tiles == 2
    write_tile(tmp_path, "dsm", "Straße 東京 #1", grid=grid_of(8, 7))
    assert_problem(record, "dsm.Straße 東京 #1.tif: 8 x 7 pixels")


def test_split_without_any_height_is_refused(record, tmp_path):
    for name in ("a", "b"):
        write_tile(tmp_path, "dsm", name, np.full((8, 8), np.nan, "float32"))
    with pytest.raises(DataError, match="no tile has a pixel with both image and height"):
        check(record)


def test_problems_of_all_tiles_are_counted_and_ten_listed(record, tmp_path):
    for i in range(12):
        for kind in ("rgb", "dsm", "sem"):
            write_tile(tmp_path, kind, f"c{i}", grid=grid_of(4, 8) if kind == "dsm" else None)
    with pytest.raises(DataError, match="12 problems in the train split") as error:
        check(record)
    assert str(error.value).count("8 x 8") == 10
    assert "... and 2 more" in str(error.value)


def test_read_only_folder_works_and_stays_as_it_is(record, tmp_path):
    folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
    before = sorted(tmp_path.rglob("*"))
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert check(record).tiles == 2
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert sorted(tmp_path.rglob("*")) == before


def test_real_data_in_feet(autzen):
    record = find_record(autzen.name, autzen.parent)
    record = replace(record, gsd=None)  # as the files say
    summary = check_split(record, "test", list_tiles(record, "test"), 256)
    assert summary.gsd == pytest.approx(0.5, rel=1e-4)
    assert summary.tiles == len(summary.shapes) and summary.warnings == ()
    assert 0 < summary.mean_height < 10 and min(summary.class_counts) > 0


def test_tiles_that_cannot_be_used_may_be_left_out(record, tmp_path):
    (tmp_path / "train" / "dsm" / "a.tif").write_bytes(b"")
    tiles = list_tiles(record, "train")
    summary = check_split(record, "train", tiles, 8, skip=True)
    assert (summary.tiles, summary.unusable, summary.shapes) == (1, ("a",), ((8, 8),))
    assert re.search(r"left out, as bad_tiles is skip: .*dsm.a\.tif", summary.warnings[0])
    (tmp_path / "train" / "dsm" / "b.tif").write_bytes(b"")
    with pytest.raises(DataError, match="2 problems in the train split"):
        check_split(record, "train", tiles, 8, skip=True)


@pytest.mark.parametrize("kind, expected", [("uint8", "uint8"), ("uint16", "float32")])
def test_the_image_type_is_the_smallest_that_holds_all(record, tmp_path, kind, expected):
    write_tile(tmp_path, "rgb", "b", np.full((8, 8, 3), 100, kind))
    assert check(record).image_type == expected


@pytest.fixture
def checked(blocks, tmp_path, monkeypatch):
    """Returns (check, record, calls): a check of a copy of the training split, and its calls."""
    shutil.copytree(blocks, tmp_path / "data")
    record = find_record("blocks", str(tmp_path / "data"))
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return check_split(*arguments)

    monkeypatch.setattr(validation, "check_split", counted)

    def check(record=record, crop_size=32, skip=False):
        tiles = list_tiles(record, "train")
        path = tmp_path / "output" / "train.json"
        return remembered_check(path, record, "train", tiles, crop_size, skip=skip)

    return check, record, calls


def test_a_second_check_repeats_the_first(checked):
    check, record, calls = checked
    assert check() == check() == check_split(record, "train", list_tiles(record, "train"), 32)
    assert len(calls) == 1


def test_changed_files_and_settings_are_checked_again(checked):
    check, record, calls = checked
    check()
    os.utime(record.folder / "train" / "dsm" / "train_0.tif", ns=(1, 1))
    check()
    (record.folder / "train" / "rgb" / "train_1.tif.msk").write_bytes(b"")
    with pytest.raises(DataError, match="train_1.tif"):
        check()
    (record.folder / "train" / "rgb" / "train_1.tif.msk").unlink()
    check(crop_size=64)
    check(replace(record, height_scale=0.5))
    assert len(calls) == 5


def test_a_damaged_file_is_ignored(checked, tmp_path):
    check, _, calls = checked
    first = check()
    (tmp_path / "output" / "train.json").write_text('{"key": 1')
    assert check() == first and len(calls) == 2


def test_a_split_with_a_vrt_is_checked_each_time(checked):
    check, record, calls = checked
    from osgeo import gdal

    folder = record.folder / "train" / "rgb"
    gdal.GetDriverByName("VRT").CreateCopy(
        str(folder / "copy.vrt"), gdal.Open(str(folder / "train_0.tif"))
    )
    (folder / "train_0.tif").rename(record.folder / "train_0.tif")
    text = (folder / "copy.vrt").read_text().replace("train_0.tif", "../../train_0.tif")
    (folder / "train_0.vrt").write_text(text)
    (folder / "copy.vrt").unlink()
    assert check() == check() and len(calls) == 2


def test_a_temporary_fault_is_not_remembered(checked):
    check, record, calls = checked
    path = record.folder / "train" / "dsm" / "train_0.tif"
    whole, times = path.read_bytes(), path.stat()
    path.write_bytes(whole[:700])
    assert check(skip=True).unusable == ("train_0",)
    path.write_bytes(whole)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert check(skip=True).unusable == () and len(calls) == 2


def test_changed_permissions_are_checked_again(checked):
    check, record, calls = checked
    check()
    (record.folder / "train" / "sem" / "train_0.tif").chmod(0o600)
    check()
    assert len(calls) == 2
