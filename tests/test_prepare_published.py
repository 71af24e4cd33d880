"""Published data sets in the form in which they are downloaded, made small."""

import json
import os
import re
import zipfile

import cv2
import numpy as np
import pytest

from datasets.catalogue import CATALOGUE
from datasets.folders import list_tiles
from datasets.preparation.footprints import draw_footprints
from datasets.preparation.sources import check_rasters, find_files, list_source
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


@pytest.mark.parametrize("sentinel", [3.4e38, -9999])
def test_dfc2018_of_another_gsd_lets_no_sentinel_through(tmp_path, sentinel):
    folder = tmp_path / "mine"
    options = ["--gsd=0.3", "--least_valid=0", "--binary=true"]
    assert prepare("dfc2018", houston(tmp_path / "houston", sentinel), folder, *options) == 0
    record, tile, sample = first_sample(folder, "train")
    stored = read_raster(tile.dsm).pixels
    assert np.nanmax(np.abs(stored)) < 8 and np.isnan(stored).any()  # whatever the record masks
    assert record.gsd == 0.3 and record.class_names[record.building_index] == "building"
    # Columns begin at 272056.2: their centres lie 0.7 + 0.6 j pixels of 0.5 m east of 272056, where
    # every fourth pixel, from the first on, has no height.
    assert sample["valid"][0].tolist() == [int(0.7 + 0.6 * j) % 4 != 0 for j in range(19)]
    np.testing.assert_allclose(sample["heights"][sample["valid"]], 7.5, atol=1e-4)


def test_a_tile_larger_than_a_photo_of_dfc2018_says_so(dfc2018, tmp_path, capsys):
    assert prepare("dfc2018", dfc2018, tmp_path / "mine", "--tile=13") == 2
    assert "is 12 x 12 pixels (rows x columns), less than a tile of 13" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["vaihingen", "dfc2018"])
def test_whole_files_do_not_overlap(request, tmp_path, capsys, command):
    source = request.getfixturevalue(command)
    assert prepare(command, source, tmp_path / "mine", "--overlap=0.5") == 2
    assert "overlap is 0.5, but whole files are not cut" in capsys.readouterr().err


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


def test_a_source_that_has_changed_is_not_mixed_in(tmp_path, capsys):
    source, folder = us3d(tmp_path / "download"), tmp_path / "mine"
    assert prepare("dfc2019", source, folder, "--tile=32") == 0
    assert prepare("dfc2019", source.rename(tmp_path / "moved"), folder, "--tile=32") == 0
    heights = next((tmp_path / "moved").rglob("JAX_001_001_AGL.tif"))
    os.utime(heights, ns=(0, heights.stat().st_mtime_ns + 1))  # of the same size
    assert prepare("dfc2019", tmp_path / "moved", folder, "--tile=32") == 2
    assert "source_files 48 files" in capsys.readouterr().err


@pytest.mark.parametrize("zipped", [False, True])
def test_a_raster_that_names_other_files_is_refused(tmp_path, capsys, zipped):
    source = us3d(tmp_path / "download")
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


def test_side_files_in_a_zip_file_have_pixels_and_name_none(tmp_path):
    folder = tmp_path / "x"
    write(folder / "a.tif", np.ones((2, 2), "uint8"))
    for name, text in (("a.tif.msk", "<VRTDataset/>"), ("a.tif.aux.xml", "OVERVIEW_FILE")):
        (folder / name).write_text(text)
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.write(folder / "a.tif", "a.tif")
            archive.write(folder / name, name)
        found = find_files(list_source(tmp_path / "x.zip"), r"(a)\.tif").values()
        with pytest.raises(PrepareError, match=name):
            check_rasters(list(found), tmp_path)


def cities(root, satellite="SV"):
    """Writes DFC2023 track 2: three towns of images of 32 pixels, about 300 m apart."""
    images, annotations = [], []
    for town, (latitude, count) in {"A": (10.0, 4), "B": (-20.0, 2), "C": (55.0, 2)}.items():
        for n in range(count):
            name = f"{satellite}_{town}_{latitude + n * 0.0027:.4f}_{12.5:.4f}"
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
    assert (
        record.gsd == 0.5
        and towns["train"] == {"A"}
        and sorted(map(len, towns.values())) == [1, 1, 1]
    )
    # Corners lie between pixels: columns 4 to 8, rows 2 to 6.
    expected = np.zeros((32, 32), int)
    expected[2:7, 4:9] = record.building_index
    np.testing.assert_array_equal(sample["classes"], expected)
    assert (sample["heights"] == 6.5).all()


def test_a_footprint_covers_the_pixels_whose_centres_it_holds():
    box = [[5, 3, 15, 3, 15, 13, 5, 13]]
    labels = draw_footprints([box], 20, 20)[..., 0]
    assert labels.sum() == 100 and labels[3:13, 5:15].all()
    outside = [[-5, -5, 2, -5, 2, 3, -5, 3], [30, 30, 40, 30, 40, 40]]
    assert draw_footprints([outside], 20, 20).sum() == 2 * 3
    # x + y below 3.6: of the centres 0.5 + 0.5 = 1 to 3.5 + 3.5 = 7 those whose sum is 1, 2 or 3.
    triangle = [[0, 0, 3.6, 0, 0, 3.6]]
    assert draw_footprints([triangle], 4, 4)[..., 0].tolist() == [
        *([1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0])
    ]


def test_photos_of_two_satellites_need_a_choice(tmp_path, capsys):
    source = cities(tmp_path / "download")
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
