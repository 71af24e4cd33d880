"""What an evaluation leaves of an earlier one."""

from types import SimpleNamespace

import pytest

from evaluation import split
from evaluation.split import SplitEvaluation, remove_earlier, stored_baseline

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


@pytest.mark.parametrize("text", ["[]", "[" * 10**5, '{"tiles": NaN}', '{"per_class": 3}'])
def test_damaged_measures_of_the_baseline_are_left_out(tmp_path, capsys, text):
    path = tmp_path / "mine" / "yardstick_test" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    settings = SimpleNamespace(output_dir=tmp_path, dataset_name="mine")
    assert stored_baseline(settings, "test", {"tiles": 1, "valid_pixels": 4}) == {}
    assert "metrics.json is damaged; the table leaves it out" in capsys.readouterr().out
