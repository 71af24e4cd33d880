import json
import time
import tomllib

import numpy as np
import pytest

from datasets.prepare.preparation import (
    VERSION,
    Job,
    PreparationPlan,
    check_folder,
    fitting_crop,
    record_text,
    write_data_set,
    write_record,
)
from datasets.prepare.tile_files import PrepareError, TilePixels
from datasets.rasters.reading import Grid
from datasets.records.record import read_record


def pixels(heights=(1, 2, 3, np.nan)):
    """Returns a tile of 2 x 2 pixels with label codes 2 and 6, the last pixel unlabelled."""
    return TilePixels(
        (np.full((2, 2, 3), 50, "uint8"), np.ones((2, 2), bool)),
        np.reshape(heights, (2, 2)).astype("float32"),
        (np.reshape([2, 6, 6, 9], (2, 2, 1)), np.array([[True, True], [True, False]])),
        Grid(2, 2, None, ""),
    )


def job(name="0000_0000", split="train", read=pixels):
    return Job(split, name, read, has_labels=True)


def make_plan(folder, jobs, **settings):
    return PreparationPlan(folder, {"seed": 0, **settings}, jobs, {"name": "Town", "gsd": 0.5})


def test_a_folder_of_others_is_refused_but_not_what_a_kill_left_of_its_first_file(tmp_path):
    (tmp_path / ".part.0123abcd.preparation.json").write_text("{")
    check_folder(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(PrepareError, match="holds no preparation.json"):
        check_folder(tmp_path)


def test_record_text_is_toml_of_the_same_keys():
    keys = {
        "name": 'The "old" town\n',
        "gsd": 0.5,
        "ignore_codes": [[0, 0, 0]],
        "classes": [{"code": 2, "name": "ground"}, {"code": 6, "name": "building"}],
    }
    assert tomllib.loads(record_text(keys)) == keys


def test_codes_become_classes_and_an_edited_record_stays(tmp_path):
    assert write_record(tmp_path, {"gsd": 0.5}, {6, 2})
    record = read_record(tmp_path / "dataset.toml")
    assert [(c.code, c.name) for c in record.classes] == [(2, "class_2"), (6, "class_6")]
    assert not write_record(tmp_path, {"gsd": 0.7}, {1})
    assert read_record(tmp_path / "dataset.toml") == record


@pytest.mark.parametrize(
    "tile, crop", [(512, None), (256, None), (128, 128), (100, 96), (None, None)]
)
def test_small_tiles_have_a_crop_that_fits(tile, crop):
    assert fitting_crop(tile, 256).get("crop_size") == crop


def test_tiles_with_little_data_are_dropped_and_counted(tmp_path):
    poor = pixels((1, np.nan, np.nan, np.nan))
    jobs = [job("b"), job("c", read=lambda: poor)]
    summary = write_data_set(make_plan(tmp_path / "a", jobs))
    assert summary.tiles == {"train": 1} and summary.dropped == ["train/c (25%)"]
    assert [path.name for path in (tmp_path / "a/train/rgb").iterdir()] == ["b.tif"]
    assert "1 dropped for too little valid data, such as train/c (25%)" in str(summary)


def test_a_stopped_run_is_continued(tmp_path):
    jobs = [job("b"), job("c"), job("d")]
    write_data_set(make_plan(tmp_path / "a", jobs))
    (tmp_path / "a/train/sem/c.tif").unlink()
    kept = (tmp_path / "a/train/rgb/b.tif").stat().st_mtime_ns
    done = []
    jobs = [job(name, read=lambda: done.append(1) or pixels()) for name in "bcd"]
    summary = write_data_set(make_plan(tmp_path / "a", jobs))
    assert len(done) == 1 and summary.kept == 2 and summary.tiles == {"train": 3}
    assert summary.facts.codes == {2, 6} and summary.facts.valid_share == 0.75
    assert (tmp_path / "a/train/rgb/b.tif").stat().st_mtime_ns == kept


def test_other_settings_are_refused_with_both_values(tmp_path):
    write_data_set(make_plan(tmp_path / "a", [job()]))
    with pytest.raises(PrepareError, match="prepared with seed 0, not 1.*remove the folder"):
        write_data_set(make_plan(tmp_path / "a", [job()], seed=1))


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(PrepareError, match="preparation.json"):
        write_data_set(make_plan(tmp_path, [job()]))
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_failing_tile_stops_the_run_and_is_named(tmp_path):
    def fail():
        raise PrepareError("x.tif is broken")

    def wait():
        time.sleep(0.02)
        return pixels()

    jobs = [job("b", read=fail), *(job(f"c{n}", read=wait) for n in range(500))]
    with pytest.raises(PrepareError, match="x.tif is broken"):
        write_data_set(make_plan(tmp_path / "a", jobs))
    assert not (tmp_path / "a" / "dataset.toml").exists()
    assert len(list(tmp_path.glob("a/train/rgb/*.tif"))) < 500  # the others were not begun


def test_no_valid_tile_at_all_is_an_error(tmp_path):
    empty = pixels([np.nan] * 4)
    with pytest.raises(PrepareError, match="none of 1 tiles has 50%"):
        write_data_set(make_plan(tmp_path / "a", [job(read=lambda: empty)]))


def test_an_empty_split_is_warned_about(tmp_path):
    empty = pixels([np.nan] * 4)
    jobs = [job("b"), job("c", "valid", lambda: empty)]
    summary = write_data_set(make_plan(tmp_path / "a", jobs))
    assert "warning: the valid split has no tile" in str(summary)


def test_settings_in_the_folder_are_readable(tmp_path):
    write_data_set(make_plan(tmp_path / "a", [job()], splits=(0.7, 0.15, 0.15)))
    found = json.loads((tmp_path / "a/preparation.json").read_text())
    assert found == {"version": VERSION, "seed": 0, "splits": [0.7, 0.15, 0.15]}


@pytest.mark.parametrize("text", ["[]", "[" * 10**5, '["ab"]'])
def test_a_damaged_note_is_named(tmp_path, text):
    (tmp_path / "preparation.json").write_text(text)
    with pytest.raises(PrepareError, match="preparation.json is damaged"):
        write_data_set(make_plan(tmp_path, [job()]))
