import csv

import pytest

from project.errors import UserError
from training.history import HISTORY_COLUMNS, CsvFile, RunLog

TAGS = ("train/loss", "train/input_wait", *(f"train/gpu_memory/{number}" for number in range(3)))


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_there_at_once(tmp_path):
    file = CsvFile(tmp_path / "h.csv", ("step", "loss"))
    file.append({"step": 1, "loss": 0.5})
    assert rows(tmp_path / "h.csv") == [{"step": "1", "loss": "0.5"}]


def test_resuming_drops_later_rows_and_half_a_line(tmp_path):
    (tmp_path / "h.csv").write_text("step,loss\n1,5.0\n2,4.0\n3,3.0\n4,2")
    file = CsvFile(tmp_path / "h.csv", ("step", "loss"), resume_step=2)
    file.append({"step": 3, "loss": 3.5})
    assert [row["loss"] for row in rows(tmp_path / "h.csv")] == ["5.0", "4.0", "3.5"]


def test_a_file_with_fewer_columns_can_be_resumed(tmp_path):
    (tmp_path / "h.csv").write_text("step,loss\n1,5.0\n2,4.0\n")
    file = CsvFile(tmp_path / "h.csv", ("step", "loss", "input_wait"), resume_step=1)
    file.append({"step": 2, "loss": 4.5, "input_wait": 0.25})
    assert [row["input_wait"] for row in rows(tmp_path / "h.csv")] == ["", "0.25"]
    assert [row["loss"] for row in rows(tmp_path / "h.csv")] == ["5.0", "4.5"]


def test_values_of_several_gpus_stand_in_one_cell_and_survive_resuming(tmp_path):
    columns = ("step", "gpu_utilisation")
    CsvFile(tmp_path / "h.csv", columns).append({"step": 1, "gpu_utilisation": [93, None, 91]})
    CsvFile(tmp_path / "h.csv", columns, resume_step=1).append({"step": 2})
    assert [row["gpu_utilisation"] for row in rows(tmp_path / "h.csv")] == ["93;;91", ""]


def test_a_new_run_starts_empty(tmp_path):
    (tmp_path / "h.csv").write_text("step,loss\n1,5.0\n")
    CsvFile(tmp_path / "h.csv", ("step", "loss")).close()
    assert rows(tmp_path / "h.csv") == []


def test_an_unknown_column_is_refused(tmp_path):
    with pytest.raises(ValueError, match="other"):
        CsvFile(tmp_path / "h.csv", ("step",)).append({"step": 1, "other": 2})


def test_a_run_writes_both_files_and_tensorboard(tmp_path):
    log = RunLog(tmp_path / "mtl", ("rmse",))
    log.step({"step": 10, "epoch": 1, "loss": 2.0, "gpu_memory": [1.5, None, 2.5]})
    log.step({"step": 11, "epoch": 1, "loss": 2.0, "input_wait": 0.5})  # for the file alone
    log.validation({"step": 1, "epoch": 1, "rmse": None})
    log.close()
    assert tuple(rows(tmp_path / "mtl" / "history.csv")[0]) == HISTORY_COLUMNS
    assert rows(tmp_path / "mtl" / "validation.csv") == [{"step": "1", "epoch": "1", "rmse": ""}]
    (events,) = (tmp_path / "mtl" / "tensorboard").iterdir()
    found = {tag for tag in TAGS if tag.encode() in events.read_bytes()}
    assert found == {"train/loss", "train/gpu_memory/0", "train/gpu_memory/2"}


@pytest.mark.parametrize("text", ["step,loss\nx,1\n", "loss\n1\n", "step,loss\n\xe4,1\n"])
def test_rows_that_no_run_writes_are_named(tmp_path, text):
    (tmp_path / "h.csv").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="h.csv is damaged"):
        CsvFile(tmp_path / "h.csv", ("step", "loss"), resume_step=1)
