import json

import numpy as np
import pytest

from datasets.demo.data_set import DemoPlan, demo_grid, ensure_demo, make_demo
from datasets.rasters.reading import read_info, read_raster
from datasets.tiles.folders import DataError

SMALL = {"tile_size": 32, "counts": (2, 1, 1)}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "Demo"
    make_demo(folder, **SMALL)
    return folder


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_standard_layout(demo):
    expected = {
        f"{split}/{layer}/{split}_{number:03d}.tif"
        for split, count in (("train", 2), ("valid", 1), ("test", 1))
        for layer in ("rgb", "dsm", "sem")
        for number in range(count)
    }
    assert set(contents(demo)) == expected | {"demo.json"}
    assert [path.name for path in demo.parent.iterdir()] == ["Demo"]


@pytest.mark.parametrize(
    "layer, bands, dtype", [("rgb", 3, "uint8"), ("dsm", 1, "float32"), ("sem", 1, "uint8")]
)
def test_rasters_have_their_type_and_place(demo, layer, bands, dtype):
    info = read_info(demo / "train" / layer / "train_001.tif")
    assert (info.bands, info.dtype, info.gsd) == (bands, dtype, pytest.approx(0.5))
    assert (info.grid.rows, info.grid.columns) == (32, 32)
    assert info.grid.geotransform == (690016.0, 0.5, 0.0, 5336000.0, 0.0, -0.5)
    assert "UTM zone 32N" in info.grid.projection


def test_the_same_call_makes_the_same_bytes(demo, tmp_path):
    make_demo(tmp_path / "Again", **SMALL)
    assert contents(tmp_path / "Again") == contents(demo)


def test_a_tile_does_not_depend_on_how_many_there_are(demo, tmp_path):
    make_demo(tmp_path / "More", tile_size=32, counts=(3, 0, 0))
    name = "train/rgb/train_001.tif"
    assert contents(tmp_path / "More")[name] == contents(demo)[name]


def test_tiles_splits_and_seeds_differ(demo, tmp_path):
    make_demo(tmp_path / "Other", tile_size=32, counts=(1, 0, 0), seed=1)
    names = ["train/rgb/train_000", "train/rgb/train_001", "test/rgb/test_000"]
    paths = [demo / f"{name}.tif" for name in names]
    paths.append(tmp_path / "Other/train/rgb/train_000.tif")
    assert len({read_raster(path).pixels.tobytes() for path in paths}) == 4


def test_labels_are_the_three_codes(demo):
    codes = [read_raster(path).pixels for path in demo.glob("*/sem/*.tif")]
    assert set(np.unique(codes)) <= {1, 2, 3}


def test_tiles_do_not_overlap():
    corners = {
        demo_grid(split, number, 32).geotransform[::3]
        for split in ("train", "valid", "test")
        for number in range(25)
    }
    assert len(corners) == 75
    assert {(left - 690000) % 16 for left, _ in corners} == {0}


def test_a_complete_folder_is_left_alone(demo):
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    make_demo(demo, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before


def test_an_empty_folder_is_filled(tmp_path):
    make_demo(tmp_path, tile_size=16, counts=(1, 0, 0))
    assert (tmp_path / "train/rgb/train_000.tif").is_file()


def test_other_parameters_are_an_error(demo):
    with pytest.raises(ValueError, match=r'(?s)"seed": 5.*found.*"seed": 0.*[Rr]emove'):
        make_demo(demo, **SMALL, seed=5)


def test_a_folder_of_something_else_is_an_error(tmp_path):
    (tmp_path / "photo.tif").write_text("mine")
    with pytest.raises(ValueError, match="no demo.json"):
        make_demo(tmp_path)
    assert contents(tmp_path) == {"photo.tif": b"mine"}


def test_a_folder_that_lost_a_file_is_an_error(tmp_path):
    make_demo(tmp_path / "Demo", tile_size=16, counts=(1, 0, 0))
    (tmp_path / "Demo/train/dsm/train_000.tif").unlink()
    with pytest.raises(ValueError, match=r"lacks 1 of its 3 files.*train/dsm/train_000.tif"):
        make_demo(tmp_path / "Demo", tile_size=16, counts=(1, 0, 0))


def test_an_interrupted_run_leaves_nothing(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_demo(tmp_path / "Demo", tile_size=16, counts=(4, 0, 0), progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_the_tiles(tmp_path):
    seen = []
    make_demo(
        tmp_path / "D", 16, (1, 1, 1), progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    "wrong", [{"tile_size": 0}, {"counts": (1, 2)}, {"counts": (0, 0, 0)}, {"seed": -1}]
)
def test_impossible_numbers_are_named(tmp_path, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*expected"):
        make_demo(tmp_path / "Demo", **wrong)
    assert not (tmp_path / "Demo").exists()


def test_the_marker_holds_the_parameters():
    marker = json.loads(DemoPlan(64, (3, 2, 1), 4).marker())
    assert marker | {"version": 0} == {
        "version": 0,
        "tile_size": 64,
        "counts": [3, 2, 1],
        "seed": 4,
    }


@pytest.mark.parametrize("text", ["[" * 10**5, "[1]", '{"version": NaN}'])
def test_a_damaged_marker_is_an_error(tmp_path, text):
    (tmp_path / "demo.json").write_text(text)
    with pytest.raises(DataError, match="demo.json|nested|holds a list|not a number"):
        ensure_demo(tmp_path)
