import contextlib
import csv

import pytest
import tensorflow as tf

from tests.full_disk import file_limit
from training import history
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


WHOLE = b"step,loss\n1,5.0\n2,4.0\n3,3.0\n"
DAMAGED = {  # what a disk may make of the file of four steps: rows before the damage
    "rubbish": (WHOLE + b"\x80\xff\x12,\n4,2.0\n", 3),
    "zeros": (WHOLE[:16] + bytes(20) + b"\n4,2.0\n", 1),
    "cut in the middle": (WHOLE[:17] + b"\n3,3.0\n4,2.0\n", 1),
    "no text": (b"step,loss\n1,5.0\n2,\xe4\n", 1),
    "no number": (WHOLE + b"4,high\n", 3),
    "no step": (WHOLE + b",1.0\n", 3),
    "more cells": (WHOLE + b"4,2.0,1.0\n", 3),
    "another header": (b"epoch,loss\n1,5.0\n", 0),
    "no header": (WHOLE[10:], 0),
    "a step twice": (WHOLE + b"3,3.0\n4,2.0\n", 3),
    "a step too early": (WHOLE + b"2,3.0\n4,2.0\n", 3),
    "nothing but rubbish": (bytes(range(256)) * 9, 0),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_cut_to_its_last_whole_row_and_kept_aside(tmp_path, name, capsys):
    path = tmp_path / "h.csv"
    damaged, kept = DAMAGED[name]
    for number, aside in enumerate(("h.csv.damaged", "h.csv.damaged.1")):
        path.write_bytes(damaged)
        file = CsvFile(path, ("step", "loss"), resume_step=4)
        assert file.kept == kept
        file.append({"step": 5, "loss": 1.0})
        steps = [row["step"] for row in rows(path)]
        assert steps == [*map(str, range(1, kept + 1)), "5"]
        assert (tmp_path / aside).read_bytes() == damaged
        assert len(list(tmp_path.iterdir())) == number + 2
        message = f"warning: {path} is damaged after {kept} rows"
        assert capsys.readouterr().out.count(message) == 1


def test_files_that_are_whole_are_not_called_damaged(tmp_path, capsys):
    whole = (
        b"",
        b"step,loss\n",
        WHOLE,
        b"\xef\xbb\xbf" + WHOLE.replace(b"\n", b"\r\n"),
        WHOLE + b"4",
    )
    for content in whole:
        (tmp_path / "h.csv").write_bytes(content)
        CsvFile(tmp_path / "h.csv", ("step", "loss"), resume_step=9).close()
    texts = b"step,tile\n1,a b\n1,\xc3\xa4\n"
    (tmp_path / "bad.csv").write_bytes(texts)
    CsvFile(tmp_path / "bad.csv", ("step", "tile"), resume_step=9, strict=False).close()
    assert (tmp_path / "bad.csv").read_bytes() == texts and not capsys.readouterr().out


def test_steps_that_a_resumed_history_lacks_are_said(tmp_path, capsys):
    (tmp_path / "history.csv").write_bytes(b"step,loss\n1,5.0\n2,4.0\n5,1.0\n")
    RunLog(tmp_path, ("rmse",), resume_step=4).close()
    message = f"{tmp_path}/history.csv lacks the rows of 2 of the 4 steps.\n"
    assert capsys.readouterr().out == message


def test_rows_wait_for_a_disk_that_is_full_and_are_all_there_when_it_has_room(tmp_path, capsys):
    log = RunLog(tmp_path, ("rmse",))
    (events,) = (tmp_path / "tensorboard").iterdir()
    for step in range(1, 41):
        room = 10**9 if not 10 < step <= 30 else 0
        if step == 11:
            room = events.stat().st_size + 20  # for half a record
        with file_limit(room):
            log.step({"step": step, "epoch": 1, "loss": 1.0})
            log.validation({"step": step, "epoch": 1, "rmse": 2.0})
    log.close()
    for name in ("history.csv", "validation.csv"):
        assert [int(row["step"]) for row in rows(tmp_path / name)] == list(range(1, 41))
    assert board_steps(tmp_path / "tensorboard") == set(range(1, 41))
    printed = capsys.readouterr().out
    for name in ("history.csv", "validation.csv", "tensorboard"):
        assert printed.count(f"warning: {tmp_path}/{name} cannot be written: ") == 1
        assert printed.count(f"{tmp_path}/{name} is written again") == 1
    assert "lacks" not in printed


def board_steps(folder):
    """Returns the steps in all files of a folder, each read up to its first damage."""
    found = set()
    for path in folder.iterdir():
        with contextlib.suppress(tf.errors.DataLossError):
            for record in tf.data.TFRecordDataset(str(path)):
                found.add(tf.compat.v1.Event.FromString(record.numpy()).step)
    return found - {0}


def test_rows_that_never_found_room_are_counted_at_the_end(tmp_path, capsys):
    log = RunLog(tmp_path, ("rmse",))
    log.step({"step": 1, "epoch": 1, "loss": 1.0})
    with file_limit(500):
        for step in range(2, 100):
            log.step({"step": step, "epoch": 1, "loss": 1.0})
        log.close()
    kept = len(rows(tmp_path / "history.csv"))
    lacks = f"history.csv lacks {99 - kept} rows, of steps {kept + 1} to 99: it would be larger"
    assert kept < 50 and lacks in capsys.readouterr().out
    assert (tmp_path / "history.csv").read_bytes().endswith(b"\n")  # no half row


def test_a_bounded_number_of_rows_waits(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(history, "MOST_WAITING", 3)
    file = CsvFile(tmp_path / "h.csv", ("step", "loss"))
    with file_limit(10):
        for step in range(1, 6):
            file.append({"step": step, "loss": 1.0})
    file.close()
    assert [row["step"] for row in rows(tmp_path / "h.csv")] == ["3", "4", "5"]
    assert "h.csv lacks 2 rows, of steps 1 to 2: too many" in capsys.readouterr().out
