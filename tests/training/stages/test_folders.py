import pytest
import tensorflow as tf

from runs.stored import ResumeError, StoredRun
from training.stages.folders import decide, move_aside, read_progress

IDENTITY = {"crop_size": 32, "seed": 0}


@pytest.fixture
def run(tmp_path):
    """Returns a function that writes the state of a run and returns its folder."""

    def write(step, stopped=False, identity=IDENTITY):
        folder = tmp_path / "mtl"
        numbers = {"step": tf.Variable(step, dtype=tf.int64), "stopped": tf.Variable(stopped)}
        checkpoint = tf.train.Checkpoint(**numbers)
        tf.train.CheckpointManager(checkpoint, str(folder / "last"), 1).save(step)
        StoredRun("mtl", {}, identity, [], 0.5, 2.0, None, {}).write(folder)
        return folder

    return write


def test_progress_is_read_without_a_network(run, tmp_path):
    assert read_progress(run(7, stopped=True)) == (7, True)
    assert read_progress(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    "step, stopped, resume, expected",
    [
        (5, False, "auto", "continue"),
        (10, False, "auto", "finished"),
        (12, False, "auto", "finished"),
        (5, True, "auto", "finished"),
        (5, False, "never", "new"),
        (5, False, "named", "continue"),
    ],
)
def test_equal_settings(run, step, stopped, resume, expected):
    assert decide(run(step, stopped), dict(IDENTITY), 10, resume) == expected


def test_other_settings_start_a_new_run(run):
    assert decide(run(5), IDENTITY | {"seed": 1}, 10) == "new"


def test_an_empty_folder_starts_a_new_run(tmp_path):
    assert decide(tmp_path / "mtl", IDENTITY, 10) == "new"


def test_a_named_run_with_other_settings_is_refused(run):
    with pytest.raises(ResumeError, match="seed: 0 there, 1 here"):
        decide(run(5), IDENTITY | {"seed": 1}, 10, "named")


def test_a_named_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ResumeError, match="settings.json"):
        decide(tmp_path, IDENTITY, 10, "named")


def test_moving_aside_counts_on(tmp_path):
    for number in (1, 2):
        (tmp_path / "mtl").mkdir()
        assert move_aside(tmp_path / "mtl").name == f"mtl.{number}"


def test_a_damaged_description_is_named(tmp_path):
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(ResumeError, match="settings.json is damaged"):
        decide(tmp_path, IDENTITY, 10)


@pytest.mark.parametrize("pattern", ["*.index", "*.data*"])
def test_a_damaged_state_is_refused_unless_resume_is_never(run, pattern):
    folder = run(5)
    (path,) = (folder / "last").glob(pattern)
    path.write_bytes(b"\x00\x01")
    with pytest.raises(ResumeError, match="damaged.*--resume=never"):
        decide(folder, IDENTITY, 10)
    assert decide(folder, IDENTITY, 10, "never") == "new"
