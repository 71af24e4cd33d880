"""What an evaluation measures with, and what it leaves of an earlier one."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import test_dsm
from evaluation import split
from evaluation.split import SplitEvaluation, stored_baseline, written_earlier
from evaluation.tiles import true_normals
from project.errors import UserError
from runs.start import prepare_data, tile_reader
from settings.loading import load

EARLIER = {"report.html", "metrics.json", "per_tile.csv", "density.png", "errors.png"}
EARLIER |= {"dsm/old.tif", "sem/old.tif", "figures/old.png"}
OTHERS = {"notes.txt", "map.tif", "dsm/old.qml", "figures/old.tif", "mine/old.tif"}
OTHERS |= {"dsm/user.tif", "sem/user.tif", "figures/user.png"}
MARKER = '{"settings": {}}'


def evaluation_of(output_dir, monkeypatch):
    """Returns an evaluation of one tile, whose folder is <output_dir>/mine/test_mtl."""
    monkeypatch.setattr(split, "stored_stage", lambda settings, stage: None)
    options = SimpleNamespace(figures=1)
    settings = SimpleNamespace(output_dir=output_dir, dataset_name="mine", options=options)
    record = SimpleNamespace(class_names=(), building_index=None)
    data = SimpleNamespace(record=record, gsd=0.5, tiles={"test": (SimpleNamespace(name="a"),)})
    return SplitEvaluation(settings, data, "test", "mtl")


def content(folder):
    """Returns the bytes of all files below a folder, by relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_an_evaluation_replaces_what_an_earlier_one_wrote_and_nothing_else(tmp_path, monkeypatch):
    folder = tmp_path / "mine" / "test_mtl"
    for name in EARLIER | OTHERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(MARKER)
    (folder / "per_tile.csv").write_text("tile,valid_pixels\nold,4\n")
    evaluation = evaluation_of(tmp_path, monkeypatch)
    assert evaluation.drawn == {"a"}
    with evaluation.replacing():
        assert set(content(folder)) == EARLIER | OTHERS
        (evaluation.folder / "metrics.json").write_text("new")
    assert content(folder) == dict.fromkeys(OTHERS, MARKER.encode()) | {"metrics.json": b"new"}
    assert [path.name for path in folder.parent.iterdir()] == ["test_mtl"]


@pytest.mark.parametrize(
    "damaged", [b"", b"no list", b"tile,\nold\n\xff", b"tile\nold\n" + 200_000 * b"x"]
)
def test_no_file_of_a_tile_goes_if_the_list_of_tiles_is_damaged(tmp_path, damaged):
    (tmp_path / "per_tile.csv").write_bytes(damaged)
    assert Path("dsm/old.tif") not in written_earlier(tmp_path, "test")


def test_splits_without_maps_leave_files_with_the_names_of_tiles(tmp_path):
    (tmp_path / "per_tile.csv").write_text("tile\nold\n")
    assert Path("dsm/old.tif") in written_earlier(tmp_path, "test")
    assert Path("dsm/old.tif") not in written_earlier(tmp_path, "valid")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_evaluation_that_fails_leaves_the_earlier_one(tmp_path, monkeypatch, error):
    folder = tmp_path / "mine" / "test_mtl"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(MARKER)
    evaluation = evaluation_of(tmp_path, monkeypatch)
    with pytest.raises(error), evaluation.replacing():
        (evaluation.folder / "metrics.json").write_text("new")
        raise error
    assert content(tmp_path) == {"mine/test_mtl/metrics.json": MARKER.encode()}


def test_a_folder_that_no_evaluation_has_written_stays_as_it_is(tmp_path, monkeypatch):
    mine = tmp_path / "mine" / "test_mtl" / "dsm" / "a.tif"
    mine.parent.mkdir(parents=True)
    mine.touch()
    evaluation = evaluation_of(tmp_path, monkeypatch)
    message = "test_mtl holds files, but no metrics.json"
    with pytest.raises(UserError, match=message), evaluation.replacing():
        pass
    assert mine.is_file()


@pytest.fixture
def evaluation(blocks, tmp_path, monkeypatch):
    """Returns a function (options) -> evaluation of two tiles of 64 px at 0.5 m per pixel."""
    stored = SimpleNamespace(training_mean_height=2.0, majority_class=1)
    monkeypatch.setattr(split, "stored_stage", lambda settings, stage: stored)
    data = ["--dataset_name=blocks", f"--shortcut_path={blocks}", f"--output_dir={tmp_path}"]

    def make(*options):
        settings = load("", [*data, *options], test_dsm.OPTIONS)
        return SplitEvaluation(settings, prepare_data(settings, ("valid",)), "valid", "mtl")

    return make


def flat(images):
    """A network that predicts level ground at 0 m."""
    up = np.broadcast_to(np.float32([0, 0, 1]), (*images.shape[:3], 3))
    return {"heights": 0 * images[..., :1], "normals": up}


def test_windows_overlap_as_asked_and_fill_the_batches_of_all_replicas(evaluation):
    sizes = []

    def predict(images):
        sizes.append(images.shape[:2])
        return flat(images)

    evaluation("--window_size=32", "--overlap=0.5", "--batch_windows=1").run(predict, replicas=2)
    # Windows at 0, 16 and 32 in each of three rows; on two replicas at most two at a time.
    assert sizes == [(2, 32), (1, 32)] * 6


@pytest.mark.parametrize("coding", ["unit", "published"])
def test_normals_are_compared_in_the_coding_and_at_the_pixel_size_of_the_training(
    evaluation, coding
):
    of_split = evaluation(f"--normal_coding={coding}")
    found = of_split.run(flat, 1).result()["normals"]["mean_angle"]
    samples = map(tile_reader(of_split.record), of_split.tiles)
    upwards = [true_normals(sample, 0.5, coding)[..., 2] for sample in samples]
    assert found == pytest.approx(np.degrees(np.nanmean(np.arccos(upwards))), abs=0.01)


def test_the_training_mean_says_the_mean_height_and_the_commonest_class(evaluation):
    of_split = evaluation()
    of_split.run(flat, 1)
    samples = list(map(tile_reader(of_split.record), of_split.tiles))
    classes, heights = (np.stack([sample[n] for sample in samples]) for n in ("classes", "heights"))
    measured = of_split.mean.result()
    assert measured["overall_accuracy"] == (classes == 1).sum() / (classes >= 0).sum()
    errors = heights[classes == 1] - 2
    assert measured["rmse_building"] == pytest.approx(np.sqrt(np.nanmean(errors**2)))


@pytest.mark.parametrize("text", ["[]", "[" * 10**5, '{"tiles": NaN}', '{"per_class": 3}'])
def test_damaged_measures_of_the_baseline_are_left_out(tmp_path, capsys, text):
    path = tmp_path / "mine" / "yardstick_test" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    settings = SimpleNamespace(output_dir=tmp_path, dataset_name="mine")
    assert stored_baseline(settings, "test", {"tiles": 1, "valid_pixels": 4}) == {}
    assert "metrics.json is damaged; the table leaves it out" in capsys.readouterr().out
