"""Published data sets in the form in which they are downloaded, made small."""

import os
import re
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from osgeo import gdal

from datasets.checks.validation import check_split
from datasets.prepare.__main__ import main
from datasets.rasters.reading import read_raster
from datasets.records.record import find_record
from datasets.tiles.folders import list_tiles
from datasets.tiles.samples import read_tile_window
from tests.published_files import cities, houston, us3d
from tests.published_files import save as write
from tests.published_files import vaihingen as write_vaihingen
from tests.published_forms import FORMS

SMALL_CROPS = replace(FORMS["DFC2019_crp512"], size=32)  # four of them make an image of 64
SMALL = {"places": 8, "images": 2, "width": 64}
CITIES = FORMS["DFC2023"]


def zip_up(folder, name):
    """Packs what is in a folder into <folder's parent>/<name> and empties the folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    with zipfile.ZipFile(folder.parent / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, path.relative_to(folder))
            path.unlink()


def prepare(command, source, folder, *options):
    return main([command, f"--source={source}", f"--folder={folder}", *options])


def first_sample(folder, split):
    record = find_record(folder.name, folder.parent)
    tile = list_tiles(record, split)[0]
    rows, columns = read_raster(tile.rgb).pixels.shape[:2]
    return record, tile, read_tile_window(tile, record, 0, 0, rows, columns)


@pytest.fixture(scope="module")
def vaihingen(tmp_path_factory):
    """Returns a folder with the four zip files of Vaihingen."""
    root = write_vaihingen(tmp_path_factory.mktemp("download"), FORMS["Vaihingen"])
    zip_up(root / "a", "ISPRS_semantic_labeling_Vaihingen.zip")
    zip_up(root / "b", "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE.zip")
    zip_up(root / "c", "nDSM.zip")
    zip_up(root / "d", "Vaihingen_dsm_tiles_geoinfo.zip")
    return root


def test_vaihingen_as_downloaded_is_ready_to_train(vaihingen, tmp_path):
    folder = tmp_path / "mine"
    assert prepare("vaihingen", vaihingen, folder) == 0
    record, tile, sample = first_sample(folder, "train")
    assert [len(list_tiles(record, s)) for s in ("train", "valid", "test")] == [13, 3, 17]
    assert tile.name == "top_mosaic_09cm_area1" and sample["image"].shape == (64, 64, 3)
    built = np.zeros((64, 64), bool)
    built[32:, 32:] = True
    np.testing.assert_allclose(sample["heights"], 12 * built, atol=1e-5)  # 120 decimetres
    assert ((sample["classes"] == record.building_index) == built)[:-1].all()
    assert (sample["classes"][-1] == -1).all()  # black
    place = read_raster(tile.rgb).grid.geotransform
    assert place == pytest.approx((100, 0.09, 0, 5e6, 0, -0.09))  # half a pixel off the tfw
    for split in ("train", "valid", "test"):
        check_split(record, split, list_tiles(record, split), 32)


def test_vaihingen_is_cut_and_made_two_classes(vaihingen, tmp_path):
    folder = tmp_path / "mine"
    assert prepare("vaihingen", vaihingen, folder, "--tile=32", "--binary=true") == 0
    record, tile, sample = first_sample(folder, "valid")
    tiles = list_tiles(record, "valid")
    assert len(tiles) == 3 * 2 * 2
    assert tile.name == "top_mosaic_09cm_area28_000_000" and (sample["classes"] == 0).all()
    built = read_tile_window(tiles[3], record, 0, 0, 32, 32)["classes"]
    assert tiles[3].name.endswith("area28_001_001") and len(record.class_names) == 2
    assert (built[:-1] == record.building_index).all()  # the last row has no labels


def test_one_zip_without_heights_says_where_they_are(vaihingen, tmp_path, capsys):
    source = vaihingen / "ISPRS_semantic_labeling_Vaihingen.zip"
    assert prepare("vaihingen", source, tmp_path / "mine") == 2
    assert "_normalized.jpg" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


@pytest.fixture(scope="module")
def dfc2018(tmp_path_factory):
    return houston(tmp_path_factory.mktemp("houston"), FORMS["DFC2018"])


def test_dfc2018_as_downloaded_is_ready_to_train(dfc2018, tmp_path):
    folder = tmp_path / "mine"
    assert prepare("dfc2018", dfc2018, folder) == 0
    record, tile, sample = first_sample(folder, "train")
    assert [len(list_tiles(record, s)) for s in ("train", "valid", "test")] == [3, 1, 10]
    assert (record.gsd, sample["heights"].shape) == (0.5, (64, 64))
    assert (sample["image"][32:, 32:] >= 120).all() and (sample["image"][:32, 2:] < 90).all()
    # The surface has no data in rows 0 and 1, the terrain in row 2.
    np.testing.assert_array_equal(sample["valid"][:, 0], np.arange(64) > 2)
    assert (sample["heights"][32:, 32:] == 12).all() and (sample["heights"][3:32] == 0).all()
    assert record.class_names[sample["classes"][32, 32]] == "residential buildings"
    assert not (folder / "test/sem").exists()
    check_split(record, "train", list_tiles(record, "train"), 32)


@pytest.mark.parametrize("sentinel", [3.4e38, -9999])
def test_dfc2018_of_another_gsd_lets_no_sentinel_through(tmp_path, sentinel):
    folder = tmp_path / "mine"
    options = ["--gsd=0.3", "--least_valid=0", "--binary=true"]
    form = replace(FORMS["DFC2018"], gaps=(sentinel, sentinel))
    assert prepare("dfc2018", houston(tmp_path / "houston", form), folder, *options) == 0
    record, tile, sample = first_sample(folder, "train")
    stored = read_raster(tile.dsm).pixels
    # Whatever the record masks. Roof and ground are mixed at their border only.
    assert (np.nanmin(stored), np.nanmax(stored)) == (0, 12) and np.isnan(stored).any()
    assert record.gsd == 0.3 and record.class_names[record.building_index] == "building"
    # The first row begins 0.2 m below the upper edge: centres lie 0.7 + 0.6 i pixels of 0.5 m
    # below it, where rows 0 to 2 have no height.
    for column in (0, 100):
        valid = sample["valid"][:, column].tolist()
        assert valid == [int(0.7 + 0.6 * i) > 2 for i in range(106)]
    assert (stored[56:, 56:105] == 12).all() and (stored[4:50] == 0).all()


def test_a_tile_larger_than_a_photo_of_dfc2018_says_so(dfc2018, tmp_path, capsys):
    assert prepare("dfc2018", dfc2018, tmp_path / "mine", "--tile=65") == 2
    assert "is 64 x 64 pixels (rows x columns), less than a tile of 65" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["vaihingen", "dfc2018"])
def test_an_overlap_of_files_that_are_not_cut_is_refused(request, tmp_path, capsys, command):
    source = request.getfixturevalue(command)
    assert prepare(command, source, tmp_path / "mine", "--overlap=0.5") == 2
    assert "overlap is 0.5, but whole files are not cut" in capsys.readouterr().err


def test_dfc2019_keeps_all_images_of_a_place_together(tmp_path):
    folder = tmp_path / "mine"
    source = us3d(tmp_path / "download", SMALL_CROPS, **SMALL)
    assert prepare("dfc2019", source, folder, "--tile=32", "--splits=0.5,0.25,0.25") == 0
    record, _, sample = first_sample(folder, "valid")
    tiles = {s: list_tiles(record, s) for s in ("train", "valid", "test")}
    places = {s: {tile.name[:7] for tile in tiles[s]} for s in tiles}
    assert [len(tiles[s]) for s in tiles] == [32, 16, 16]  # 4, 2, 2 places of 2 x 4 tiles
    assert not (places["train"] & places["valid"] | places["train"] & places["test"])
    assert sample["valid"].tolist() == [[False] * 32] + [[True] * 32] * 31
    assert (sample["heights"][16:, 16:] == 12).all() and (sample["heights"][1:16] == 0).all()
    assert (sample["classes"][16:31, 16:] == record.building_index).all()
    assert (sample["classes"][31] == -1).all()


def test_a_missing_partner_is_named(tmp_path, capsys):
    source = us3d(tmp_path / "download", SMALL_CROPS, **SMALL)
    next(source.rglob("JAX_001_001_CLS.tif")).unlink()
    assert prepare("dfc2019", source, tmp_path / "mine") == 2
    assert "missing: JAX_001_001. They are in" in capsys.readouterr().err


def test_files_of_another_size_are_named(tmp_path, capsys):
    source = us3d(tmp_path / "download", SMALL_CROPS, **SMALL)
    write(next(source.rglob("JAX_001_001_CLS.tif")), np.ones((63, 64), "uint8"))
    assert prepare("dfc2019", source, tmp_path / "mine", "--tile=32") == 2
    assert "JAX_001_001_CLS.tif: 63 x 64" in capsys.readouterr().err


def test_a_source_that_has_changed_is_not_mixed_in(tmp_path, capsys):
    source, folder = us3d(tmp_path / "download", SMALL_CROPS, **SMALL), tmp_path / "mine"
    assert prepare("dfc2019", source, folder, "--tile=32") == 0
    assert prepare("dfc2019", source.rename(tmp_path / "moved"), folder, "--tile=32") == 0
    heights = next((tmp_path / "moved").rglob("JAX_001_001_AGL.tif"))
    os.utime(heights, ns=(0, heights.stat().st_mtime_ns + 1))  # of the same size
    assert prepare("dfc2019", tmp_path / "moved", folder, "--tile=32") == 2
    assert "source_files 48 files" in capsys.readouterr().err


@pytest.mark.parametrize("zipped", [False, True])
def test_a_raster_that_names_other_files_is_refused(tmp_path, capsys, zipped):
    source = us3d(tmp_path / "download", SMALL_CROPS, **SMALL)
    outside = write(tmp_path / "secret.tif", np.ones((64, 64), "float32"))
    text = '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Float32">'
    text += f"<SimpleSource><SourceFilename>{outside}</SourceFilename></SimpleSource>"
    path = next(source.rglob("JAX_001_001_AGL.tif"))
    path.write_text(text + "</VRTRasterBand></VRTDataset>")
    if zipped:
        zip_up(source, "download.zip")
        source = tmp_path / "download.zip"
    assert prepare("dfc2019", source, tmp_path / "mine", "--tile=32") == 2
    message = "neither TIFF nor JPEG" if zipped else "outside the data set"
    assert re.search(f"JAX_001_001_AGL.tif.*{message}", capsys.readouterr().err)


def test_dfc2023_draws_footprints_and_splits_by_place(tmp_path):
    folder = tmp_path / "mine"
    source = cities(tmp_path / "download", CITIES)
    assert prepare("dfc2023", source, folder, "--splits=0.5,0.25,0.25") == 0
    record, _, sample = first_sample(folder, "train")
    towns = {s: {t.name[3] for t in list_tiles(record, s)} for s in ("train", "valid", "test")}
    assert (
        record.gsd == 0.5
        and towns["train"] == {"A"}
        and sorted(map(len, towns.values())) == [1, 1, 1]
    )
    for tile in list_tiles(record, "train"):  # polygons and run-length codes alike
        sample = read_tile_window(tile, record, 0, 0, 64, 64)
        built = sample["classes"] == record.building_index
        np.testing.assert_array_equal(12 * built, sample["heights"])


def test_dfc2023_takes_the_radar_images_along(tmp_path):
    source = cities(tmp_path / "download", CITIES)
    assert prepare("dfc2023", source, tmp_path / "mine", "--tile=32") == 0
    record = find_record("mine", tmp_path)
    tile = list_tiles(record, "train", sar=True)[1]
    name = tile.name.removesuffix("_000_001")
    stored = read_raster(source / f"train/sar/{name}.tif").pixels
    assert (read_raster(tile.sar).pixels == stored[:32, 32:]).all()
    shutil.rmtree(source / "train/sar")
    assert prepare("dfc2023", source, tmp_path / "plain", "--tile=32") == 0
    assert not list(tmp_path.glob("plain/*/sar"))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda path: path.unlink(), "7 radar images .train/sar.; missing: {}. .*or leave all out"),
        (lambda path: write(path, np.zeros((64, 63), "uint8")), "sar/{}.tif: 64 x 63"),
        (
            lambda path: write(path, np.zeros((64, 64, 3), "uint8")),
            "{}.tif has 3 bands, expected 1",
        ),
        (lambda path: write_decibels(path), "{}.tif is int16, expected uint8, uint16, float32"),
    ],
)
def test_a_radar_image_that_does_not_fit_is_named(tmp_path, capsys, spoil, message):
    path = min((cities(tmp_path / "download", CITIES) / "train/sar").iterdir())
    spoil(path)
    assert prepare("dfc2023", tmp_path / "download", tmp_path / "mine") == 2
    assert re.search(message.format(re.escape(path.stem)), capsys.readouterr().err)


def write_decibels(path):
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), 64, 64, 1, gdal.GDT_Int16)
    dataset.FlushCache()


def test_photos_of_two_satellites_need_a_choice(tmp_path, capsys):
    source = cities(tmp_path / "download", CITIES)
    names = sorted(path.stem for path in (source / "train/rgb").glob("SV_B*"))
    for path in [p for name in names for p in (source / "train").rglob(f"{name}.tif")]:
        path.rename(path.with_name(path.name.replace("SV_", "GF2_")))
    footprints = source / "buildings_only_train.json"
    footprints.write_text(footprints.read_text().replace("SV_B", "GF2_B"))
    assert prepare("dfc2023", source, tmp_path / "mine", "--splits=1,0,0") == 2
    message = "2 of GF2 (0.8 m), 6 of SV (0.5 m).*--satellite=GF2 or --satellite=SV"
    assert re.search(re.escape(message).replace(r"\.\*", ".*"), capsys.readouterr().err)
    options = ("--splits=1,0,0", "--satellite=GF2")
    assert prepare("dfc2023", source, tmp_path / "mine", *options) == 0
    record, tile, _ = first_sample(tmp_path / "mine", "train")
    assert record.gsd == 0.8 and tile.name.startswith("GF2_")
    assert len(list_tiles(record, "train")) == 2
