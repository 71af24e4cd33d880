"""What a user sees who starts training on files that cannot be used."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import test_dsm
import train_mtl
from datasets.rasters.reading import Grid, read_raster
from datasets.rasters.writing import write_raster

ROOT = Path(__file__).parents[2]


def rewrite(path, change):
    raster = read_raster(path)
    pixels = change(raster.pixels)
    grid = raster.grid.__class__(
        *pixels.shape[:2], raster.grid.geotransform, raster.grid.projection
    )
    write_raster(path, pixels, grid)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


WRONG = {
    "no dsm": (lambda d: (d / "dsm/train_1.tif").unlink(), "no dsm file.*train_1"),
    "no rgb": (lambda d: (d / "rgb/train_1.tif").unlink(), "no rgb file.*train_1"),
    "sizes": (lambda d: rewrite(d / "dsm/train_2.tif", lambda p: p[:-1]), "train_2.tif: 63 x 64"),
    "truncated": (lambda d: truncate(d / "rgb/train_0.tif"), "train_0.tif"),
    "label": (lambda d: rewrite(d / "sem/train_3.tif", lambda p: p * 0 + 9), "train_3.tif.*9"),
    "bands": (
        lambda d: rewrite(d / "rgb/train_0.tif", lambda p: p[..., :2]),
        "2 bands, expected 3",
    ),
    "empty": (lambda d: [empty(d / kind) for kind in ("rgb", "dsm")], "has no tiles"),
}


@pytest.fixture
def data(blocks, tmp_path):
    """Returns (folder of the training split of a copy, arguments for it)."""
    shutil.copytree(blocks / "blocks", tmp_path / "data" / "mine")
    arguments = ["--dataset_name=mine", f"--shortcut_path={tmp_path / 'data'}"]
    arguments += ["--backbone=tiny", "--decoder_width=0.02", "--mtl_steps=2"]
    arguments += [f"--checkpoint_dir={tmp_path / 'ck'}", f"--output_dir={tmp_path / 'out'}"]
    return tmp_path / "data" / "mine" / "train", arguments


@pytest.mark.parametrize("name", WRONG)
def test_training_names_the_file_and_leaves_nothing_behind(data, tmp_path, name):
    spoil, message = WRONG[name]
    spoil(data[0])
    with pytest.raises(SystemExit, match=f"(?s)error: .*{message}"):
        train_mtl.main(data[1])
    assert not (tmp_path / "ck").exists() and not (tmp_path / "out").exists()


def test_every_photo_that_cannot_be_read_is_named(data):
    for name in ("train_0", "train_1"):
        (data[0] / f"rgb/{name}.tif").write_bytes(b"no raster")
    with pytest.raises(SystemExit, match="(?s)2 problems in the train split.*train_0.*train_1"):
        train_mtl.main(data[1])


def test_an_all_nodata_tile_is_named_and_harmless(data, capsys, tmp_path):
    rewrite(data[0] / "dsm/train_0.tif", lambda pixels: np.full_like(pixels, np.nan))
    rewrite(data[0].parent / "test/dsm/test_0.tif", lambda pixels: np.full_like(pixels, np.nan))
    train_mtl.main(data[1])
    test_dsm.main(data[1])
    shown = capsys.readouterr().out
    assert "train_0.tif: no pixel has both image and height" in shown
    assert "nan" not in (tmp_path / "out/mine/test_mtl/per_tile.csv").read_text()
    assert (tmp_path / "out/mine/test_mtl/dsm/test_0.tif").is_file()


def test_a_split_without_a_valid_pixel_is_refused(data):
    for path in (data[0].parent / "valid" / "dsm").iterdir():
        rewrite(path, lambda pixels: np.full_like(pixels, np.nan))
    with pytest.raises(SystemExit, match="valid split.*\n.*no tile has a pixel"):
        train_mtl.main(data[1])


def test_classes_without_labels_are_refused(data):
    for split in ("train", "valid", "test"):
        shutil.rmtree(data[0].parent / split / "sem")
    with pytest.raises(SystemExit, match="lists classes.*sem_flag=false"):
        train_mtl.main(data[1])


def test_undeclared_nodata_stops_a_run_before_its_first_step(data, tmp_path):
    rewrite(data[0] / "dsm/train_0.tif", lambda pixels: np.nan_to_num(pixels, nan=-9999.0))
    message = r"train_0.tif: \d+ heights of \d+ beyond .*height_limits = \[-100, 1000\]"
    with pytest.raises(SystemExit, match=message):
        train_mtl.main(data[1])
    assert not (tmp_path / "out/mine/mtl/history.csv").exists()


def test_nodata_and_place_of_a_tile_reach_the_height_map(data, tmp_path):
    photo = data[0].parent / "test/rgb/test_0.tif"
    pixels = read_raster(photo).pixels.copy()
    pixels[:20] = 0
    bare = Grid(64, 64, None, "")
    write_raster(photo, pixels, bare, nodata=0)
    train_mtl.main(data[1])
    test_dsm.main(data[1])
    heights = read_raster(tmp_path / "out/mine/test_mtl/dsm/test_0.tif")
    assert not heights.valid[:20].any() and heights.valid[20:].all()
    assert heights.grid == read_raster(data[0].parent / "test/dsm/test_0.tif").grid
    assert not read_raster(tmp_path / "out/mine/test_mtl/sem/test_0.tif").valid[:20].any()


def test_a_file_that_breaks_during_training_is_named(data, monkeypatch):
    # The check of all files has passed; then one is lost.
    monkeypatch.setattr(
        "training.stages.run.print_banner", lambda *_: [truncate(f) for f in files(data[0])]
    )
    with pytest.raises(SystemExit, match=r"train_\d.tif"):
        train_mtl.main(data[1])


def files(folder):
    return list((folder / "rgb").iterdir())


@pytest.mark.parametrize("script", ["train_mtl.py", "train_dae.py", "test_dsm.py"])
@pytest.mark.parametrize(
    "argument, message",
    [
        ("--crop_size=100", "96 and 128"),
        ("--mtl_steps=-1", "at least 1"),
        ("--dataset_name=Dmo", "Demo"),
        ("--croop_size=64", "crop_size"),
    ],
)
def test_wrong_settings_end_before_tensorflow(script, argument, message, tmp_path):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", ROOT / script, argument],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]
    assert "tensorflow" not in done.stderr
