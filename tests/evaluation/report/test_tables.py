import json
from pathlib import Path

import numpy as np
import pytest

from evaluation.report.tables import intervals_table, metrics_table, verdict
from project.files import write_json, write_rows


def test_json_holds_null_for_nan_and_plain_numbers_for_numpy(tmp_path):
    data = {
        "rmse": np.float32(0.5),
        "r2": float("nan"),
        "n": np.int64(3),
        "a": np.array([1, np.inf]),
    }
    write_json(tmp_path / "new" / "metrics.json", data)
    back = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert back == {"rmse": 0.5, "r2": None, "n": 3, "a": [1.0, None]}


def test_json_is_readable_text(tmp_path):
    write_json(tmp_path / "a.json", {"tile": "Köln", "folder": Path("data")})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "tile": "Köln",\n  "folder": "data"\n}\n'


def test_rows_become_csv_with_empty_cells_for_none(tmp_path):
    write_rows(tmp_path / "a.csv", [{"tile": "x", "rmse": 0.5}, {"tile": "y,z", "rmse": None}])
    assert (tmp_path / "a.csv").read_text() == 'tile,rmse\nx,0.5\n"y,z",\n'


def test_no_rows_become_an_empty_file(tmp_path):
    write_rows(tmp_path / "a.csv", [])
    assert (tmp_path / "a.csv").read_text() == ""


def test_table_lays_runs_side_by_side():
    mtl = {"rmse": 2.3456, "pooled": {"rmse": 2.5}, "tiles": 8, "per_class": {"roof": {"iou": 0.5}}}
    lines = metrics_table({"MTL": mtl, "training mean": {"rmse": 4.0}}).split("\n")
    cells = {line.split("|")[1].strip(): line.split("|")[2:4] for line in lines}
    assert [cell.strip() for cell in cells["RMSE (m)"]] == ["2.346", "4.000"]
    assert [cell.strip() for cell in cells["RMSE, pooled pixels (m)"]] == ["2.500", "-"]
    assert [cell.strip() for cell in cells["IoU, roof"]] == ["0.500", "-"]
    assert [cell.strip() for cell in cells["tiles"]] == ["8", "-"]


def test_table_lines_are_of_one_length_and_markdown():
    lines = metrics_table({"MTL": {"rmse": None}, "a longer title": {}}).split("\n")
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == set("|-: ")


def test_measures_that_no_run_has_are_left_out():
    lines = metrics_table({"MTL": {"rmse": 1.0, "miou": None}, "boosting": {}}).split("\n")
    assert len(lines) == 3 and lines[2].startswith("| RMSE (m)")


def test_intervals_stand_by_convention():
    unknown = {"value": None, "low": None, "high": None}
    rmse = {"value": 2.0, "low": 1.0, "high": 3.0}
    kinds = {"mean_of_tiles": {"rmse": rmse, "miou": unknown}, "pooled": {"rmse": rmse}}
    kinds["pooled"]["miou"] = unknown
    lines = intervals_table({"level": 0.95, "draws": 1000, **kinds}).split("\n")
    assert [cell.strip() for cell in lines[0].split("|")[1:2]] == ["95 % interval"]
    assert [cell.strip() for cell in lines[2].split("|")[2:4]] == ["1.000 to 3.000"] * 2
    assert len(lines) == 3


def test_names_with_bars_and_line_breaks_keep_the_table():
    run = {"per_class": {"a|b\nc": {"iou": 0.5}}}
    lines = metrics_table({"x|y": run}).split("\n")
    assert lines[0].startswith("| measure ") and " x\\|y |" in lines[0]
    assert len(lines) == 3 and lines[2].startswith("| IoU, a\\|b c |")


@pytest.mark.parametrize("error, worse", [(5.0, True), (4.4, True), (4.3996, True), (4.2, False)])
def test_a_network_that_is_no_better_than_the_mean_is_called_so(error, worse):
    measured = {"pooled": {"rmse": error}, "training_mean": {"pooled": {"rmse": 4.4}}}
    sentence = verdict("MTL + DAE", measured)
    assert bool(sentence) == worse
    if worse:
        assert sentence.startswith("MTL + DAE is no better than predicting the mean height")
        assert f"{error:.3f} m, that of the mean 4.400 m." in sentence


def test_without_a_valid_pixel_there_is_no_verdict():
    none = {"pooled": {"rmse": None}}
    assert verdict("MTL", none | {"training_mean": none}) == ""
