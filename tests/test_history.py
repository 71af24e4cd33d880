import csv

import pytest

from training.history import HISTORY_COLUMNS, RowFile, RunLog


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_there_at_once(tmp_path):
    file = RowFile(tmp_path / "h.csv", ("step", "loss"))
    file.append({"step": 1, "loss": 0.5})
    assert rows(tmp_path / "h.csv") == [{"step": "1", "loss": "0.5"}]


def test_resuming_drops_later_rows_and_half_a_line(tmp_path):
    (tmp_path / "h.csv").write_text("step,loss\n1,5.0\n2,4.0\n3,3.0\n4,2")
    file = RowFile(tmp_path / "h.csv", ("step", "loss"), resume_step=2)
    file.append({"step": 3, "loss": 3.5})
    assert [row["loss"] for row in rows(tmp_path / "h.csv")] == ["5.0", "4.0", "3.5"]


def test_a_new_run_starts_empty(tmp_path):
    (tmp_path / "h.csv").write_text("step,loss\n1,5.0\n")
    RowFile(tmp_path / "h.csv", ("step", "loss")).close()
    assert rows(tmp_path / "h.csv") == []


def test_an_unknown_column_is_refused(tmp_path):
    with pytest.raises(ValueError, match="other"):
        RowFile(tmp_path / "h.csv", ("step",)).append({"step": 1, "other": 2})


def test_a_run_writes_both_files_and_tensorboard(tmp_path):
    log = RunLog(tmp_path / "mtl", ("rmse",))
    log.step({"step": 1, "epoch": 1, "loss": 2.0})
    log.validation({"step": 1, "epoch": 1, "rmse": None})
    log.close()
    assert tuple(rows(tmp_path / "mtl" / "history.csv")[0]) == HISTORY_COLUMNS
    assert rows(tmp_path / "mtl" / "validation.csv") == [{"step": "1", "epoch": "1", "rmse": ""}]
    (events,) = (tmp_path / "mtl" / "tensorboard").iterdir()
    assert b"train/loss" in events.read_bytes()
