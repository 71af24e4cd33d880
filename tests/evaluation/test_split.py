"""What an evaluation leaves of an earlier one."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from evaluation import split
from evaluation.split import SplitEvaluation, is_own
from project.errors import UserError

OWN = {"report.html", "metrics.json", "per_tile.csv", "density.png", "errors.png"}
OWN |= {"dsm/a.tif", "sem/a.tif", "figures/a.png"}
EARLIER = '{"settings": {}}'
OTHERS = {"notes.txt", "map.tif", "dsm/a.qml", "figures/a.tif", "mine/a.tif"}


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


def test_an_evaluation_replaces_its_own_files_and_no_others(tmp_path, monkeypatch):
    folder = tmp_path / "mine" / "test_mtl"
    for name in OWN | OTHERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(EARLIER)
    evaluation = evaluation_of(tmp_path, monkeypatch)
    assert evaluation.drawn == {"a"}
    with evaluation.replacing():
        assert set(content(folder)) == OWN | OTHERS
        (evaluation.folder / "metrics.json").write_text("new")
    assert content(folder) == dict.fromkeys(OTHERS, EARLIER.encode()) | {"metrics.json": b"new"}
    assert [path.name for path in folder.parent.iterdir()] == ["test_mtl"]


@pytest.mark.parametrize("name", sorted(OWN | OTHERS))
def test_own_files_are_known_by_place_and_ending(name):
    assert is_own(Path(name)) == (name in OWN)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_evaluation_that_fails_leaves_the_earlier_one(tmp_path, monkeypatch, error):
    folder = tmp_path / "mine" / "test_mtl"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(EARLIER)
    evaluation = evaluation_of(tmp_path, monkeypatch)
    with pytest.raises(error), evaluation.replacing():
        (evaluation.folder / "metrics.json").write_text("new")
        raise error
    assert content(tmp_path) == {"mine/test_mtl/metrics.json": EARLIER.encode()}


def test_a_folder_that_no_evaluation_has_written_stays_as_it_is(tmp_path, monkeypatch):
    mine = tmp_path / "mine" / "test_mtl" / "dsm" / "a.tif"
    mine.parent.mkdir(parents=True)
    mine.touch()
    evaluation = evaluation_of(tmp_path, monkeypatch)
    message = "test_mtl holds files, but no metrics.json"
    with pytest.raises(UserError, match=message), evaluation.replacing():
        pass
    assert mine.is_file()
