"""Published data sets in the form in which they are downloaded, made small."""

import json
import zipfile

import cv2
import numpy as np
import pytest

from datasets.catalogue import CATALOGUE
from datasets.folders import list_tiles
from datasets.preparation.footprints import draw_footprints
from datasets.preparation.sources import find_files, list_source
from datasets.preparation.splitting import near_groups
from datasets.preparation.tiles import PrepareError
from datasets.prepare import main
from datasets.rasters.projections import projection_wkt
from datasets.rasters.reading import Grid, read_raster
from datasets.rasters.writing import write_raster
from datasets.records import find_record
from datasets.samples import read_tile_window
from datasets.validation import check_split

AREAS = [n for names in CATALOGUE["Vaihingen"]["splits"].values() for n in names]
RED, BLUE = (255, 0, 0), (0, 0, 255)


def write(path, pixels, place=None, epsg=None, nodata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    projection = projection_wkt(epsg) if epsg else ""
    write_raster(path, pixels, Grid(*pixels.shape[:2], place, projection), nodata)
    return path


def zip_up(folder, name, parts=None):
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
    root = tmp_path_factory.mktemp("download")
    for name in AREAS:
        number = name.rsplit("area", 1)[1]
        photo = np.full((40, 48, 3), 10 + int(number), "uint8")
        colours = np.zeros((40, 48, 3), "uint8") + np.array(RED, "uint8")
        colours[:, :24] = BLUE
        write(root / f"a/top/{name}.tif", photo)
        write(root / f"a/dsm/dsm_09cm_matching_area{number}.tif", np.ones((40, 48), "float32"))
        if name not in CATALOGUE["Vaihingen"]["splits"]["test"]:
            write(root / f"a/gts_for_participants/{name}.tif", colours)
        write(root / f"b/{name}.tif", colours)
        write(root / f"b/{name}_noBoundary.tif", colours * 0)
        heights = np.full((40, 48), 127, "uint8")
        (root / "c").mkdir(exist_ok=True)
        cv2.imwrite(str(root / f"c/dsm_09cm_matching_area{number}_normalized.jpg"), heights)
        (root / "d").mkdir(exist_ok=True)
        numbers = f"0.09\n0\n0\n-0.09\n{int(number)}00.045\n4999999.955\n"
        (root / f"d/dsm_09cm_matching_area{number}.tfw").write_text(numbers)
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
    assert tile.name == "top_mosaic_09cm_area1" and (sample["image"] == 11).all()
    np.testing.assert_allclose(sample["heights"], 12.7, atol=1e-5)  # 127 decimetres
    assert record.class_names[sample["classes"][0, 0]] == "building"
    assert record.class_names[sample["classes"][0, 24]] == "clutter"
    place = read_raster(tile.rgb).grid.geotransform
    assert place == pytest.approx((100, 0.09, 0, 5e6, 0, -0.09))  # half a pixel off the tfw
    for split in ("train", "valid", "test"):
        check_split(record, split, list_tiles(record, split), 32)


def test_vaihingen_is_cut_and_made_two_classes(vaihingen, tmp_path):
    folder = tmp_path / "mine"
    assert prepare("vaihingen", vaihingen, folder, "--tile=16", "--binary=true") == 0
    record, tile, sample = first_sample(folder, "valid")
    assert len(list_tiles(record, "valid")) == 3 * 2 * 3
    assert tile.name == "top_mosaic_09cm_area28_000_000"
    assert len(record.class_names) == 2 and (sample["classes"] == record.building_index).all()


def test_one_zip_without_heights_says_where_they_are(vaihingen, tmp_path, capsys):
    source = vaihingen / "ISPRS_semantic_labeling_Vaihingen.zip"
    assert prepare("vaihingen", source, tmp_path / "mine") == 2
    assert "_normalized.jpg" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def houston(root, sentinel=3.4e38):
    """Writes DFC2018 of 14 photos of 6 m (0.05 m), heights and codes of 0.5 m."""
    names = [n for names in CATALOGUE["DFC2018"]["splits"].values() for n in names]
    for name in names:
        x, y = (float(part) for part in name.split("_")[2:])
        photo = np.full((120, 120, 3), 50, "uint8")
        photo[:, :60] = 150
        place = (x, 0.05, 0.0, y + 6, 0.0, -0.05)
        write(root / f"FinalRGBHRImagery/{name}.tif", photo, place, 26915)
    rows, columns = 1204, 4 * 1192 + 2 * 1192 + 1192
    place = (271460.0, 0.5, 0.0, 3289689.0 + 601 + 6, 0.0, -0.5)
    surface = np.full((rows + 12, columns + 12), 20.0, "float32")
    surface[:, ::4] = sentinel
    lidar = root / "Lidar GeoTiff Rasters"
    write(lidar / "DSM_C12/UH17c_GEF051.tif", surface, place, 26915)
    write(lidar / "DEM_C123_TLI/UH17_GEG05.tif", surface * 0 + 12.5, place, 26915)
    write(lidar / "DEM+B_C123/UH17_GEM051.tif", surface * 0, place, 26915)
    codes = np.full((1202, 4768), 9, "uint8")
    place = (272056.0, 0.5, 0.0, 3290290.0, 0.0, -0.5)
    write(root / "TrainingGT/2018_IEEE_GRSS_DFC_GT_TR.tif", codes, place, 26915)
    return root


@pytest.fixture(scope="module")
def dfc2018(tmp_path_factory):
    return houston(tmp_path_factory.mktemp("houston"))


def test_dfc2018_as_downloaded_is_ready_to_train(dfc2018, tmp_path):
    folder = tmp_path / "mine"
    assert prepare("dfc2018", dfc2018, folder) == 0
    record, tile, sample = first_sample(folder, "train")
    assert [len(list_tiles(record, s)) for s in ("train", "valid", "test")] == [3, 1, 10]
    assert (record.gsd, sample["heights"].shape) == (0.5, (12, 12))
    assert (sample["image"][:, :6] == 150).all() and (sample["image"][:, 6:] == 50).all()
    # 272056 lies 1192 pixels east of the surface's edge: every fourth pixel from the first on.
    np.testing.assert_array_equal(sample["valid"][0], np.arange(12) % 4 != 0)
    assert (sample["heights"][sample["valid"]] == 7.5).all()
    assert record.class_names[sample["classes"][0, 0]] == "non-residential buildings"
    assert not (folder / "test/sem").exists()
    check_split(record, "train", list_tiles(record, "train"), 8)


def test_dfc2018_of_another_gsd_lets_no_sentinel_through(dfc2018, tmp_path):
    folder = tmp_path / "mine"
    options = ["--gsd=0.3", "--least_valid=0", "--binary=true"]
    assert prepare("dfc2018", dfc2018, folder, *options) == 0
    record, tile, sample = first_sample(folder, "train")
    stored = read_raster(tile.dsm).pixels
    assert np.nanmax(np.abs(stored)) < 8 and np.isnan(stored).any()  # whatever the record masks
    assert record.gsd == 0.3 and record.class_names[record.building_index] == "building"
    assert 0 < sample["valid"].mean() < 0.75
    np.testing.assert_allclose(sample["heights"][sample["valid"]], 7.5, atol=1e-4)


def us3d(root, places=8, images=2):
    """Writes DFC2019 track 1: images of 64 pixels."""
    heights = np.full((64, 64), 3.25, "float32")
    heights[0] = np.nan
    codes = np.full((64, 64), 6, "uint8")
    codes[:, :2] = 65
    for n in range(places):
        for image in range(images):
            name = f"{'JAX' if n % 2 else 'OMA'}_{n:03d}_{image:03d}"
            photo = np.full((64, 64, 3), n, "uint8")
            write(root / f"Train-Track1-RGB/Track1-RGB/{name}_RGB.tif", photo)
            write(root / f"Train-Track1-Truth/Track1-Truth/{name}_AGL.tif", heights)
            write(root / f"Train-Track1-Truth/Track1-Truth/{name}_CLS.tif", codes)
    return root


def test_dfc2019_keeps_all_images_of_a_place_together(tmp_path):
    folder = tmp_path / "mine"
    source = us3d(tmp_path / "download")
    assert prepare("dfc2019", source, folder, "--tile=32", "--splits=0.5,0.25,0.25") == 0
    record, _, sample = first_sample(folder, "valid")
    tiles = {s: list_tiles(record, s) for s in ("train", "valid", "test")}
    places = {s: {tile.name[:7] for tile in tiles[s]} for s in tiles}
    assert [len(tiles[s]) for s in tiles] == [32, 16, 16]  # 4, 2, 2 places of 2 x 4 tiles
    assert not (places["train"] & places["valid"] | places["train"] & places["test"])
    assert sample["valid"].tolist() == [[False] * 32] + [[True] * 32] * 31
    assert (sample["heights"][1:] == 3.25).all()
    assert sample["classes"][0].tolist() == [-1, -1] + [record.building_index] * 30


def test_a_missing_partner_is_named(tmp_path, capsys):
    source = us3d(tmp_path / "download")
    next(source.rglob("JAX_001_001_CLS.tif")).unlink()
    assert prepare("dfc2019", source, tmp_path / "mine") == 2
    assert "missing: JAX_001_001. They are in" in capsys.readouterr().err


def test_files_of_another_size_are_named(tmp_path, capsys):
    source = us3d(tmp_path / "download")
    write(next(source.rglob("JAX_001_001_CLS.tif")), np.ones((63, 64), "uint8"))
    assert prepare("dfc2019", source, tmp_path / "mine", "--tile=32") == 2
    assert "JAX_001_001_CLS.tif: 63 x 64" in capsys.readouterr().err


def cities(root):
    """Writes DFC2023 track 2: three towns of images of 32 pixels, about 300 m apart."""
    images, annotations = [], []
    for town, (latitude, count) in {"A": (10.0, 4), "B": (-20.0, 2), "C": (55.0, 2)}.items():
        for n in range(count):
            name = f"SV_{town}_{latitude + n * 0.0027:.4f}_{12.5:.4f}"
            write(root / f"train/rgb/{name}.tif", np.full((32, 32, 3), 9, "uint8"))
            write(root / f"train/sar/{name}.tif", np.full((32, 32), 1, "uint8"))
            write(root / f"train/dsm/{name}.tif", np.full((32, 32), 6.5, "float32"))
            images.append({"id": len(images), "file_name": f"{name}.tif"})
            polygon = [[4, 2, 9, 2, 9, 7, 4, 7]]
            annotations.append({"image_id": images[-1]["id"], "segmentation": polygon})
    write(root / "val/rgb/P_0199.tif", np.full((32, 32, 3), 9, "uint8"))
    content = {"images": images, "annotations": annotations}
    (root / "buildings_only_train.json").write_text(json.dumps(content))
    return root


def test_dfc2023_draws_footprints_and_splits_by_place(tmp_path):
    folder = tmp_path / "mine"
    source = cities(tmp_path / "download")
    assert prepare("dfc2023", source, folder, "--splits=0.5,0.25,0.25") == 0
    record, _, sample = first_sample(folder, "train")
    towns = {s: {t.name[3] for t in list_tiles(record, s)} for s in ("train", "valid", "test")}
    assert towns["train"] == {"A"} and sorted(map(len, towns.values())) == [1, 1, 1]
    # Corners belong to the footprint: columns 4 to 9, rows 2 to 7.
    expected = np.zeros((32, 32), int)
    expected[2:8, 4:10] = record.building_index
    np.testing.assert_array_equal(sample["classes"], expected)
    assert (sample["heights"] == 6.5).all()


def test_run_length_codes_go_down_the_columns():
    # 3 rows x 2 columns: one 0, then four 1, then one 0.
    expected = [[0, 1], [1, 1], [1, 0]]
    plain = {"size": [3, 2], "counts": [1, 4, 1]}
    assert draw_footprints([plain], 3, 2)[..., 0].tolist() == expected
    # Five bits a character from "0" on; from the fourth number on differences to the last but one.
    text = {"size": [3, 2], "counts": "141"}
    assert draw_footprints([text], 3, 2)[..., 0].tolist() == expected
    # 40 = 8 + 1 x 32: "X1"; runs 40, 1, 40, 2 (+1: "1"), 37 (-3: "M"), 1 character each.
    text = {"size": [10, 12], "counts": "X11X11M"}
    assert draw_footprints([text], 10, 12).ravel("F")[[39, 40, 41, 80, 81, 82, 83]].tolist() == [
        *(0, 1, 0, 0, 1, 1, 0)
    ]


def test_a_run_length_code_of_another_size_is_refused():
    with pytest.raises(PrepareError, match="3 x 3"):
        draw_footprints([{"size": [3, 2], "counts": [6]}], 3, 3)


def test_places_are_joined_over_others():
    places = [(0, 0), (0, 0.008), (0, 0.016), (0, 0.03)]  # 0.008 degrees are 890 m
    groups = near_groups(places, 1000)
    assert groups[0] == groups[1] == groups[2] != groups[3]
    assert len(set(near_groups([(60, 0), (60, 0.016)], 1000))) == 1  # 890 m there, too


def test_a_file_that_is_there_twice_is_refused(tmp_path):
    for folder in ("x", "y"):
        write(tmp_path / folder / "JAX_1_1_RGB.tif", np.ones((2, 2, 3), "uint8"))
    with pytest.raises(PrepareError, match="holds it once"):
        find_files(list_source(tmp_path), r"(JAX_\d_\d)_RGB\.tif")


@pytest.mark.parametrize("content, message", [(None, "neither a folder"), (b"x", "damaged")])
def test_a_source_that_is_no_zip_file_is_refused(tmp_path, content, message):
    source = tmp_path / "a.zip"
    if content:
        source.write_bytes(content)
    with pytest.raises(PrepareError, match=message):
        list_source(source)
