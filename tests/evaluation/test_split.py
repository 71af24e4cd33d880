"""What an evaluation leaves of an earlier one."""

from types import SimpleNamespace

import pytest

from evaluation import split
from evaluation.split import SplitEvaluation, remove_earlier
from project.errors import UserError

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


@pytest.fixture
def earlier(tmp_path):
    """Returns a raster in the folder of the evaluation below."""
    path = tmp_path / "mine" / "test_mtl" / "dsm" / "a.tif"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


@pytest.fixture
def evaluation(tmp_path, monkeypatch):
    """Returns an evaluation of stage 1 on the test split of one tile."""
    monkeypatch.setattr(split, "computed_settings", lambda settings: {})
    monkeypatch.setattr(split, "stored_stage", lambda settings, stage: None)
    options = SimpleNamespace(figures=1)
    settings = SimpleNamespace(output_dir=tmp_path, dataset_name="mine", options=options)
    settings.batch_windows, settings.normal_coding = 1, "unit"
    record = SimpleNamespace(class_names=(), building_index=None)
    data = SimpleNamespace(record=record, gsd=0.5, tiles={"test": (SimpleNamespace(name="a"),)})
    return SplitEvaluation(settings, data, "test", "mtl")


def test_nothing_is_removed_before_an_evaluation_runs(earlier, evaluation):
    assert evaluation.drawn == {"a"} and earlier.is_file()


def test_a_folder_that_no_evaluation_has_written_stays_as_it_is(earlier, evaluation):
    with pytest.raises(UserError, match="test_mtl holds files, but no settings.json or metrics"):
        evaluation.run(None, 1)
    assert earlier.is_file()


def test_an_evaluation_that_was_killed_may_be_repeated(evaluation, monkeypatch):
    def killed(*_):
        (evaluation.folder / "dsm" / "a.tif").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(split, "evaluate_tiles", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            evaluation.run(None, 1)
