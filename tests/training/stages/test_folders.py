import shutil
from types import SimpleNamespace

import pytest
import tensorflow as tf

from runs.stored import ResumeError, StoredRun
from settings.loading import load
from training.loop import TrainingPlan
from training.stages.folders import (
    decide,
    earlier_steps,
    move_aside,
    prepare_folders,
)
from training.stages.stage import StageRun
from training.stages.step import learning_rates
from training.states import read_progress

IDENTITY = {"crop_size": 32, "seed": 0}


@pytest.fixture
def run(tmp_path):
    """Returns a function that writes the state of a run and returns its folder."""

    def write(step, stopped=False, identity=IDENTITY, total_steps=0, schedule_steps=0):
        folder = tmp_path / "mtl"
        numbers = {"step": tf.Variable(step, dtype=tf.int64), "stopped": tf.Variable(stopped)}
        checkpoint = tf.train.Checkpoint(**numbers)
        tf.train.CheckpointManager(checkpoint, str(folder / "last"), 1).save(step)
        steps = {"total_steps": total_steps, "schedule_steps": schedule_steps}
        StoredRun("mtl", {}, identity, [], 0.5, 2.0, None, {}, **steps).write(folder)
        return folder

    return write


def test_progress_is_read_without_a_network(run, tmp_path):
    progress = read_progress(run(7, stopped=True) / "last")
    assert (progress.step, progress.stopped, progress.pending) == (7, True, False)
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


def lose(last, *names):
    for name in names:
        (last / name).unlink()


@pytest.mark.parametrize(
    "lost",
    [
        lambda last: shutil.rmtree(last),
        lambda last: lose(last, "ckpt-5.index"),
        lambda last: lose(last, "ckpt-5.data-00000-of-00001"),
        lambda last: lose(last, "ckpt-5.index", "checkpoint"),
    ],
)
def test_weights_without_a_state_are_moved_aside_and_named(run, tmp_path, capsys, lost):
    folder = run(5)
    (folder / "best.weights.h5").write_text("weights of days")
    lost(folder / "last")
    assert prepare_folders(asked_again(tmp_path)) == "new"
    aside = tmp_path / "mtl.1"
    assert (aside / "best.weights.h5").read_text() == "weights of days"
    assert not list(folder.iterdir())
    assert f"Its best weights are now {aside}/best.weights.h5" in capsys.readouterr().out


@pytest.mark.parametrize("rows, moved", [(1, False), (2, True)])
def test_a_history_without_a_state_is_moved_aside(run, tmp_path, rows, moved):
    shutil.rmtree(run(5) / "last")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "history.csv").write_text("step\n1\n" if rows == 2 else "step\n")
    assert prepare_folders(asked_again(tmp_path)) == "new"
    assert (tmp_path / "out.1" / "history.csv").exists() == (tmp_path / "mtl.1").exists() == moved


def asked_again(root):
    """Returns what `prepare_folders` needs of the run that the fixture wrote, started once more."""
    return SimpleNamespace(
        folder=root / "mtl",
        results=root / "out",
        settings=SimpleNamespace(resume="auto", precision="float32"),
        description=SimpleNamespace(identity=dict(IDENTITY), unusable_tiles=[]),
        plan=SimpleNamespace(total_steps=10),
    )


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
    with pytest.raises(ResumeError, match="ckpt-5 cannot be read.*--resume=never"):
        decide(folder, IDENTITY, 10)
    assert decide(folder, IDENTITY, 10, "never") == "new"


def asked(steps, *options, earlier=None):
    """Returns a run of stage 1 of so many steps, 4 to an epoch, on the data set Demo."""
    settings = load("", ["--mtl_learning_rate=1", "--scale_learning_rate=none", *options])
    stage = SimpleNamespace(name="mtl")
    plan = TrainingPlan(steps, 8, 32)
    return StageRun(settings, None, tf.distribute.get_strategy(), stage, plan, earlier)


@pytest.mark.parametrize(
    "kind, rates",
    [
        ("constant", [0.0, 0.5, 1.0, 1.0]),
        ("cosine", [0.0, 0.5, 1.0, 0.5]),
        ("step", [0.0, 0.5, 0.1, 0.01]),
    ],
)
@pytest.mark.parametrize("steps", [15, 60])
def test_rates_follow_the_plan_of_the_earlier_run(kind, rates, steps):
    options = (f"--learning_rate_schedule={kind}", "--warmup_epochs=5")
    found = learning_rates(asked(steps, *options, earlier=24))  # whose rise takes half of it
    at = [0, 6, 12, 18]
    assert [float(found(step)) for step in at] == pytest.approx(rates, abs=1e-6)


@pytest.mark.parametrize(
    "stored, step, steps, cosine, other",
    [
        ((0, 0), 5, 20, 0, 0),  # by a version that stored no plan
        ((10, 10), 5, 20, 10, 10),
        ((10, 10), 5, 7, 10, 10),
        ((10, 10), 10, 10, 10, 10),
        ((10, 10), 10, 20, 0, 10),  # at its end: a longer cosine is another run
        ((20, 10), 15, 20, 10, 10),  # stopped again after it was lengthened
        ((20, 10), 20, 20, 10, 10),
        ((5, 10), 5, 7, 10, 10),  # shortened, and then lengthened
    ],
)
def test_an_unfinished_run_keeps_its_plan(run, stored, step, steps, cosine, other):
    total, schedule = stored
    resume = f"--resume={run(step, total_steps=total, schedule_steps=schedule)}"
    assert earlier_steps(asked(steps, resume, "--learning_rate_schedule=cosine")) == cosine
    assert earlier_steps(asked(steps, resume, "--learning_rate_schedule=constant")) == other
    by_epochs = ("--learning_rate_schedule=step", "--decay_epochs=2")
    assert earlier_steps(asked(steps, resume, *by_epochs)) == other


def test_a_new_run_keeps_no_plan(run, tmp_path):
    run(5, total_steps=10, schedule_steps=10)
    places = ("--dataset_name=Demo", f"--checkpoint_dir={tmp_path}")
    (tmp_path / "Demo").mkdir()
    (tmp_path / "mtl").rename(tmp_path / "Demo" / "mtl")
    assert earlier_steps(asked(20, *places)) == 10
    assert earlier_steps(asked(20, *places, "--resume=never")) == 0
