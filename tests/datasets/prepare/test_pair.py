"""The script on pairs of rasters: `python -m datasets.prepare pair`."""

import contextlib
import io
import json
import os
import re
import shutil

import numpy as np
import pytest
from osgeo import gdal, osr

from datasets.checks.validation import check_split
from datasets.prepare.__main__ import main
from datasets.rasters.grids import projection_wkt
from datasets.rasters.reading import Grid, read_info, read_raster
from datasets.rasters.writing import write_raster
from datasets.records.record import find_record
from datasets.tiles.folders import list_tiles
from tests.full_disk import file_limit

FOOT = 0.3048
LEFT, TOP = 495000.0, 4875000.0  # in UTM zone 10 north
FEW = ("--tile=64", "--splits=1,0,0")  # 12 tiles of one split, where the splits do not matter


def write(path, pixels, step, left=LEFT, top=TOP, epsg=32610, nodata=None, **meaning):
    grid = Grid(*pixels.shape[:2], (left, step, 0.0, top, 0.0, -step), projection_wkt(epsg))
    write_raster(path, pixels, grid, nodata, **meaning)
    return path


def plane(rows, columns, step, left=LEFT, top=TOP):
    """Returns float32 heights of 100 m + 2 % to the east + 1 % to the north of (LEFT, TOP)."""
    x = left + (np.arange(columns) + 0.5) * step - LEFT
    y = top - (np.arange(rows) + 0.5) * step - TOP
    return (100 + 0.02 * x[None] + 0.01 * y[:, None]).astype("float32")


def make_files(folder):
    """Returns dict of options: a photo of 0.5 m, heights of 0.25 m and 1 m, labels of 2 m."""
    folder.mkdir()
    photo = np.random.default_rng(0).integers(1, 255, (200, 320, 3), "uint8")
    surface = plane(480, 720, 0.25, LEFT + 1.5, TOP + 3) + 7  # 120 m x 180 m
    terrain = plane(120, 180, 1.0, LEFT - 3, TOP + 9)
    codes = np.where(np.arange(90) < 40, 2, 6).astype("uint8") * np.ones((60, 1), "uint8")
    return {
        "image": write(folder / "photo.tif", photo, 0.5),
        "surface": write(folder / "dsm.tif", surface, 0.25, LEFT + 1.5, TOP + 3),
        "terrain": write(folder / "dtm.tif", terrain, 1.0, LEFT - 3, TOP + 9),
        "labels": write(folder / "labels.tif", codes, 2.0, LEFT - 4, TOP + 2),
    }


@pytest.fixture
def files(tmp_path):
    return make_files(tmp_path / "given")


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Returns (files, folder of the data set made of them, what was printed)."""
    root = tmp_path_factory.mktemp("pair")
    files, shown = make_files(root / "given"), io.StringIO()
    with contextlib.redirect_stdout(shown):
        assert run(files, root / "town") == 0
    return files, root / "town", shown.getvalue()


def run(files, folder, *options):
    given = [f"--{name}={path}" for name, path in files.items()]
    return main(["pair", *given, f"--folder={folder}", "--tile=32", *options])


def heights_of(folder):
    return {path.name: read_raster(path) for path in sorted(folder.glob("*/dsm/*.tif"))}


def test_a_pair_becomes_a_data_set_that_training_accepts(town):
    _, folder, shown = town
    record = find_record(folder.name, folder.parent)
    assert (record.gsd, record.crop_size) == (0.5, 32)
    assert record.class_names == ("class_2", "class_6")
    summaries = [check_split(record, s, list_tiles(record, s), 32) for s in ("train", "valid")]
    # The photo is 160 m wide and the surface begins 1.5 m later: 200 x 317 pixels or 6 x 9 tiles,
    # of which two columns are gaps.
    assert [summary.tiles for summary in summaries] == [30, 6]
    assert all(summary.gsd == 0.5 for summary in summaries)
    assert "42 tiles: 30 train, 6 valid, 6 test" in shown and "valid pixels 100.0%" in shown
    assert "12 tiles lie in the gaps" in shown and "label codes 2, 6" in shown


def test_the_difference_of_two_planes_is_constant_everywhere(town):
    heights = heights_of(town[1])
    assert len(heights) == 42
    for raster in heights.values():
        np.testing.assert_allclose(raster.pixels, 7, atol=1e-3)


def test_photo_and_labels_stay_where_they_were(town):
    files, folder, _ = town
    photo = read_raster(files["image"]).pixels
    for path in folder.glob("*/rgb/*.tif"):
        tile = read_raster(path)
        left, _, _, top, _, _ = tile.grid.geotransform
        row, column = round((TOP - top) / 0.5), round((left - LEFT) / 0.5)
        np.testing.assert_array_equal(tile.pixels, photo[row : row + 32, column : column + 32])
        codes = read_raster(path.parents[1] / "sem" / path.name).pixels[0, :, 0]
        # Code 6 begins 40 pixels of 2 m east of LEFT - 4 m.
        x = left + (np.arange(32) + 0.5) * 0.5
        np.testing.assert_array_equal(codes, np.where(x < LEFT - 4 + 80, 2, 6))


def test_nothing_is_written_beside_the_data(town):
    names = sorted(path.name for path in town[0]["image"].parent.iterdir())
    assert names == ["dsm.tif", "dtm.tif", "labels.tif", "photo.tif"]


def test_another_projection_and_unit_give_the_same_heights(files, tmp_path):
    feet = tmp_path / "given" / "feet.tif"
    gdal.Warp(str(feet), str(files["surface"]), dstSRS="EPSG:2992", xRes=1.0, yRes=1.0)
    dataset = gdal.Open(str(feet), gdal.GA_Update)
    heights = dataset.ReadAsArray()
    inside = heights > 0
    dataset.GetRasterBand(1).SetNoDataValue(-9999)
    dataset.GetRasterBand(1).WriteArray(np.where(inside, heights / FOOT, -9999))
    dataset = None
    terrain = tmp_path / "given" / "terrain_feet.tif"
    pixels = read_raster(files["terrain"]).pixels / np.float32(FOOT)
    write(terrain, pixels, 1.0, LEFT - 3, TOP + 9)
    given = files | {"surface": feet, "terrain": terrain}
    options = (*FEW, "--height_scale=0.3048", "--least_valid=0.1")
    assert run(given, tmp_path / "town", *options) == 0
    rasters = heights_of(tmp_path / "town").values()
    for raster in rasters:
        np.testing.assert_allclose(raster.pixels[raster.valid], 7, atol=0.02)
    assert np.mean([raster.valid.mean() for raster in rasters]) > 0.9


def test_gsd_and_nodata_reach_the_tiles(files, tmp_path):
    surface = plane(480, 720, 0.25, LEFT + 1.5, TOP + 3) + 7
    surface[:, 600:] = -32767
    write(files["surface"], surface, 0.25, LEFT + 1.5, TOP + 3, nodata=-32767)
    options = ("--gsd=1", "--tile=26", "--splits=1,0,0", "--least_valid=0.3")
    assert run(files, tmp_path / "town", *options) == 0
    edge = LEFT + 1.5 + 600 * 0.25
    rasters = heights_of(tmp_path / "town").values()
    for raster in rasters:
        left, step, _, _, _, _ = raster.grid.geotransform
        x = left + (np.arange(26) + 0.5) * step
        assert step == 1 and raster.valid.tolist() == [(x - 0.5 < edge).tolist()] * 26
        np.testing.assert_allclose(raster.pixels[raster.valid], 7, atol=0.02)
    assert not all(raster.valid.all() for raster in rasters)


def test_buildings_become_one_class(files, tmp_path):
    assert run(files, tmp_path / "town", *FEW, "--building=6") == 0
    record = find_record("town", tmp_path)
    assert (record.class_names, record.building_index) == (("other", "building"), 1)
    codes = [read_raster(p).pixels for p in (tmp_path / "town").glob("*/sem/*.tif")]
    assert set(np.unique(codes)) == {0, 1}


@pytest.mark.parametrize("nodata, codes", [(0, {0, 1}), (2, {1, 65535})])
def test_others_beside_buildings_are_code_0_even_if_the_file_calls_it_nodata(
    files, tmp_path, capsys, nodata, codes
):
    labels = np.where(read_raster(files["labels"]).pixels == 6, 6, nodata).astype("uint8")
    write(files["labels"], labels, 2.0, LEFT - 4, TOP + 2, nodata=nodata)
    assert run(files, tmp_path / "town", *FEW, "--building=6") == 0
    written = [read_raster(p).pixels for p in (tmp_path / "town").glob("*/sem/*.tif")]
    assert set(np.unique(written)) == codes
    assert ("-unsetnodata" in capsys.readouterr().out) == (nodata == 2)


@pytest.mark.parametrize("nodata, noted", [(2, True), (9, False), (np.nan, False)])
def test_labels_that_are_hidden_by_the_nodata_value_are_noted(
    files, tmp_path, capsys, nodata, noted
):
    codes = read_raster(files["labels"]).pixels
    write(files["labels"], codes, 2.0, LEFT - 4, TOP + 2, nodata=nodata)
    assert run(files, tmp_path / "town", "--tile=128", "--splits=1,0,0") == 0
    shown = capsys.readouterr().out
    # 40 of 90 columns have code 2.
    assert bool(re.search("about 44.4% of .* nodata value 2 .* -unsetnodata", shown)) == noted
    assert ("-unsetnodata" in shown) == noted


def test_a_run_is_resumed_and_other_options_are_refused(files, tmp_path, capsys):
    town = tmp_path / "town"
    run(files, town, *FEW)
    before = heights_of(town)
    for path in list(town.glob("*/dsm/*.tif"))[:5]:
        path.unlink()
    (town / "dataset.toml").write_text("gsd = 0.5\n")
    assert run(files, town, *FEW) == 0
    assert "(7 were there before)" in capsys.readouterr().out
    after = heights_of(town)
    assert before.keys() == after.keys() and (town / "dataset.toml").read_text() == "gsd = 0.5\n"
    assert all((before[n].pixels == after[n].pixels).all() for n in before)
    assert run(files, town, *FEW, "--seed=1") == 2
    assert "prepared with seed 0, not 1" in capsys.readouterr().err


def photo_of(bands, dtype):
    def change(files):
        pixels = np.ones((200, 320, bands), dtype)
        write(files["image"], pixels, 0.5)

    return change


def spoil_surface(value):
    def change(files):
        pixels = read_raster(files["surface"]).pixels.copy()
        pixels[:60, :60] = value
        write(files["surface"], pixels, 0.25, LEFT + 1.5, TOP + 3)

    return change


def rewrite(name, **grid):
    def change(files):
        raster = read_raster(files[name])
        place = {**vars(raster.grid), **grid}
        write_raster(files[name], raster.pixels, Grid(**place))

    return change


def far(files):
    write(files["terrain"], plane(9, 9, 1.0), 1.0, LEFT + 1e5)


def in_unknown_unit(files):
    write(files["surface"], plane(480, 720, 0.25), 0.25, LEFT + 1.5, TOP + 3, unit="parsnip")


def scale_tag(files, scale=0.1, offset=0.0):
    """Stores the heights with tags that make metres of them again."""
    for name in ("surface", "terrain"):
        dataset = gdal.Open(str(files[name]), gdal.GA_Update)
        band = dataset.GetRasterBand(1)
        band.WriteArray((band.ReadAsArray() - offset) / scale)
        band.SetScale(scale)
        band.SetOffset(offset)
        dataset = band = None


def float_labels(files):
    write(files["labels"], np.ones((60, 90), "float32"), 2.0, LEFT - 4, TOP + 2)


def declare_datum(files, name, vertical):
    dataset = gdal.Open(str(files[name]), gdal.GA_Update)
    system = osr.SpatialReference()
    system.SetFromUserInput(f"EPSG:32610+{vertical}")
    dataset.SetProjection(system.ExportToWkt())


def two_datums(files):
    declare_datum(files, "surface", 5703)
    declare_datum(files, "terrain", 5773)


def network(files):
    gdal.BuildVRT(str(files["terrain"].with_suffix(".vrt")), str(files["terrain"])).FlushCache()
    text = files["terrain"].with_suffix(".vrt").read_text()
    text = text.replace('relativeToVRT="1">', 'relativeToVRT="0">/vsicurl/http://x.invalid/')
    files["terrain"].write_text(text)


WRONG = {
    "missing file": (lambda files: files["labels"].unlink(), (), "labels.tif is not a file"),
    "no raster": (lambda files: files["terrain"].write_text("hi"), (), "dtm.tif: GDAL cannot open"),
    "no CRS": (rewrite("surface", projection=""), (), "dsm.tif has no coordinate reference system"),
    "no place": (rewrite("image", geotransform=None), (), "photo.tif has no georeference"),
    "apart": (far, (), "no common area"),
    "small": (lambda files: None, ("--tile=512",), "200 x 317 pixels.*less than a tile of 512"),
    "few tiles": (lambda files: None, ("--tile=90",), "2 x 3 tiles of 90 pixels"),
    "shares": (lambda files: None, ("--splits=0.7,0.2,0.2",), "sum to 1"),
    "4 bands": (photo_of(4, "uint8"), (), "4 bands.*--bands=1,2,3"),
    "bands": (lambda files: None, ("--bands=1,2,4",), "bands is 1, 2, 4, expected .* 1 to 3"),
    "float photo": (photo_of(3, "float32"), (), "float32, expected uint8 or uint16"),
    "16 bit": (photo_of(3, "uint16"), (), "--rgb_scale"),
    "sentinel": (
        spoil_surface(-9999),
        (),
        "dsm.tif has .* beyond -1000 to 10000 m, such as -9999.*--height_nodata",
    ),
    "unit": (in_unknown_unit, (), 'dsm.tif: .*unit "parsnip".*--height_scale=<metres>'),
    "tags": (scale_tag, ("--height_scale=0.01",), "dsm.tif declares .*Scale 0.1.*height_scale"),
    "datums": (two_datums, (), "different vertical datums .*1988.*EGM96"),
    "network": (network, (), "vsicurl.*on a network"),
    "buildings": (
        lambda files: files.pop("labels"),
        ("--building=6",),
        "building .*without labels",
    ),
    "float labels": (float_labels, (), "1 bands of float32, expected 1 band of codes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_line_and_leaves_nothing(files, tmp_path, capsys, name):
    change, options, message = WRONG[name]
    change(files)
    assert run(files, tmp_path / "town", *options) == 2
    shown = capsys.readouterr().err.strip()
    assert re.search(message, shown)
    assert shown.startswith("error: ") and "\n" not in shown
    assert not (tmp_path / "town").exists()


def test_a_folder_of_something_else_is_refused(files, tmp_path, capsys):
    assert run(files, tmp_path / "given") == 2
    assert "holds no preparation.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", ["--tile=0", "--overlap=1", "--gsd=-1", "--splits=1,0", "--bands=1", "--til=64"]
)
def test_wrong_options_are_one_line(files, tmp_path, capsys, option):
    with pytest.raises(SystemExit) as ended:
        run(files, tmp_path / "town", option)
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_named_nodata_and_16_bit_photos_are_prepared(files, tmp_path):
    photo_of(4, "uint16")(files)
    spoil_surface(-9999)(files)
    options = [
        *FEW,
        "--height_nodata=-9999",
        "--rgb-scale=0.00390625",
        "--bands=1,2,3",
        "--least_valid=0.1",
    ]
    assert run(files, tmp_path / "town", *options) == 0
    rasters = heights_of(tmp_path / "town").values()
    assert np.mean([raster.valid.mean() for raster in rasters]) < 1
    assert all(np.abs(raster.pixels[raster.valid] - 7).max() < 0.02 for raster in rasters)
    assert find_record("town", tmp_path).rgb_scale == 1 / 256


def test_named_nodata_is_added_to_what_each_file_declares(files, tmp_path):
    surface = plane(480, 720, 0.25, LEFT + 1.5, TOP + 3) + 7
    surface[:, ::40], surface[:, 20::40] = -500, -9999
    write(files["surface"], surface, 0.25, LEFT + 1.5, TOP + 3, nodata=-500)
    options = [*FEW, "--height_nodata=-9999", "--least_valid=0.1"]
    assert run(files, tmp_path / "town", *options) == 0
    rasters = heights_of(tmp_path / "town").values()
    assert all(np.abs(raster.pixels[raster.valid] - 7).max() < 0.02 for raster in rasters)
    # A tile of 0.5 m averages pairs of columns of 0.25 m: those with one gap have the other.
    assert all(raster.valid.all() for raster in rasters)


@pytest.mark.parametrize("gsd", ["0.26", "0.5"])
def test_a_single_sentinel_is_found_before_it_is_interpolated(files, tmp_path, capsys, gsd):
    surface = plane(480, 720, 0.25, LEFT + 1.5, TOP + 3) + 7
    surface[200, 301] = -9999  # sampling of the file misses it
    write(files["surface"], surface, 0.25, LEFT + 1.5, TOP + 3)
    assert run(files, tmp_path / "town", f"--gsd={gsd}", "--tile=128", "--splits=1,0,0") == 2
    assert "dsm.tif has 1 height of" in (error := capsys.readouterr().err) and "-9999" in error


@pytest.mark.parametrize("scale, offset", [(0.1, 0.0), (0.3048, -50.0)])
def test_scale_and_offset_tags_of_surface_and_terrain_are_applied(
    files, tmp_path, capsys, scale, offset
):
    scale_tag(files, scale, offset)
    assert run(files, tmp_path / "town", *FEW) == 0
    assert re.search(rf"dsm.tif: heights have Scale {scale}.*metres", capsys.readouterr().out)
    for raster in heights_of(tmp_path / "town").values():
        np.testing.assert_allclose(raster.pixels, 7, atol=1e-3)


def test_a_surface_in_feet_and_a_terrain_in_metres(files, tmp_path, capsys):
    surface = (plane(480, 720, 0.25, LEFT + 1.5, TOP + 3) + 7) / np.float32(FOOT)
    write(files["surface"], surface, 0.25, LEFT + 1.5, TOP + 3, unit="ft")
    assert run(files, tmp_path / "town", *FEW) == 0
    assert "dsm.tif: heights have the unit ft (0.3048 m)" in capsys.readouterr().out
    for raster in heights_of(tmp_path / "town").values():
        np.testing.assert_allclose(raster.pixels, 7, atol=1e-3)


def test_heights_above_ground_beyond_the_limits(files, tmp_path, capsys):
    surface = plane(480, 720, 0.25, LEFT + 1.5, TOP + 3) + 7
    surface[200:202, 300:302] = 3000  # a bird or a cloud, above the sea like the rest
    write(files["surface"], surface, 0.25, LEFT + 1.5, TOP + 3)
    options = (*FEW, "--gsd=0.5", "--least_valid=0.1")
    assert run(files, tmp_path / "town", *options) == 2
    assert re.search(
        r"error: train/\S+: the difference of .*dsm.tif and .*dtm.tif has 1 height of .* beyond "
        r"-100 to 1000 m, such as 2\d\d\d.*--height_limits=-100,1000",
        capsys.readouterr().err,
    )
    shutil.rmtree(tmp_path / "town", ignore_errors=True)
    assert run(files, tmp_path / "town", *options, "--height_limits=-100,1000") == 0
    rasters = heights_of(tmp_path / "town").values()
    assert sum(int((~np.isfinite(raster.pixels)).sum()) for raster in rasters) == 1
    assert all(np.abs(raster.pixels[raster.valid] - 7).max() < 0.01 for raster in rasters)


def test_one_vertical_datum_of_two_is_noted(files, tmp_path, capsys):
    declare_datum(files, "surface", 5703)
    assert run(files, tmp_path / "town", *FEW) == 0
    assert re.search("one file declares a vertical datum.*dtm.tif: none", capsys.readouterr().out)


def test_a_file_that_has_changed_is_not_mixed_in(files, tmp_path, capsys):
    mosaic = tmp_path / "given" / "mosaic.vrt"
    gdal.BuildVRT(str(mosaic), str(files["surface"])).FlushCache()
    given = files | {"surface": mosaic}
    assert run(given, tmp_path / "town", *FEW) == run(given, tmp_path / "town", *FEW) == 0
    before = files["surface"].stat()
    os.utime(files["surface"], ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert run(given, tmp_path / "town", *FEW) == 2
    assert "was prepared with surface {'file': 'mosaic.vrt'" in capsys.readouterr().err


def test_heights_above_the_sea_are_warned_about(files, tmp_path, capsys):
    del files["terrain"]
    run(files, tmp_path / "town", *FEW)
    assert "metres above the sea" in capsys.readouterr().out


def test_a_mosaic_of_autzen_gives_the_heights_of_its_tiles(autzen, tmp_path):
    # Two rows of tiles, in which two columns are missing: a mosaic with a hole.
    names = sorted(path.name for path in autzen.glob("train/rgb/AUTZEN_r0[23]_*.tif"))
    given = {"image": "rgb", "surface": "dsm", "labels": "sem"}
    for option, kind in given.items():
        tiles = [str(autzen / "train" / kind / name) for name in names]
        given[option] = tmp_path / f"{kind}.vrt"
        gdal.BuildVRT(str(given[option]), tiles).FlushCache()
    made = tmp_path / "town/train"
    assert run(given, tmp_path / "town", "--tile=256", "--splits=1,0,0", "--least_valid=0") == 0
    places = {n: read_info(autzen / "train/dsm" / n).grid.geotransform[::3] for n in names}
    assert len(list(made.glob("dsm/*.tif"))) == len(names) == 10
    tolerance = {"rgb": 0, "dsm": 1e-3, "sem": 0}  # metres; corners are rounded
    for path in made.glob("dsm/*.tif"):
        place = read_info(path).grid.geotransform[::3]
        (name,) = [n for n, p in places.items() if np.allclose(p, place, atol=0.1)]
        for kind, most in tolerance.items():
            there = read_raster(autzen / "train" / kind / name)
            tile = read_raster(made / kind / path.name)
            np.testing.assert_array_equal(tile.valid, there.valid)
            np.testing.assert_allclose(tile.pixels[tile.valid], there.pixels[tile.valid], atol=most)


def footprints(path, *boxes, codes=None):
    """Writes rectangles (column, row, columns, rows) of the photo as polygons in degrees."""
    utm, degrees = osr.SpatialReference(), osr.SpatialReference()
    utm.ImportFromEPSG(32610)
    degrees.ImportFromEPSG(4326)
    degrees.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    move = osr.CoordinateTransformation(utm, degrees)
    features = []
    for index, (column, row, columns, rows) in enumerate(boxes):
        x, y = LEFT + 0.5 * column, TOP - 0.5 * row
        corners = [(x, y), (x + columns / 2, y), (x + columns / 2, y - rows / 2), (x, y - rows / 2)]
        ring = [list(point[:2]) for point in move.TransformPoints([*corners, corners[0]])]
        features.append(
            {
                "type": "Feature",
                "properties": {"class": codes[index]} if codes else {},
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            }
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def label_counts(folder):
    pixels = np.concatenate([read_raster(p).pixels for p in folder.glob("*/sem/*.tif")])
    return dict(
        zip(*(part.tolist() for part in np.unique(pixels, return_counts=True)), strict=True)
    )


def test_footprints_become_buildings(files, tmp_path, capsys):
    # From column 3 on, where the surface begins, 64 x 64 tiles cover columns 3 to 258.
    boxes = (10, 20, 30, 40), (250, 100, 30, 20), (300, 0, 10, 10)
    given = files | {"labels": footprints(tmp_path / "given/a.geojson", *boxes)}
    assert run(given, tmp_path / "town", *FEW) == 0
    shown = capsys.readouterr().out
    assert "label codes 0, 1" in shown and "3 polygons of" in shown
    assert label_counts(tmp_path / "town") == {0: 12 * 64 * 64 - 1380, 1: 30 * 40 + 9 * 20}
    record = find_record("town", tmp_path)
    assert (record.class_names, record.building_index) == (("other", "building"), 1)
    assert check_split(record, "train", list_tiles(record, "train"), 64).tiles == 12


def test_an_attribute_of_footprints_gives_the_codes(files, tmp_path):
    boxes, codes = [(10, 20, 30, 40), (100, 100, 10, 10), (150, 50, 5, 5)], [3, 7, 9]
    given = files | {"labels": footprints(tmp_path / "given/a.geojson", *boxes, codes=codes)}
    options = (*FEW, "--label_attribute=class")
    assert run(given, tmp_path / "town", *options) == 0
    rest = 12 * 64 * 64 - 1200 - 125
    assert label_counts(tmp_path / "town") == {0: rest, 3: 1200, 7: 100, 9: 25}
    assert find_record("town", tmp_path).class_names == ("class_0", "class_3", "class_7", "class_9")
    assert run(given, tmp_path / "binary", *options, "--building=7,9") == 0
    assert label_counts(tmp_path / "binary") == {0: rest + 1200, 1: 125}
    assert find_record("binary", tmp_path).building_index == 1


def test_a_split_without_a_label_code_is_noted(files, tmp_path, capsys):
    # Stripes are across columns: a house at one end is in one split only.
    given = files | {"labels": footprints(tmp_path / "given/a.geojson", (4, 4, 8, 8))}
    assert run(given, tmp_path / "town", "--tile=48") == 0
    shown = capsys.readouterr().out
    assert len(re.findall("warning: the .* split has no pixel of label code 1;", shown)) == 2


def test_a_changed_attribute_of_a_shapefile_is_not_mixed_in(files, tmp_path, capsys):
    shape = tmp_path / "given/a.shp"
    made = footprints(tmp_path / "made.geojson", (10, 20, 30, 40), codes=[3])
    gdal.VectorTranslate(str(shape), str(made), format="ESRI Shapefile")
    given = files | {"labels": shape}
    options = (*FEW, "--label_attribute=class")
    assert run(given, tmp_path / "town", *options) == run(given, tmp_path / "town", *options) == 0
    before = shape.with_suffix(".dbf").stat()
    os.utime(shape.with_suffix(".dbf"), ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert run(given, tmp_path / "town", *options) == 2
    assert "was prepared with labels {'file': 'a.shp'" in capsys.readouterr().err


MANY = {"boxes": [(10 * i, 20, 5, 5) for i in range(30)] * 9, "codes": list(range(270))}
WRONG_FOOTPRINTS = {
    "image": ((), {}, "image", "a.geojson: a text .XML or JSON. without pixels"),
    "surface": ((), {}, "surface", "a.geojson: a text .XML or JSON. without pixels"),
    "building": (("--building=1",), {}, "labels", "every polygon of .* is a building without"),
    "codes": (
        ("--label_attribute=class", "--building=4"),
        {"codes": [3]},
        "labels",
        "building is 4, but the attribute class of .* is 3",
    ),
    "ids": (("--label_attribute=class",), MANY, "labels", "270 different values, expected at most"),
    "far": ((), {"boxes": [(9999, 0, 9, 9)]}, "labels", "no polygon of layer a overlaps"),
    "raster": (("--label_layer=a",), {}, None, "label_layer is given, but labels is .*labels.tif"),
}


@pytest.mark.parametrize("name", WRONG_FOOTPRINTS)
def test_wrong_footprints_are_one_line_and_leave_nothing(files, tmp_path, capsys, name):
    options, shapes, option, message = WRONG_FOOTPRINTS[name]
    boxes = shapes.get("boxes", [(10, 20, 30, 40)])
    path = footprints(tmp_path / "given/a.geojson", *boxes, codes=shapes.get("codes"))
    assert run(files | ({option: path} if option else {}), tmp_path / "town", *FEW, *options) == 2
    shown = capsys.readouterr().err.strip()
    assert re.search(message, shown)
    assert shown.startswith("error: ") and "\n" not in shown
    assert not (tmp_path / "town").exists()


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(files, tmp_path, capsys):
    with file_limit(2500):  # some photos have more
        assert run(files, tmp_path / "town", *FEW) == 2
    found = capsys.readouterr().err
    assert re.search(r"error: \S*town/\S+\.tif cannot be written: .* allowed\)", found)
    assert "Traceback" not in found
    assert run(files, tmp_path / "town", *FEW) == 0
    whole = tmp_path / "whole"
    run(files, whole, *FEW)
    for path in whole.rglob("*.tif"):
        other = tmp_path / "town" / path.relative_to(whole)
        np.testing.assert_array_equal(read_raster(other).pixels, read_raster(path).pixels)
