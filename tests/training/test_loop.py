import contextlib
import math
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from project import interrupts
from training import loop
from training.bad_steps import BadSteps, TrainingError
from training.loop import (
    Interrupted,
    TrainingPlan,
    Validation,
    is_better,
    make_plan,
    run_training,
)
from training.stopping import SIGNALS


class Recorder(SimpleNamespace):
    """Stands for the state and the log: remembers what the loop asks for."""

    def __init__(self, step=0):
        super().__init__(step=step, best=math.nan, waited=0, stopped=False, pending=False)
        self.rows, self.validations, self.saved, self.bests = [], [], [], []
        self.audited = []
        self.folder, self.is_chief = None, True

    def save(self, pending=False):
        self.saved.append(self.step)
        self.pending = pending

    def save_numbers(self):
        self.pending = False

    def save_best(self):
        self.bests.append(self.step)

    def audit(self):
        self.audited.append(self.step)

    def chiefs_value(self, value):
        return value

    def any_worker(self, *flags):
        return [bool(flag) for flag in flags]

    def averaged(self):
        return contextlib.nullcontext()


def bad_steps(most=1):
    return BadSteps(None, Path("unused"), most)


def step_row(loss):
    return {"loss": loss, "gradient_norm": 1.0, "left_out": float(not math.isfinite(loss))}


def train(values, plan, state=None, patience=0, losses=None, metric="rmse", most=1, measure=None):
    state = state or Recorder()
    log = SimpleNamespace(step=state.rows.append, validation=state.validations.append)
    stream = iter(range(100))
    measured = iter(values)
    run_training(
        plan,
        state,
        lambda number: step_row((losses or {}).get(number, float(number))),
        stream,
        log,
        Validation(measure or (lambda should_stop: {metric: next(measured)}), metric, patience),
        lambda: 0.1 * state.step,
        bad_steps(most),
    )
    return state


def test_validates_and_saves_after_each_epoch():
    state = train([3.0, 2.0, 2.5], TrainingPlan(5, 1, 2))
    assert [row["step"] for row in state.validations] == [2, 4, 5]
    assert [row["epoch"] for row in state.validations] == [1, 2, 3]
    assert state.saved == [2, 4, 5] and state.bests == [2, 4]
    assert not state.pending
    assert (state.best, state.waited) == (2.0, 1)


def test_the_state_comes_before_its_validation():
    state, seen = Recorder(), []

    def measure(should_stop):
        seen.append((state.step, state.saved[-1], state.pending, len(state.bests)))
        return {"rmse": 1.0 / state.step}

    train([], TrainingPlan(4, 1, 2), state, measure=measure)
    assert seen == [(2, 2, True, 0), (4, 4, True, 1)] and not state.pending


@pytest.mark.parametrize("step, total, validated", [(2, 5, [2, 4, 5]), (5, 5, [5])])
def test_a_pending_validation_is_done_first(step, total, validated):
    state = Recorder(step)
    state.pending = True
    train([3.0, 2.0, 1.0], TrainingPlan(total, 1, 2), state)
    assert [row["step"] for row in state.validations] == validated
    assert [row["epoch"] for row in state.validations] == [-(-n // 2) for n in validated]
    assert state.saved == validated[1:] and state.bests == validated
    assert [row["step"] for row in state.rows] == list(range(step + 1, total + 1))


def test_a_pending_validation_may_end_the_run():
    state = Recorder(step=2)
    state.pending, state.best = True, 1.0
    train([3.0], TrainingPlan(8, 1, 2), state, patience=1)
    assert state.stopped and not state.rows and not state.pending


def test_a_signal_ends_a_validation_at_the_next_tile():
    state, tiles = Recorder(), []

    def measure(should_stop):
        for tile in range(9):
            if should_stop():
                return None
            tiles.append(tile)
            if tile == 3:
                os.kill(os.getpid(), signal.SIGTERM)
        return {"rmse": 1.0}

    with pytest.raises(Interrupted, match="step 2 of 4 on SIGTERM, .* its validation will be"):
        train([], TrainingPlan(4, 1, 2), state, measure=measure)
    assert tiles == [0, 1, 2, 3] and state.saved == [2] and state.pending
    assert not state.validations and not state.bests and state.waited == 0


def test_a_state_is_saved_when_its_time_has_come(clock):
    state = Recorder()
    slow_training(clock, state, [9.0] * 7, save_seconds=25.0)
    assert state.saved == [3, 6, 7]


def test_replicas_are_audited_after_the_first_step():
    assert train([1.0], TrainingPlan(3, 1, 3)).audited == [1]
    assert train([1.0], TrainingPlan(6, 1, 6), Recorder(step=4)).audited == [5]


def test_history_has_one_row_a_step():
    rows = train([1.0], TrainingPlan(3, 2, 6)).rows
    assert [row["learning_rate"] for row in rows] == [0.0, 0.1, 0.2]
    assert [(row["step"], row["epoch"], row["loss"]) for row in rows] == [
        (1, 1, 0.0),
        (2, 1, 1.0),
        (3, 1, 2.0),
    ]


@pytest.fixture
def clock(monkeypatch):
    """Puts a clock that is set by hand into the loop."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def slow_training(clock, state, waits, fails=(), save_seconds=600.0):
    """Trains with these waits for the batches, seconds; a step itself takes 1 s."""

    def read():
        for wait in waits:
            clock.now += wait
            yield None

    def step(batch):
        clock.now += 1.0
        return step_row(math.nan if len(state.rows) in fails else 0.5)

    log = SimpleNamespace(step=state.rows.append, validation=state.validations.append)
    validation = Validation(lambda should_stop: {"rmse": 1.0}, "rmse", 0)
    plan = TrainingPlan(len(waits), 2, 2 * len(waits), save_seconds)
    run_training(plan, state, step, read(), log, validation, lambda: 0.1, bad_steps())


def test_waiting_for_input_is_reported_from_the_second_step_on(clock, capfd):
    state = Recorder()
    slow_training(clock, state, [7.0, 3.0, 1.0])
    assert [row["seconds"] for row in state.rows] == [8.0, 4.0, 2.0]
    assert "input_wait" not in state.rows[0]  # the first step compiles
    assert [row["input_wait"] for row in state.rows[1:]] == [0.75, pytest.approx(4 / 6)]
    assert [row["seconds_median"] for row in state.rows[1:]] == [4.0, 3.0]
    shown = capfd.readouterr()
    assert "median 3 s, p95 3.9 s of the last 2; 0.7 samples/s; 67% of the time" in shown.out
    assert "Reading the tiles is the bottleneck" in shown.out
    assert "loss=0.5, step=3s, p95=3.9s, wait=67%" in shown.err


def test_a_run_that_ends_early_prints_its_speed_too(clock, capsys):
    with pytest.raises(TrainingError):
        slow_training(clock, Recorder(), [0.0, 0.0, 0.0, 0.0], fails=[3])
    assert (
        "Step time: median 1 s, p95 1 s of the last 3; 2.0 samples/s; 0%" in capsys.readouterr().out
    )


def test_only_the_chief_prints_the_speed(clock, capfd):
    state = Recorder()
    state.is_chief = False
    slow_training(clock, state, [1.0, 1.0])
    assert capfd.readouterr() == ("", "")


def test_stops_early_after_patience():
    state = train([3.0, 4.0, 5.0, 1.0], TrainingPlan(4, 1, 1), patience=2)
    assert state.stopped and state.step == 3


def test_without_patience_training_continues():
    assert train([3.0, 4.0, 5.0, 6.0], TrainingPlan(4, 1, 1)).step == 4


def test_a_validation_without_valid_pixels_is_no_better_one():
    state = train([None, 3.0, None], TrainingPlan(3, 1, 1))
    assert state.bests == [2] and state.step == 3


def test_too_many_steps_left_out_stop_before_saving():
    state = Recorder()
    with pytest.raises(TrainingError, match="Step 3: left out, like all of the last 2, "):
        train([1.0] * 5, TrainingPlan(5, 1, 1), state, losses={1: math.inf, 2: math.nan}, most=2)
    assert state.saved == [1, 2] and [row["step"] for row in state.rows] == [1, 2, 3]


def test_steps_left_out_count_as_steps():
    state = train([1.0] * 3, TrainingPlan(3, 1, 1), losses={0: math.nan, 2: math.nan}, most=2)
    assert state.saved == [1, 2, 3] and [row["left_out"] for row in state.rows] == [1, 0, 1]


@pytest.mark.parametrize(
    "metric, value, best, expected",
    [
        ("rmse", 2.0, 3.0, True),
        ("rmse", 4.0, 3.0, False),
        ("delta1", 0.5, 0.4, True),
        ("miou", 0.3, 0.4, False),
        ("rmse", 2.0, math.nan, True),
    ],
)
def test_better(metric, value, best, expected):
    assert is_better(metric, value, best) == expected


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_after_the_step_with_the_state_saved(number):
    # A job in the background, as the tests may be, ignores Ctrl-C.
    before = signal.signal(number, signal.default_int_handler)
    state = Recorder()

    def step(index):
        if index == 2:
            os.kill(os.getpid(), number)
        return {"loss": 1.0}

    log = SimpleNamespace(step=state.rows.append, validation=state.validations.append)
    validation = Validation(lambda should_stop: {"rmse": 1.0}, "rmse", 0)
    plan = TrainingPlan(9, 1, 9)
    with pytest.raises(Interrupted, match=f"step 3 of 9 on {number.name}, .* state is saved"):
        run_training(plan, state, step, iter(range(9)), log, validation, lambda: 0.1, bad_steps())
    assert state.saved == [3] and len(state.rows) == 3
    assert signal.signal(number, before) == signal.default_int_handler


def test_the_end_of_the_time_stops_after_a_step_with_the_state_saved(monkeypatch):
    monkeypatch.setattr(interrupts, "STARTED", time.monotonic() - 60)
    state = Recorder(step=4)
    with pytest.raises(Interrupted, match="step 5 of 9 in time for max_minutes=1, 1.0 minutes"):
        train([1.0], TrainingPlan(9, 1, 9, max_minutes=1.0), state)
    assert state.saved == [5] and state.step == 5


def test_only_the_chief_looks_at_the_time(monkeypatch):
    monkeypatch.setattr(interrupts, "STARTED", time.monotonic() - 60)
    state = Recorder()
    state.is_chief = False
    assert train([1.0], TrainingPlan(3, 1, 3, max_minutes=1.0), state).step == 3


def test_a_run_of_limited_time_saves_early_to_know_how_long_that_takes(monkeypatch):
    monkeypatch.setattr(interrupts, "STARTED", time.monotonic())
    assert train([1.0], TrainingPlan(4, 1, 4, max_minutes=9.0)).saved == [1, 4]


def test_one_worker_that_is_asked_stops_all_of_them(monkeypatch):
    state = Recorder()
    monkeypatch.setattr(state, "any_worker", lambda *flags: [state.step == 2, False])
    with pytest.raises(Interrupted, match="step 2 of 4 at the request of another worker"):
        train([1.0], TrainingPlan(4, 1, 4), state)
    assert state.saved == [2]


def test_steps_cover_the_epochs():
    assert make_plan(3, None, 4, 10).total_steps == 8  # 30 samples, 4 a step


def test_a_step_count_overrides_the_epochs():
    assert make_plan(3, 5, 4, 10).total_steps == 5


@pytest.mark.parametrize(
    "batch, samples, total, ends", [(4, 8, 5, {1, 3, 4}), (4, 10, 5, {2, 4}), (6, 4, 2, {0, 1})]
)
def test_an_epoch_ends_with_the_step_that_takes_its_last_sample(batch, samples, total, ends):
    plan = TrainingPlan(total, batch, samples)
    assert {step for step in range(total) if plan.ends_epoch(step)} == ends
