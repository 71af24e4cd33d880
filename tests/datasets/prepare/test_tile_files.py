import json
import tomllib

import numpy as np
import pytest

from datasets.prepare.record_file import fitting_crop, record_text, write_record
from datasets.prepare.running import VERSION, Job, Plan, prepare
from datasets.prepare.tile_files import Pixels, PrepareError, read_facts, tile_paths, write_tile
from datasets.rasters.grids import projection_wkt
from datasets.rasters.reading import Grid, read_raster
from datasets.records.record import read_record

GRID = Grid(2, 2, (5e5, 0.5, 0.0, 5e6, 0.0, -0.5), projection_wkt(32632))


def make_pixels(**changes):
    given = {
        "image": np.full((2, 2, 3), 50, "uint8"),
        "has_image": np.ones((2, 2), bool),
        "heights": np.array([[1, 2], [3, np.nan]], "float32"),
        "labels": np.array([[2, 6], [6, 9]], "uint8")[..., None],
        "has_label": np.array([[True, True], [True, False]]),
        "grid": GRID,
    }
    return Pixels(**{**given, **changes})


def make_plan(folder, jobs, **settings):
    return Plan(folder, {"seed": 0, **settings}, jobs, {"name": "Town", "gsd": 0.5})


def job(name="0000_0000", split="train", read=make_pixels):
    return Job(split, name, read, has_labels=True)


def test_a_tile_keeps_values_nodata_and_place(tmp_path):
    paths = tile_paths(tmp_path, "train", "a", has_labels=True)
    facts = write_tile(paths, make_pixels())
    heights, labels = read_raster(paths["dsm"]), read_raster(paths["sem"])
    assert heights.valid.tolist() == labels.valid.tolist() == [[True, True], [True, False]]
    assert heights.pixels[..., 0][heights.valid].tolist() == [1, 2, 3]
    assert labels.pixels[..., 0][labels.valid].tolist() == [2, 6, 6]
    assert heights.grid == read_raster(paths["rgb"]).grid == GRID
    assert (facts.valid_share, facts.lowest, facts.highest) == (0.75, 1, 3)
    assert facts.codes == {2, 6} and read_facts(paths) == facts


def test_gaps_of_a_photo_are_nodata_and_black_stays_data(tmp_path):
    image = np.array([[[0, 0, 0], [9, 9, 9]], [[0, 7, 0], [5, 5, 5]]], "uint8")
    has_image = np.array([[True, True], [True, False]])
    paths = tile_paths(tmp_path, "train", "a", has_labels=True)
    write_tile(paths, make_pixels(image=image, has_image=has_image))
    photo = read_raster(paths["rgb"])
    assert photo.valid.tolist() == has_image.tolist()
    assert photo.pixels[photo.valid].tolist() == [[1, 1, 1], [9, 9, 9], [0, 7, 0]]
    write_tile(paths, make_pixels(image=image))
    assert read_raster(paths["rgb"]).pixels.tolist() == image.tolist()  # without gaps as it was


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_gaps_of_radar_are_nodata(tmp_path, dtype):
    radar = np.array([[0, 7], [9, 200]], dtype)[..., None]
    has_radar = np.array([[True, True], [True, False]])
    paths = tile_paths(tmp_path, "train", "a", has_labels=False, has_radar=True)
    assert list(paths) == ["rgb", "dsm", "sar"]
    write_tile(paths, make_pixels(radar=radar, has_radar=has_radar))
    found = read_raster(paths["sar"])
    assert found.valid.tolist() == has_radar.tolist() and found.grid == GRID
    assert found.pixels.dtype == dtype
    assert found.pixels[found.valid].ravel().tolist() == [0 if dtype == "float32" else 1, 7, 9]


def test_colour_labels_stay_colours(tmp_path):
    colours = np.array([[[0, 0, 255], [255, 0, 0]], [[0, 0, 255], [0, 0, 0]]], "uint8")
    paths = tile_paths(tmp_path, "train", "a", has_labels=True)
    facts = write_tile(paths, make_pixels(labels=colours))
    assert facts.codes == {(0, 0, 255), (255, 0, 0)} == read_facts(paths).codes


def test_a_photo_given_as_labels_is_refused(tmp_path):
    labels = np.arange(400).reshape(20, 20, 1)
    pixels = make_pixels(labels=labels, has_label=np.ones((20, 20), bool))
    with pytest.raises(PrepareError, match="400 codes.*Is this a file of labels"):
        write_tile(tile_paths(tmp_path, "train", "a", True), pixels)


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
    poor = make_pixels(heights=np.array([[1, np.nan], [np.nan, np.nan]], "float32"))
    summary = prepare(make_plan(tmp_path / "a", [job("b"), job("c", read=lambda: poor)]))
    assert summary.tiles == {"train": 1} and summary.dropped == [("train", "c", 0.25)]
    assert [path.name for path in (tmp_path / "a/train/rgb").iterdir()] == ["b.tif"]
    assert "1 dropped" in str(summary) and "train/c (25%)" in str(summary)


def test_a_stopped_run_is_continued(tmp_path):
    jobs = [job("b"), job("c"), job("d")]
    prepare(make_plan(tmp_path / "a", jobs))
    (tmp_path / "a/train/sem/c.tif").unlink()
    kept = (tmp_path / "a/train/rgb/b.tif").stat().st_mtime_ns
    done = []
    jobs = [job(name, read=lambda: done.append(1) or make_pixels()) for name in "bcd"]
    summary = prepare(make_plan(tmp_path / "a", jobs))
    assert len(done) == 1 and summary.kept == 2 and summary.tiles == {"train": 3}
    assert summary.codes == {2, 6} and summary.valid_share == 0.75
    assert (tmp_path / "a/train/rgb/b.tif").stat().st_mtime_ns == kept


def test_other_settings_are_refused_with_both_values(tmp_path):
    prepare(make_plan(tmp_path / "a", [job()]))
    with pytest.raises(PrepareError, match="prepared with seed 0, not 1.*remove the folder"):
        prepare(make_plan(tmp_path / "a", [job()], seed=1))


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(PrepareError, match="preparation.json"):
        prepare(make_plan(tmp_path, [job()]))
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_failing_tile_stops_the_run_and_is_named(tmp_path):
    def fail():
        raise PrepareError("x.tif is broken")

    with pytest.raises(PrepareError, match="x.tif is broken"):
        prepare(make_plan(tmp_path / "a", [job("b", read=fail), job("c")]))
    assert not (tmp_path / "a" / "dataset.toml").exists()


def test_no_valid_tile_at_all_is_an_error(tmp_path):
    empty = make_pixels(heights=np.full((2, 2), np.nan, "float32"))
    with pytest.raises(PrepareError, match="none of 1 tiles has 50%"):
        prepare(make_plan(tmp_path / "a", [job(read=lambda: empty)]))


def test_an_empty_split_is_warned_about(tmp_path):
    empty = make_pixels(heights=np.full((2, 2), np.nan, "float32"))
    jobs = [job("b"), job("c", "valid", lambda: empty)]
    summary = prepare(make_plan(tmp_path / "a", jobs))
    assert "warning: the valid split has no tile" in str(summary)


def test_settings_in_the_folder_are_readable(tmp_path):
    prepare(make_plan(tmp_path / "a", [job()], splits=(0.7, 0.15, 0.15)))
    found = json.loads((tmp_path / "a/preparation.json").read_text())
    assert found == {"version": VERSION, "seed": 0, "splits": [0.7, 0.15, 0.15]}
