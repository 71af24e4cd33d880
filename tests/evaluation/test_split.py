"""What an evaluation leaves of an earlier one."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from evaluation import split
from evaluation.split import SplitEvaluation, is_own, stored_baseline

OWN = {"report.html", "metrics.json", "per_tile.csv", "density.png", "errors.png"}
OWN |= {"dsm/a.tif", "sem/a.tif", "figures/a.png"}
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
        (folder / name).write_text("earlier")
    evaluation = evaluation_of(tmp_path, monkeypatch)
    assert evaluation.drawn == {"a"}
    with evaluation.replacing():
        assert set(content(folder)) == OWN | OTHERS
        (evaluation.folder / "metrics.json").write_text("new")
    assert content(folder) == dict.fromkeys(OTHERS, b"earlier") | {"metrics.json": b"new"}
    assert [path.name for path in folder.parent.iterdir()] == ["test_mtl"]


@pytest.mark.parametrize("name", sorted(OWN | OTHERS))
def test_own_files_are_known_by_place_and_ending(name):
    assert is_own(Path(name)) == (name in OWN)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_evaluation_that_fails_leaves_the_earlier_one(tmp_path, monkeypatch, error):
    folder = tmp_path / "mine" / "test_mtl"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text("earlier")
    evaluation = evaluation_of(tmp_path, monkeypatch)
    with pytest.raises(error), evaluation.replacing():
        (evaluation.folder / "metrics.json").write_text("new")
        raise error
    assert content(tmp_path) == {"mine/test_mtl/metrics.json": b"earlier"}


@pytest.mark.parametrize("text", ["[]", "[" * 10**5, '{"tiles": NaN}', '{"per_class": 3}'])
def test_damaged_measures_of_the_baseline_are_left_out(tmp_path, capsys, text):
    path = tmp_path / "mine" / "yardstick_test" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    settings = SimpleNamespace(output_dir=tmp_path, dataset_name="mine")
    assert stored_baseline(settings, "test", {"tiles": 1, "valid_pixels": 4}) == {}
    assert "metrics.json is damaged; the table leaves it out" in capsys.readouterr().out
