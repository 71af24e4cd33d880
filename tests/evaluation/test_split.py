"""What an evaluation measures with, and what it leaves of an earlier one."""

from types import SimpleNamespace

import numpy as np
import pytest

import test_dsm
from evaluation import split
from evaluation.split import SplitEvaluation, remove_earlier
from evaluation.tiles import true_normals
from runs.start import prepare_data, tile_reader
from settings.loading import load

OWN = {"report.html", "metrics.json", "per_tile.csv", "density.png", "errors.png"}
OWN |= {"dsm/a.tif", "sem/a.tif", "figures/a.png"}
OTHERS = {"notes.txt", "map.tif", "dsm/a.qml", "figures/a.tif", "mine/a.tif"}


def test_an_earlier_evaluation_is_removed_and_nothing_else(tmp_path):
    for name in OWN | OTHERS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    remove_earlier(tmp_path)
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == OTHERS


def test_the_first_evaluation_finds_nothing(tmp_path):
    remove_earlier(tmp_path / "absent")


def test_nothing_is_removed_before_an_evaluation_runs(tmp_path, monkeypatch):
    earlier = tmp_path / "mine" / "test_mtl" / "metrics.json"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    monkeypatch.setattr(split, "stored_stage", lambda settings, stage: None)
    options = SimpleNamespace(figures=1)
    settings = SimpleNamespace(output_dir=tmp_path, dataset_name="mine", options=options)
    record = SimpleNamespace(class_names=(), building_index=None)
    data = SimpleNamespace(record=record, gsd=0.5, tiles={"test": (SimpleNamespace(name="a"),)})
    assert SplitEvaluation(settings, data, "test", "mtl").drawn == {"a"}
    assert earlier.is_file()


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


def test_the_baseline_says_the_mean_height_and_the_commonest_class(evaluation):
    of_split = evaluation()
    of_split.run(flat, 1)
    samples = list(map(tile_reader(of_split.record), of_split.tiles))
    classes, heights = (np.stack([sample[n] for sample in samples]) for n in ("classes", "heights"))
    measured = of_split.mean.result()
    assert measured["overall_accuracy"] == (classes == 1).sum() / (classes >= 0).sum()
    errors = heights[classes == 1] - 2
    assert measured["rmse_building"] == pytest.approx(np.sqrt(np.nanmean(errors**2)))
