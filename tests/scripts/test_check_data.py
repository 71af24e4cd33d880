import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from osgeo import gdal

import check_data as check
from datasets.checks import inspection, tile_check, tile_statistics
from datasets.checks.inspection import Drawing
from datasets.checks.report import choose_drawings
from datasets.demo.data_set import make_demo
from datasets.rasters.reading import read_raster
from datasets.rasters.writing import write_raster

ROOT = Path(__file__).parents[2]


def rewrite(path, change):
    """Applies a function to the pixels of a file."""
    raster = read_raster(path)
    write_raster(path, change(raster.pixels), raster.grid)


@pytest.fixture
def data(blocks, tmp_path):
    """Returns the folder of a copy of the data set "blocks", named mine, its tiles side by side."""
    folder = tmp_path / "data" / "mine"
    shutil.copytree(blocks / "blocks", folder)
    for number, photo in enumerate(sorted(folder.glob("*/rgb/*.tif"))):
        for kind in ("rgb", "dsm", "sem"):
            place(photo.parent.with_name(kind) / photo.name, 32.0 * number)  # metres; 64 x 0.5
    return folder


def place(path, x):
    """Moves a tile of "blocks" to the east, by metres."""
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.SetGeoTransform((5e5 + x, 0.5, 0, 5e6, 0, -0.5))


@pytest.fixture(autouse=True)
def small_contact_sheet(monkeypatch):
    """Drawing the tiles takes longer than checking them."""
    monkeypatch.setattr(inspection, "MOST_DRAWN", 1)


@pytest.fixture
def run(data, tmp_path, capsys):
    """Returns a function (arguments) -> (exit status, what is printed, check.json)."""

    def run(*arguments):
        folders = [f"--shortcut_path={tmp_path / 'data'}", f"--output_dir={tmp_path / 'out'}"]
        status = check.main(["mine", *folders, *arguments])
        shown = capsys.readouterr().out
        return status, shown, json.loads((tmp_path / "out/mine/check/check.json").read_text())

    return run


def test_good_data_set_is_usable_and_measured(data, run):
    status, shown, report = run()
    assert status == 0 and report["usable"] and "The data set is usable." in shown
    assert not any(report["suspicions"].values())
    train = report["splits"]["train"]
    assert (train["tiles"], train["pixels"], train["gsd"]) == (4, 4 * 64 * 64, 0.5)
    assert train["sizes"] == {"64 x 64": 4} and train["dtypes"]["dsm"] == {"float32": 4}
    assert train["crs"] == {"EPSG:32632, WGS 84 / UTM zone 32N, metre": 4}
    assert train["nodata_share"] == pytest.approx(2 / 64)  # two rows of NaN
    assert train["labelled_share"] == pytest.approx(62 / 64)  # two rows of code 65
    assert re.search(r"^GSD +0\.50 m +0\.50 m +0\.50 m$", shown, re.MULTILINE)


def test_terrain_is_subtracted_and_reported(data, run):
    plain = run()[2]["splits"]["valid"]
    for path in (data / "valid" / "dsm").iterdir():
        terrain = path.parent.with_name("dem") / path.name
        terrain.parent.mkdir(exist_ok=True)
        shutil.copy(path, terrain)
        rewrite(terrain, lambda pixels: np.full_like(pixels, 100))
        rewrite(path, lambda pixels: pixels + 100)
    status, shown, report = run()
    assert status == 0 and not any(report["suspicions"].values())
    valid = report["splits"]["valid"]
    assert valid["mean"] == pytest.approx(plain["mean"], abs=1e-4)
    assert valid["dtypes"]["dem"] == {"float32": 2} and "type of dem" in shown


def test_radar_is_checked_where_it_is_used(data, run):
    assert run("--sar_mode=fusion")[0] == 1
    for photo in data.glob("*/rgb/*.tif"):
        radar = photo.parent.with_name("sar") / photo.name
        radar.parent.mkdir(exist_ok=True)
        shutil.copy(photo, radar)
        rewrite(radar, lambda pixels: pixels[..., :1])
    plain, fused = run()[2], run("--sar_mode=fusion")[2]
    assert fused["usable"] and fused["tiles"] == plain["tiles"]
    assert fused["splits"]["train"]["dtypes"]["sar"] == {"uint8": 4}
    assert "sar" not in plain["splits"]["train"]["dtypes"]


def test_heights_and_classes_are_those_of_the_files(data, run):
    truth = [read_raster(path) for path in (data / "train/dsm").iterdir()]
    heights = np.concatenate([raster.pixels[raster.valid] for raster in truth])[:, 0]
    train = run()[2]["splits"]["train"]
    assert (train["lowest"], train["highest"]) == (0, pytest.approx(heights.max()))
    assert train["mean"] == pytest.approx(heights.mean(dtype="float64"))
    counts = train["histogram"]
    assert counts["from"] == 0 and sum(counts["pixels"]) == heights.size
    assert counts["pixels"][0] == (heights < 1).sum()
    codes = np.concatenate([read_raster(p).pixels.ravel() for p in (data / "train/sem").iterdir()])
    building = (codes == 6).sum() / (codes != 65).sum()
    assert train["class_shares"]["building"] == pytest.approx(building)


def test_blocks_of_a_large_tile_add_up(run, monkeypatch):
    whole = run()[2]
    monkeypatch.setattr(tile_check, "BLOCK_PIXELS", 64 * 7)
    parts = run()[2]
    for report in (whole, parts):  # a piece of 7 rows is too small for edges
        [tile.pop("offset") for tiles in report["tiles"].values() for tile in tiles]
        [(split.pop("offset"), split.pop("mean")) for split in report["splits"].values()]
        [tile.pop("mean") for tiles in report["tiles"].values() for tile in tiles]
    assert parts["splits"] == whole["splits"] and parts["tiles"] == whole["tiles"]


def test_thumbnail_takes_every_nth_row_and_column_over_blocks(monkeypatch):
    monkeypatch.setattr(tile_statistics, "THUMBNAIL", 4)
    statistics = tile_statistics.TileStatistics((10, 8))  # every third
    heights = np.arange(80, dtype="float32").reshape(10, 8)
    for row, rows in ((0, 5), (5, 5)):
        part = heights[row : row + rows]
        sample = {"image": np.stack([part] * 3, -1), "heights": part, "valid": part >= 0}
        sample |= {"has_image": part >= 0, "classes": part.astype("int32")}
        statistics.add(row, sample)
    np.testing.assert_array_equal(statistics.thumbnail["heights"], heights[::3, ::3])
    histogram = statistics.histogram
    assert (histogram.sum(), histogram[100], statistics.below_ground) == (80, 1, 0)


def test_every_unusable_file_is_named(data, run):
    for number in range(12):
        shutil.copy(data / "train/rgb/train_0.tif", data / f"train/rgb/alone_{number}.tif")
    (data / "train/rgb/train_1.tif").write_bytes(b"")
    (data / "train/dsm/train_2.tif").write_text("heights")
    rewrite(data / "test/sem/test_0.tif", lambda codes: codes * 0 + 9)
    shutil.rmtree(data / "valid")
    status, shown, report = run()
    assert status == 1 and "The data set is NOT usable: 6 problems" in shown
    for name in [f"alone_{number}" for number in range(12)]:
        assert name in shown
    for message in (
        r"train_1.tif: GDAL cannot open",
        "train_2.tif: GDAL cannot open",
        "test_0.tif: unknown label codes: 9",
        "valid has no tiles",
    ):
        assert message in shown
    assert [len(report["problems"][split]) for split in ("train", "valid", "test")] == [4, 1, 1]


def test_heights_that_cannot_be_true_make_a_split_unusable(data, run):
    rewrite(data / "train/dsm/train_1.tif", lambda pixels: np.nan_to_num(pixels, nan=-9999))
    status, shown, report = run()
    assert status == 1 and len(report["problems"]["train"]) == 1
    assert "train_1.tif: 128 heights of 4096 beyond -100 to 1000 m above ground" in shown


@pytest.mark.parametrize(
    "file, change, message",
    [
        ("rgb/train_1.tif", lambda p: p * 0 + 7, "train_1.tif: the photo has a single colour"),
        ("dsm/train_1.tif", lambda p: p * 0 + 3, "train_1.tif: all heights are 3 m"),
        ("dsm/train_1.tif", lambda p: p * np.nan, "train_1.tif: no pixel has both"),
        ("dsm/train_1.tif", lambda p: p + 130, "the lowest height is 130.00 m"),
        ("dsm/train_1.tif", lambda p: p - 10, "of the heights are below -5 m"),
    ],
)
def test_strange_tile_is_named_but_usable(data, run, file, change, message):
    with np.errstate(invalid="ignore"):
        rewrite(data / "train" / file, lambda pixels: change(pixels).astype(pixels.dtype))
    status, shown, report = run()
    assert status == 0 and message in shown and "Suspicious, but usable: " in shown
    assert [bool(texts) for texts in report["suspicions"].values()] == [True, False, False, False]


def test_same_photo_in_two_splits_is_found(data, run):
    shutil.copy(data / "train/rgb/train_2.tif", data / "test/rgb/test_1.tif")
    shutil.copy(data / "train/rgb/train_0.tif", data / "train/rgb/train_1.tif")
    place(data / "test/rgb/test_1.tif", 32.0)  # as its heights, the second of all files
    place(data / "train/rgb/train_1.tif", 96.0)
    status, shown, report = run()
    assert status == 0
    assert report["duplicates"] == [
        ["train/train_2", "test/test_1"],
        ["train/train_0", "train/train_1"],
    ]
    assert "train/train_2, test/test_1: the same photo 2 times. A result on one split" in shown


def test_tiles_of_two_splits_on_the_same_ground_are_found(data, run):
    for name, x in (("test/rgb/test_0", 2000.0), ("train/rgb/train_3", 2024.0)):
        for kind in ("rgb", "dsm", "sem"):
            place(data / f"{name.replace('rgb', kind)}.tif", x)
    status, shown, report = run()
    assert status == 0
    assert report["overlaps"] == [["train/train_3", "test/test_0", pytest.approx(8 / 32)]]
    assert "train/train_3, test/test_0: 25% of the smaller one is the same ground" in shown


def test_classes_without_any_label_are_a_problem_where_training_needs_them(data, run):
    for split in ("train", "test"):
        shutil.rmtree(data / split / "sem")
    status, shown, report = run("--sem_flag=true", "--eval_metric=rmse")
    assert status == 1 and "no pixel of the train split has one of them" in shown
    assert [len(report["problems"][split]) for split in ("train", "valid", "test")] == [1, 0, 0]
    assert run("--sem_flag=false", "--eval_metric=rmse")[0] == 0


def test_labels_without_classes_are_suspicious(data, run):
    (data / "dataset.toml").write_text("gsd = 0.5\ncrop_size = 32\n")
    status, shown, _ = run()
    assert status == 0 and "train/sem: 4 label files are not used" in shown
    assert "codes 2, 6, 65 in train_0.tif" in shown


def test_pixels_of_each_class_are_counted(data, run):
    codes = np.full((64, 64), 2, "uint8")
    codes[:, 0] = 6
    for path in (data / "valid/sem").iterdir():
        rewrite(path, lambda pixels: codes)
    _, shown, report = run()
    assert report["splits"]["valid"]["class_counts"] == {"ground": 2 * 4032, "building": 2 * 64}
    assert re.search(r"^  building .* 1\.6% \(128\)  ", shown, re.MULTILINE)


def test_misaligned_pair_is_named_and_the_others_are_not(tmp_path, capsys):
    make_demo(tmp_path / "Demo", 128, (2, 1, 1), seed=0)
    rewrite(tmp_path / "Demo/train/dsm/train_001.tif", lambda p: np.roll(p, (8, -5), (0, 1)))
    arguments = [f"--shortcut_path={tmp_path}", f"--output_dir={tmp_path / 'out'}"]
    assert check.main(["Demo", *arguments]) == 0
    (line,) = [
        text for text in capsys.readouterr().out.splitlines() if "edges of the heights" in text
    ]
    assert "train_001.tif" in line and "by -8 rows and +5 columns" in line


def test_splits_of_different_gsd_are_named(data, run):
    text = (data / "dataset.toml").read_text()
    (data / "dataset.toml").write_text(text.replace("gsd = 0.5\n", ""))
    for path in (data / "test").glob("*/*.tif"):
        raster = read_raster(path)
        place = tuple(1.2 * number for number in raster.grid.geotransform)
        write_raster(
            path, raster.pixels, raster.grid.__class__(64, 64, place, raster.grid.projection)
        )
    status, shown, _ = run()
    assert status == 0 and "differ in their gsd: train 0.50 m, valid 0.50 m, test 0.60 m" in shown


def test_contact_sheet_shows_the_worst_first(data, run, tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, "MOST_DRAWN", 24)
    (data / "valid/rgb/valid_1.tif").write_bytes(b"")
    rewrite(data / "test/rgb/test_0.tif", lambda pixels: pixels * 0 + 200)
    assert run()[0] == 1
    picture = cv2.imread(str(tmp_path / "out/mine/check/contact_sheet.png"))
    assert picture.shape[1] > 1000 and (picture == 200).all(axis=-1).mean() > 0.01
    drawings = [Drawing(f"train/{i}", "", {}) for i in range(9)]
    drawings[4:4] = [Drawing("b", "suspicious", {}), Drawing("a", "unusable", {})]
    chosen = [drawing.name for drawing in choose_drawings(drawings, 5)]
    assert chosen == ["a", "b", "train/0", "train/4", "train/8"]


def test_splits_and_names_with_spaces_and_other_letters(data, run):
    for path in (data / "train").glob("*/train_1.tif"):
        path.rename(path.with_name("mein Dach ü $5.tif"))
    shutil.rmtree(data / "test")
    status, shown, report = run("--splits=train, valid")
    assert status == 0 and "mein Dach ü $5" in [tile["name"] for tile in report["tiles"]["train"]]
    assert list(report["splits"]) == ["train", "valid"]


def test_data_without_classes_and_georeference(data, run):
    (data / "dataset.toml").write_text("gsd = 0.25\ncrop_size = 32\n")
    for path in data.glob("*/*/*.tif"):
        raster = read_raster(path)
        write_raster(path, raster.pixels, raster.grid.__class__(64, 64, None, ""))
    status, shown, report = run()
    assert status == 0 and report["splits"]["test"]["crs"] == {"none": 2}
    assert "0.25 m" in shown and report["splits"]["test"]["class_shares"] == {}


def test_tile_smaller_than_the_crop_is_a_problem_of_training_only(data, run):
    status, shown, report = run("--crop_size=128")
    assert status == 1 and "smaller than crop_size 128" in shown
    assert [len(report["problems"][split]) for split in ("train", "valid", "test")] == [4, 0, 0]


@pytest.mark.parametrize("argument", ["--splits=train,tset", "--dataset_name=lost", "--gsdd=1"])
def test_wrong_arguments_end_with_status_2(argument, tmp_path):
    with pytest.raises(SystemExit) as ended:
        check.main([argument, f"--shortcut_path={tmp_path}"])
    assert ended.value.code == 2


def test_command_line_gives_the_exit_status(data, tmp_path):
    (data / "train/rgb/train_1.tif").write_bytes(b"")
    command = [sys.executable, "-m", "datasets.check", "mine"]
    command += [f"--shortcut_path={data.parent}", f"--output_dir={tmp_path / 'out'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and "train_1.tif" in done.stdout and "Trace" not in done.stderr


def test_nothing_is_written_beside_the_data(data, run):
    before = sorted(data.rglob("*"))
    run()
    assert sorted(data.rglob("*")) == before


def test_real_data_in_feet_has_nothing_wrong(autzen, tmp_path, capsys):
    arguments = [f"--shortcut_path={autzen.parent}", f"--output_dir={tmp_path}"]
    assert check.main([autzen.name, *arguments]) == 0
    report = json.loads((tmp_path / autzen.name / "check" / "check.json").read_text())
    assert not any([*report["suspicions"].values(), *report["problems"].values()])
    for split in report["splits"].values():
        (crs,) = split["crs"]
        assert crs.endswith("foot") and split["gsd_of_files"] == pytest.approx([0.5, 0.5], rel=1e-4)
    assert "0.50 m" in capsys.readouterr().out


def test_a_demo_folder_with_other_content_ends_with_status_2(tmp_path, capsys):
    (tmp_path / "Demo").mkdir()
    (tmp_path / "Demo" / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        check.main(["Demo", f"--shortcut_path={tmp_path}", f"--output_dir={tmp_path / 'out'}"])
    assert ended.value.code == 2 and "found no demo.json" in capsys.readouterr().err
