import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runs.stored import ResumeError
from training import states
from training.states import (
    DamagedState,
    Numbers,
    newest_whole,
    read_progress,
    remove_leftovers,
    remove_superseded,
    rewrite_numbers,
    saved_states,
    write_state,
)

ROOT = Path(__file__).parents[2]


def write(last, step, **numbers):
    def files(prefix):
        for ending, content in ((".index", b"index" * 9), (".data-00000-of-00001", bytes(500))):
            with open(prefix + ending, "wb") as file:
                file.write(content)

    write_state(last, Numbers(step, **numbers), files)
    return last / f"step-{step:08d}"


def flip(path, bit=0, place=0.5):
    """Turns one bit of a file."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)


def test_numbers_come_back(tmp_path):
    write(tmp_path, 120, best=0.1, waited=2, stopped=True, pending=True)
    assert read_progress(tmp_path) == Numbers(120, 0.1, 2, True, True)


def test_no_best_value_is_nan(tmp_path):
    write(tmp_path, 1)
    assert math.isnan(read_progress(tmp_path).best)


def test_progress_is_read_without_tensorflow(tmp_path):
    write(tmp_path, 7)
    code = f"""import sys; from pathlib import Path; from training.states import read_progress
print(read_progress(Path({str(tmp_path)!r})).step, "tensorflow" in sys.modules)"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ended.stdout.split() == ["7", "False"], ended.stderr


def test_there_is_no_state_in_an_absent_folder(tmp_path):
    assert read_progress(tmp_path / "last") is None and newest_whole(tmp_path / "last") is None


def test_the_newest_is_found_by_its_number(tmp_path):
    for step in (9, 100_000_000, 80):
        write(tmp_path, step)
    assert newest_whole(tmp_path).step == 100_000_000


def test_an_error_in_a_write_leaves_nothing(tmp_path):
    write(tmp_path, 1)

    def fail(prefix):
        open(prefix + ".index", "w").close()
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_state(tmp_path, Numbers(2), fail)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


@pytest.mark.parametrize("name", ["state.index", "state.data-00000-of-00001", "state.json"])
@pytest.mark.parametrize("bit", [0, 3, 7])
@pytest.mark.parametrize("place", [0, 0.3, 0.999])
def test_a_flipped_bit_is_seen_and_the_state_before_taken(tmp_path, capsys, name, bit, place):
    write(tmp_path, 1)
    flip(write(tmp_path, 2) / name, bit, place)
    assert newest_whole(tmp_path).step == 1
    assert (tmp_path / "step-00000002.damaged" / name).is_file()
    shown = capsys.readouterr().out
    assert "A SAVED STATE IS DAMAGED" in shown and name in shown
    assert "step-00000002.damaged" in shown and "goes on from the state before" in shown


@pytest.mark.parametrize("name", ["state.index", "state.data-00000-of-00001", "state.json"])
@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_text("{")])
def test_a_lost_or_short_file_is_seen_without_reading_all(tmp_path, name, change):
    write(tmp_path, 1)
    change(write(tmp_path, 2) / name)
    assert read_progress(tmp_path).step == 1


def test_damaged_states_are_counted_not_replaced(tmp_path):
    for _ in range(3):
        flip(write(tmp_path, 2) / "state.index")
        with pytest.raises(ResumeError):
            newest_whole(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"step-00000002.damaged{end}" for end in ("", ".1", ".2")]


def test_if_all_are_damaged_it_is_said_each_time(tmp_path):
    for step in (1, 2):
        flip(write(tmp_path, step) / "state.index")
    for _ in range(2):
        with pytest.raises(ResumeError, match="No whole state.*best.weights.h5 stays.*--resume=n"):
            newest_whole(tmp_path)
    with pytest.raises(ResumeError, match="step-00000001.damaged, .*step-00000002.damaged"):
        read_progress(tmp_path)


def test_nothing_is_renamed_if_told_so(tmp_path):
    write(tmp_path, 1)
    flip(write(tmp_path, 2) / "state.index")
    assert newest_whole(tmp_path, set_aside=False).step == 1
    assert (tmp_path / "step-00000002").is_dir()


def test_a_newer_format_is_refused_and_nothing_touched(tmp_path, monkeypatch):
    write(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(states, "FORMAT", 2)
        write(tmp_path, 2)
    for read in (read_progress, newest_whole):
        with pytest.raises(ResumeError, match="newer version.*format is 2, expected at most 1"):
            read(tmp_path)
    assert [state.step for state in saved_states(tmp_path)] == [2, 1]


def test_a_flipped_format_is_damage(tmp_path):
    path = write(tmp_path, 1) / "state.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(DamagedState, match="not what was written"):
        saved_states(tmp_path)[0].verify()


def test_numbers_are_replaced_without_the_files(tmp_path):
    folder = write(tmp_path, 7, pending=True)
    data = folder / "state.data-00000-of-00001"
    before = data.stat()
    rewrite_numbers(tmp_path, Numbers(7, best=2.5))
    assert newest_whole(tmp_path).verify() == Numbers(7, best=2.5)
    assert (data.stat().st_ino, data.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len(list(folder.iterdir())) == 3


def test_numbers_of_a_state_that_has_gone_are_one_line(tmp_path):
    shutil.rmtree(write(tmp_path, 7))
    with pytest.raises(DamagedState, match="step-00000007/state.json: No such file"):
        rewrite_numbers(tmp_path, Numbers(7))


@pytest.mark.parametrize("keep, steps", [(1, [4]), (2, [4, 3]), (9, [4, 3, 2, 1])])
def test_the_newest_are_kept(tmp_path, keep, steps):
    for step in (1, 2, 3, 4):
        write(tmp_path, step)
    remove_superseded(tmp_path, keep)
    assert [state.step for state in saved_states(tmp_path)] == steps
    assert len(list(tmp_path.iterdir())) == len(steps)


def test_a_damaged_state_neither_counts_nor_goes(tmp_path):
    for step in (1, 2, 3):
        write(tmp_path, step)
    (tmp_path / "step-00000002" / "state.index").unlink()
    remove_superseded(tmp_path, 2)
    assert [state.step for state in saved_states(tmp_path)] == [3, 2, 1]


EARLIER = ("checkpoint", "ckpt-5.index", "ckpt-5.data-00000-of-00001")


def test_a_state_of_an_earlier_version_goes_when_enough_newer_ones_are_whole(tmp_path):
    for name in EARLIER:
        (tmp_path / name).touch()
    for step, there in ((6, True), (7, False)):
        write(tmp_path, step)
        remove_superseded(tmp_path, 2)
        assert all((tmp_path / name).exists() == there for name in EARLIER)
        assert [state.step for state in saved_states(tmp_path)] == [7, 6, 5][7 - step :][:2]


@pytest.mark.parametrize("gone", ["ckpt-5.index", "ckpt-5.data-00000-of-00001"])
def test_half_a_state_of_an_earlier_version_is_none(tmp_path, gone):
    for name in {*EARLIER} - {gone}:
        (tmp_path / name).touch()
    assert saved_states(tmp_path) == []


def test_what_killed_writes_leave_is_removed_and_nothing_else(tmp_path):
    last, part = tmp_path / "last", ".part.0123abcd"
    state = write(last, 1)
    (last / f"{part}.step-00000002").mkdir()
    (last / "ckpt-3_temp").mkdir()
    copy = tmp_path.with_name(f"{part}.{tmp_path.name}")
    copy.mkdir()
    gone = [tmp_path / f"{part}.best.weights.h5", tmp_path / "part.weights.h5", copy / "x"]
    gone += [tmp_path / f"{part}.history.csv"]
    gone += [state / f"{part}.state.json", last / "checkpoint.tmp123", last / "ckpt-3_temp" / "x"]
    kept = [tmp_path / "best.weights.h5", tmp_path / ".part.mine", tmp_path / f"{part}.notes"]
    kept += [last / "checkpoint", last / "ckpt-3.index", state / "state.json"]
    for path in (*gone, *kept):
        path.touch()
    remove_leftovers(tmp_path)
    assert all(path.exists() for path in kept) and not any(path.exists() for path in gone)
    assert not (last / "ckpt-3_temp").exists() and not (last / f"{part}.step-00000002").exists()
