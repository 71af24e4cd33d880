"""What a start ends in when weights, states or settings.json are gone, damaged or half done.

A network of two variables is trained by the real loop in real folders; only the decisions of
`train_stage` around it are repeated here.
"""

import csv
import shutil
from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from models.weight_files import check_tensors
from runs.stored import ResumeError, StoredRun
from training.bad_steps import BadSteps
from training.checkpoints import RunState
from training.history import RunLog
from training.loop import TrainingPlan, Validation, run_training
from training.optimizers import make_optimizer
from training.stages.folders import (
    CONTINUE,
    FINISHED,
    prepare_folders,
    refuse_lost_description,
)

STEPS, EPOCH = 10, 2
IDENTITY = {"crop_size": 32, "seed": 0}


class Killed(BaseException):
    """Ends a run where a signal that cannot be caught would."""


class Run:
    """One command, which can be started again; `measured` counts its validations."""

    def __init__(self, root, resume="auto", steps=STEPS, kill_in_validation=None, late=False):
        self.folder, self.results = root / "ck" / "mtl", root / "out" / "mtl"
        self.settings = SimpleNamespace(resume=resume, precision="float32")
        self.description = StoredRun("mtl", {}, dict(IDENTITY), [], 0.5, 2.0, None, {})
        self.plan = TrainingPlan(steps, 1, EPOCH)
        self.schedule_has_length = False
        self.kill_in, self.late = kill_in_validation, late

    def start(self):
        """Returns how the run began."""
        refuse_lost_description(self)
        start = prepare_folders(self)
        if start != FINISHED:
            self.train(start)
        return start

    def train(self, start):
        keras.utils.set_random_seed(0)
        self.model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        optimizer = make_optimizer(self.model, 0.05, ema_decay=0.5)
        state = RunState(self.folder, self.model, optimizer)
        assert state.restore() == (start == CONTINUE)
        for folder in (self.folder, self.results):
            self.description.write(folder)
        if self.late:
            state.save_numbers = self.killed_after_the_best_weights(state)
        log = RunLog(self.results, ("rmse",), state.step, state.pending)
        batches = iter(range(state.step, 99))
        step, validation = self.stepper(optimizer), Validation(self.measurer(state), "rmse", 2)
        try:
            bad_steps = BadSteps(None, self.results / "bad_steps.csv", 1)
            run_training(self.plan, state, step, batches, log, validation, lambda: 0.05, bad_steps)
        finally:
            log.close()

    def killed_after_the_best_weights(self, state):
        save = state.save_numbers

        def save_numbers():
            if state.step == self.kill_in:
                raise Killed
            save()

        return save_numbers

    def stepper(self, optimizer):
        def step(number):
            batch = tf.random.stateless_normal((4, 3), seed=(number, 0))
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self.model(batch) - 1.0) ** 2)
            variables = self.model.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
            return {"loss": loss}

        return step

    def measurer(self, state):
        def measure(should_stop):
            if state.step == self.kill_in and not self.late:
                raise Killed
            # The best is in the middle, so that what a validation decides makes a difference.
            return {"rmse": abs(state.step - 6) + float(self.model.weights[1][0]) / 100}

        return measure


def rows(path):
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    names = ("step", "epoch", "loss", "rmse")
    return [{name: row[name] for name in names if name in row} for row in found]


def result(root):
    """Returns what a run leaves: its rows, and its best weights."""
    results = [rows(root / "out" / "mtl" / f"{name}.csv") for name in ("history", "validation")]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.load_weights(root / "ck" / "mtl" / "best.weights.h5")
    return results, [value.tolist() for value in model.get_weights()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Returns the result of the run that nothing happens to."""
    root = tmp_path_factory.mktemp("whole")
    assert Run(root).start() == "new"
    (history, validations), _ = found = result(root)
    assert [row["step"] for row in history] == [str(step) for step in range(1, 11)]
    assert [row["step"] for row in validations] == ["2", "4", "6", "8", "10"]
    return found


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Returns the folder of that run, killed in its validation after step 8."""
    root = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Killed):
        Run(root, kill_in_validation=8).start()
    names = sorted(path.name for path in (root / "ck" / "mtl" / "last").iterdir())
    assert names == ["step-00000006", "step-00000008"]
    return root


def earlier_version(folder):
    """Turns the newest state into one of an earlier version."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    optimizer = make_optimizer(model, 0.05, ema_decay=0.5)
    state = RunState(folder, model, optimizer)
    assert state.restore()
    shutil.rmtree(folder / "last")
    numbers = {
        "step": tf.Variable(state.step, dtype=tf.int64),
        "best": tf.Variable(state.best, dtype=tf.float64),
        "waited": tf.Variable(state.waited, dtype=tf.int64),
        "stopped": tf.Variable(state.stopped),
    }
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, **numbers)
    tf.train.CheckpointManager(checkpoint, str(folder / "last"), 1).save(state.step)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def in_last(change, *patterns):
    """Returns a function that changes files of the states."""

    def damage(root):
        for pattern in patterns:
            paths = list((root / "ck" / "mtl" / "last").glob(pattern))
            assert paths
            for path in paths:
                change(path)

    return damage


def in_earlier(change, *patterns):
    def damage(root):
        # The validation of step 6 is done in its state; such states know none that is pending.
        shutil.rmtree(root / "ck" / "mtl" / "last" / "step-00000008")
        earlier_version(root / "ck" / "mtl")
        in_last(change, *patterns)(root)

    return damage


def unlink(path):
    path.unlink()


def in_stage(name, change, place="ck"):
    return lambda root: change(root / place / "mtl" / name)


NEWEST = "step-00000008"
GOES_ON = {
    "killed between state and validation": lambda root: None,
    "the newest state bit-flipped": in_last(flip, f"{NEWEST}/state.data*"),
    "its index removed": in_last(unlink, f"{NEWEST}/state.index"),
    "its numbers removed": in_last(unlink, f"{NEWEST}/state.json"),
    "its numbers bit-flipped": in_last(flip, f"{NEWEST}/state.json"),
    "the newest state removed": in_last(shutil.rmtree, NEWEST),
    "earlier version": in_earlier(lambda path: None, "checkpoint"),
    "earlier version, checkpoint replaced by text": in_earlier(
        lambda path: path.write_text("my notes"), "checkpoint"
    ),
    "earlier version, checkpoint replaced by nothing": in_earlier(unlink, "checkpoint"),
    "earlier version, checkpoint is empty": in_earlier(
        lambda path: path.write_bytes(b""), "checkpoint"
    ),
    "a part of a killed write": in_stage(
        "last/.part.0123abcd.step-00000010", lambda path: path.mkdir()
    ),
}


@pytest.mark.parametrize("damage", GOES_ON.values(), ids=GOES_ON)
def test_the_run_goes_on_and_ends_like_one_that_nothing_happens_to(
    stopped, whole, tmp_path, damage
):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    damage(tmp_path)
    assert Run(tmp_path).start() == "continue"
    assert result(tmp_path) == whole
    assert not list(tmp_path.rglob(".part.*")) and not (tmp_path / "ck" / "mtl.1").exists()
    assert Run(tmp_path).start() == "finished"


REFUSED = {
    "all states damaged": (in_last(flip, "step-*/state.data*"), "No whole state is left"),
    "all states without index": (in_last(unlink, "step-*/state.index"), "No whole state is left"),
    "earlier version, damaged": (in_earlier(flip, "ckpt-*.data*"), "No whole state is left"),
    "settings.json gone": (
        in_stage("settings.json", unlink),
        r"settings.json is gone.*cp \S*out/mtl/settings.json \S*ck/mtl/settings.json",
    ),
    "settings.json damaged": (
        in_stage("settings.json", lambda path: path.write_text("{")),
        r"settings.json is damaged.*cp \S*out/mtl/settings.json \S*ck/mtl/settings.json",
    ),
    "both settings.json gone": (
        lambda root: [in_stage("settings.json", unlink, place)(root) for place in ("ck", "out")],
        "settings.json is gone.*restore it from a backup",
    ),
}


@pytest.mark.parametrize("damage, message", REFUSED.values(), ids=REFUSED)
def test_the_run_is_refused_each_time_until_it_is_told_to_begin_anew(
    stopped, whole, tmp_path, damage, message
):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    damage(tmp_path)
    weights = (tmp_path / "ck/mtl/best.weights.h5").read_bytes()
    history = (tmp_path / "out/mtl/history.csv").read_bytes()
    for _ in range(2):
        with pytest.raises(ResumeError, match=f"(?s){message}.*--resume=never"):
            Run(tmp_path).start()
    assert (tmp_path / "ck/mtl/best.weights.h5").read_bytes() == weights
    assert (tmp_path / "out/mtl/history.csv").read_bytes() == history
    assert Run(tmp_path, resume="never").start() == "new"
    assert (tmp_path / "ck/mtl.1/best.weights.h5").read_bytes() == weights
    assert (tmp_path / "out/mtl.1/history.csv").read_bytes() == history
    assert result(tmp_path) == whole


def test_a_lost_description_comes_back_by_the_named_command(stopped, whole, tmp_path):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    (tmp_path / "ck/mtl/settings.json").unlink()
    shutil.copy(tmp_path / "out/mtl/settings.json", tmp_path / "ck/mtl/settings.json")
    assert Run(tmp_path).start() == "continue" and result(tmp_path) == whole


MOVED = {
    "last/ removed": in_stage("last", shutil.rmtree),
    "last/ and settings.json removed": lambda root: [
        in_stage(name, change)(root)
        for name, change in (("last", shutil.rmtree), ("settings.json", unlink))
    ],
    "earlier version, index removed": in_earlier(unlink, "*.index"),
    "earlier version, data removed": in_earlier(unlink, "*.data*"),
}


@pytest.mark.parametrize("damage", MOVED.values(), ids=MOVED)
def test_weights_without_a_state_are_moved_aside_and_a_new_run_begins(
    stopped, whole, tmp_path, capsys, damage
):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    weights = (tmp_path / "ck/mtl/best.weights.h5").read_bytes()
    damage(tmp_path)
    assert Run(tmp_path).start() == "new"
    aside = tmp_path / "ck/mtl.1/best.weights.h5"
    assert aside.read_bytes() == weights
    assert f"--initial_weights={aside}" in capsys.readouterr().out
    assert aside.with_name("settings.json").is_file()  # which these weights need
    assert (tmp_path / "out/mtl.1/history.csv").is_file() and result(tmp_path) == whole


@pytest.mark.parametrize("step", [6, 10])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after the best weights"])
def test_a_kill_in_a_validation_changes_nothing(whole, tmp_path, step, late):
    with pytest.raises(Killed):
        Run(tmp_path, kill_in_validation=step, late=late).start()
    assert Run(tmp_path).start() == "continue"
    assert result(tmp_path) == whole


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("is_finished", [False, True], ids=["unfinished", "finished"])
@pytest.mark.parametrize("damage", [unlink, cut_short], ids=["deleted", "cut short"])
def test_lost_best_weights_are_written_anew(stopped, whole, tmp_path, is_finished, damage):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    if is_finished:
        Run(tmp_path).start()
    damage(tmp_path / "ck/mtl/best.weights.h5")
    assert Run(tmp_path).start() == "continue"
    check_tensors(tmp_path / "ck/mtl/best.weights.h5")
    assert result(tmp_path)[0] == whole[0]
    assert Run(tmp_path).start() == "finished"


def test_a_named_run_that_is_finished_changes_nothing(stopped, whole, tmp_path):
    source, own = tmp_path / "source", tmp_path / "own"
    assert Run(source).start() == "new"
    shutil.copytree(stopped, own)
    before = sorted(tmp_path.rglob("*"))
    assert Run(own, resume=str(source / "ck/mtl")).start() == "finished"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_named_run_may_be_write_protected(stopped, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(stopped / "ck" / "mtl", source)
    for folder in (source, source / "last"):
        folder.chmod(0o555)
    assert Run(tmp_path, resume=str(source)).start() == "continue"
    assert (tmp_path / "ck/mtl").stat().st_mode & 0o700 == 0o700
    for folder in (source, source / "last"):
        folder.chmod(0o755)


def test_a_named_run_of_which_no_state_is_whole_moves_nothing(stopped, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(stopped / "ck" / "mtl", source)
    for path in source.glob("last/*/state.data*"):
        flip(path)
    shutil.copytree(stopped, tmp_path / "own")
    with pytest.raises(ResumeError, match="No whole state"):
        Run(tmp_path / "own", resume=str(source)).start()
    assert sorted(path.name for path in tmp_path.rglob("mtl*")) == ["mtl", "mtl"]
    assert not list(tmp_path.rglob("*.damaged"))


@pytest.mark.parametrize("version", [lambda folder: None, earlier_version])
def test_a_named_run_is_copied_and_goes_on(stopped, whole, tmp_path, version):
    shutil.copytree(stopped, tmp_path / "named")
    source = tmp_path / "named" / "ck" / "mtl"
    shutil.rmtree(source / "last" / "step-00000008")
    version(source)
    before = sorted(path.name for path in source.rglob("*"))
    assert Run(tmp_path, resume=str(source)).start() == "continue"
    assert result(tmp_path)[1] == whole[1]
    assert sorted(path.name for path in source.rglob("*")) == before
