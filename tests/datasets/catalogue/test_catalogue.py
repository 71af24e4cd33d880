"""The catalogue's facts, and files of exactly the published kinds read by its records."""

from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal

from datasets.catalogue import CATALOGUE
from datasets.catalogue.__main__ import PAGE, page
from datasets.catalogue.entries import fork_weights
from datasets.rasters.grids import projection_wkt
from datasets.rasters.reading import Grid, read_info
from datasets.rasters.writing import write_raster
from datasets.records.record import find_record, parse_record
from datasets.tiles.folders import Tile
from datasets.tiles.labels import LabelError
from datasets.tiles.samples import read_tile_window
from settings.loading import load

PUBLISHED = (
    "Demo Vaihingen DFC2018 Vaihingen_crp256 DFC2018_crp256 DFC2019_crp256 DFC2019_crp512 "
    "Vaihingen_crp256_bin DFC2018_crp256_bin DFC2019_crp256_bin DFC2019_crp512_bin DFC2023 "
    "DFC2023S DFC2023A DFC2023Asmall DFC2023mini DFC2023Amini Dublin SSBH Huawei_Contest"
).split()


def record_of(name):
    return parse_record(CATALOGUE[name], Path("data") / name, name)


def sample_of(folder, name, dsm, sem=None, rgb=None, size=None, **more):
    """Writes the arrays as GeoTIFFs without nodata value and reads them by a record."""
    rgb = np.full((*dsm.shape, 3), 50, "uint8") if rgb is None else rgb
    paths = {}
    for kind, pixels in {"rgb": rgb, "dsm": dsm, "sem": sem, **more}.items():
        if pixels is not None:
            paths[kind] = folder / f"{kind}.tif"
            write_raster(paths[kind], pixels, Grid(*pixels.shape[:2], None, ""))
    return read_tile_window(
        Tile("t", **paths), record_of(name), 0, 0, *((size, size) if size else dsm.shape)
    )


def test_every_published_data_set_has_a_record():
    assert set(PUBLISHED) <= set(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_facts_are_complete(name):
    record = record_of(name)
    texts = [record.name, record.source, record.licence, record.obtain, *record.notes]
    assert all(texts) and record.notes
    assert record.paper or name in ("Demo", "Huawei_Contest")
    kinds = {"rgb", "dsm", "sem"} if record.classes else {"rgb", "dsm"}
    assert set(record.files) - {"dem", "sar"} == kinds
    assert record.crop_size and record.batch_size and record.loss_weights["height"] > 0
    assert set(record.loss_weights) >= ({"semantic", "normal"} if record.classes else {"normal"})
    assert record.gsd or any("gsd" in note and "dataset.toml" in note for note in record.notes)


@pytest.mark.parametrize("name", CATALOGUE)
def test_settings_take_the_record(name, tmp_path):
    (tmp_path / name).mkdir()
    settings = load("A test.", [f"--dataset_name={name}", f"--shortcut_path={tmp_path}"])
    record = record_of(name)
    assert (settings.crop_size, settings.batch_size) == (record.crop_size, record.batch_size)
    assert settings.height_loss_weight == record.loss_weights["height"]
    assert settings.sem_flag == (name != "Dublin")


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_tile_is_in_two_splits(name):
    splits = [tiles for tiles in record_of(name).splits.values() if isinstance(tiles, tuple)]
    tiles = [tile for split in splits for tile in split]
    assert len(tiles) == len(set(tiles))


def test_numbers_of_tiles_are_the_published_ones():
    counts = {s: len(tiles) for s, tiles in record_of("Vaihingen").splits.items()}
    assert counts == {"train": 13, "valid": 3, "test": 17}
    assert sum(record_of("DFC2023S").splits.values()) == 1773
    assert sum(record_of("SSBH").splits.values()) == 5606


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name.endswith("_bin")])
def test_two_class_variants_know_every_code_of_their_base(name):
    two, base = record_of(name), record_of(name.removesuffix("_bin"))
    assert (two.class_names, two.building_index) == (("other", "building"), 1)
    codes = [code for label in base.classes for code in label.codes]
    assert set(codes) <= {code for label in two.classes for code in label.codes}
    assert two.ignore_codes == base.ignore_codes


def test_fork_weights_are_those_of_metres_and_normals_in_0_to_1():
    # Decimetres: 1e-4 per dm2 is 1e-2 per m2. Normals times 255: 1e-5 x 65025 = 0.65025.
    weights = fork_weights(1e-4, 1e-1, 1e-5, unit=0.1)
    assert weights == pytest.approx({"height": 1, "semantic": 10, "normal": 65.025})


def test_authors_weight_of_vaihingen_heights_is_that_of_heights_over_255():
    error = 5.1  # metres, 51 stored units, 0.2 of 255
    weight = record_of("Vaihingen").loss_weights["height"]
    assert weight * error**2 == pytest.approx(100 * 0.2**2, rel=1e-5)


def test_page_of_the_documentation_is_current():
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(), "Run `python -m datasets.catalogue`."


def test_vaihingen_colours(tmp_path):
    colours = [(255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0)]
    sem = np.array([[*colours, (255, 0, 0), (0, 0, 0)]], "uint8")
    dsm = np.zeros((1, 7), "uint8")
    assert sample_of(tmp_path, "Vaihingen", dsm, sem)["classes"].tolist() == [
        [0, 1, 2, 3, 4, 5, -1]
    ]
    two = sample_of(tmp_path, "Vaihingen_bin", dsm, sem)["classes"]
    assert two.tolist() == [[0, 1, 0, 0, 0, 0, -1]]


def test_vaihingen_decimetres_in_an_8_bit_jpeg(tmp_path):
    memory = gdal.GetDriverByName("MEM").Create("", 16, 16, 1, gdal.GDT_Byte)
    memory.GetRasterBand(1).WriteArray(np.full((16, 16), 127, "uint8"))
    gdal.GetDriverByName("JPEG").CreateCopy(str(tmp_path / "t.jpg"), memory)
    photo = tmp_path / "t.tif"
    write_raster(photo, np.zeros((16, 16, 3), "uint8"), Grid(16, 16, None, ""))
    tile = Tile("t", photo, tmp_path / "t.jpg", None)
    sample = read_tile_window(tile, record_of("Vaihingen"), 0, 0, 16, 16)
    assert sample["valid"].all()
    np.testing.assert_allclose(sample["heights"], 12.7, rtol=1e-6)


def test_heights_of_8_bits_span_25_and_a_half_metres(tmp_path):
    sample = sample_of(tmp_path, "Vaihingen_crp256", np.array([[0, 1, 255]], "uint8"))
    np.testing.assert_allclose(sample["heights"], [[0, 0.1, 25.5]], rtol=1e-6)


@pytest.mark.parametrize("name", ["DFC2018", "DFC2018_bin", "DFC2018_crp256"])
def test_houston_sentinels_have_no_data(tmp_path, name):
    lowest = np.finfo("float32").min
    dsm = [[np.nan, -9999, 1e38, lowest, 1500, -1500, 1000, -2.5, 30]]
    sem = np.full((1, 9), 9, "uint8")
    sample = sample_of(tmp_path, name, np.array(dsm, "float32"), sem)
    assert sample["valid"].tolist() == [[False] * 6 + [True] * 3]
    assert sample["heights"][0, 6:].tolist() == [1000, -2.5, 30]
    assert np.isnan(sample["heights"][0, :6]).all()


def test_houston_surface_minus_terrain(tmp_path):
    surface = np.array([[52, 48.5, 3.4e38, 52]], "float32")
    terrain = np.array([[40, 49, 40, -9999]], "float32")
    sample = sample_of(tmp_path, "DFC2018", surface, dem=terrain)
    assert sample["valid"].tolist() == [[True, True, False, False]]
    assert sample["heights"][0, :2].tolist() == [12, -0.5]


def test_houston_classes_and_buildings_from_one_label_file(tmp_path):
    sem = np.array([[0, 1, 8, 9, 10, 20]], "uint8")
    dsm = np.zeros((1, 6), "float32")
    assert sample_of(tmp_path, "DFC2018", dsm, sem)["classes"].tolist() == [[-1, 0, 7, 8, 9, 19]]
    two = sample_of(tmp_path, "DFC2018_bin", dsm, sem)["classes"]
    assert two.tolist() == [[-1, 0, 1, 1, 0, 0]]


def test_us3d_codes_and_nan_heights(tmp_path):
    dsm = np.array([[0, np.nan, 9.5, 1, 2, 3]], "float32")
    sem = np.array([[2, 5, 6, 9, 17, 65]], "uint8")
    sample = sample_of(tmp_path, "DFC2019_crp512", dsm, sem)
    assert sample["classes"].tolist() == [[0, 1, 2, 3, 4, -1]]
    assert sample["valid"].tolist() == [[True, False, True, True, True, True]]
    two = sample_of(tmp_path, "DFC2019_crp512_bin", dsm, sem)["classes"]
    assert two.tolist() == [[0, 0, 1, 0, 0, -1]]


def test_us3d_two_class_label_files(tmp_path):
    sem = np.array([[0, 1, 1]], "uint8")
    sample = sample_of(tmp_path, "DFC2019_crp256_bin", np.zeros((1, 3), "float32"), sem)
    assert sample["classes"].tolist() == [[0, 1, 1]]


def test_of_dublin_the_middle_is_used(tmp_path):
    heights = np.arange(500 * 500, dtype="float32").reshape(500, 500)
    sample = sample_of(tmp_path, "Dublin", heights, size=480)
    assert sample["heights"][[0, -1], [0, -1]].tolist() == [10 * 500 + 10, 489 * 500 + 489]


def test_ssbh_photos_of_16_bits(tmp_path):
    rgb = np.array([[[0, 257, 65535], [25700, 51400, 65535]]], "uint16")
    sample = sample_of(tmp_path, "SSBH", np.zeros((1, 2), "float32"), rgb=rgb)
    np.testing.assert_allclose(sample["image"], [[[0, 1, 255], [100, 200, 255]]], rtol=1e-6)


def test_codes_of_another_data_set_are_refused(tmp_path):
    sem = np.array([[0, 255]], "uint8")
    with pytest.raises(LabelError, match=r"255 \(1 pixel\)"):
        sample_of(tmp_path, "DFC2023S", np.zeros((1, 2), "float32"), sem)


@pytest.mark.parametrize(
    "epsg, step, gsd",
    [
        (2992, 1.0, 0.3048),  # Oregon Lambert, international feet
        (2277, 1.0, 1200 / 3937),  # Texas Central, US survey feet
        (
            4326,
            1e-5,
            0.949893,
        ),  # a degree at 45 north: 78846.8 m to the east, 111131.8 m to the north
    ],
)
def test_own_data_in_feet_or_degrees(tmp_path, epsg, step, gsd):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "dataset.toml").write_text("height_scale = 0.3048\nheight_limits = [-50, 300]")
    grid = Grid(2, 2, (10.0, step, 0.0, 45.0, 0.0, -step), projection_wkt(epsg))
    paths = [folder / "rgb.tif", folder / "dsm.tif"]
    feet = np.array([[100, -9999], [1, 1000]], "float32")
    for path, pixels in zip(paths, [np.zeros((2, 2, 3), "uint8"), feet], strict=True):
        write_raster(path, pixels, grid)
    tile, record = Tile("t", *paths, None), find_record("mine", tmp_path)
    metres = [[30.48, np.nan], [0.3048, np.nan]]
    heights = read_tile_window(tile, record, 0, 0, 2, 2)["heights"]
    np.testing.assert_allclose(heights, metres, rtol=1e-6)
    assert read_info(paths[1]).gsd == pytest.approx(gsd, rel=2e-6)
