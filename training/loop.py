"""The training loop: Python outside, one compiled step inside."""

import contextlib
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from devices.gpus import GpuLoad, gpu_load
from project.errors import Interrupted
from training.bad_steps import BadSteps
from training.checkpoints import RunState
from training.history import RunLog, SilentLog
from training.monitor import StepMonitor, short_figures

SAVE_SECONDS = 600  # between two saved states: a killed run loses at most this much work


@dataclass(frozen=True)
class TrainingPlan:
    """How long a run is and where its epochs end.

    Step s takes the samples [s*G, (s+1)*G) of one endless stream, so an epoch need not be a
    whole number of steps: it ends with the step that takes its last sample.

    Attributes:
        total_steps: optimizer updates.
        global_batch_size: G, examples per step over all replicas.
        samples_per_epoch: crops.
    """

    total_steps: int
    global_batch_size: int
    samples_per_epoch: int

    def epoch(self, steps: int) -> int:
        """Returns how many epochs are complete after `steps` steps."""
        return steps * self.global_batch_size // self.samples_per_epoch

    def ends_epoch(self, step: int) -> bool:
        """Returns whether step number `step` (from 0) completes an epoch or the run."""
        return self.epoch(step + 1) > self.epoch(step) or step + 1 == self.total_steps


def make_plan(
    epochs: float, steps: int | None, global_batch_size: int, samples_per_epoch: int
) -> TrainingPlan:
    """Makes the plan of a run; a step count, if not None, wins over the epochs."""
    if steps is None:
        steps = math.ceil(epochs * samples_per_epoch / global_batch_size)
    return TrainingPlan(steps, global_batch_size, samples_per_epoch)


@dataclass(frozen=True)
class Validation:
    """What is measured after each epoch and what follows from it.

    Attributes:
        measure: returns the metrics by name; a metric without valid pixels is None.
        metric: name of the one that decides which weights are best.
        patience: validations without a better one that end the run; 0 = never.
    """

    measure: Callable[[], dict[str, float | None]]
    metric: str
    patience: int

    def run(self, state: RunState, log: RunLog | SilentLog, epoch: int) -> str:
        """Measures, keeps the best weights and decides whether to stop; returns a line on it."""
        values = self.measure() if state.is_chief else {}
        log.validation({"step": state.step, "epoch": epoch, **values})
        value = state.chiefs_value(values.get(self.metric))
        if value is not None and is_better(self.metric, value, state.best):
            state.best, state.waited = value, 0
            state.save_best()
        else:
            state.waited += 1
        state.stopped = bool(self.patience) and state.waited >= self.patience
        note = f", stopped: no better for {state.waited} validations" if state.stopped else ""
        best = "" if state.waited else " (best)"
        shown = "-" if value is None else f"{value:.4g}"
        return f"step {state.step}, epoch {epoch}: valid {self.metric} {shown}{best}{note}"


def is_better(metric: str, value: float, best: float) -> bool:
    """Returns whether a validation value beats the best so far.

    Args:
        metric: its name; errors are better small, shares better large.
        value: to judge.
        best: NaN = none yet.
    """
    larger = metric in ("delta1", "miou")
    return math.isnan(best) or (value > best if larger else value < best)


def run_training(
    plan: TrainingPlan,
    state: RunState,
    train_step: Callable[[dict], dict],
    batches: Iterator[dict],
    log: RunLog | SilentLog,
    validation: Validation,
    learning_rate: Callable[[], float],
    bad_steps: BadSteps,
) -> None:
    """Trains from `state.step` to the end of the plan.

    Args:
        plan: steps and epochs.
        state: what is trained, and how far it is.
        train_step: batch -> scalars by name, with `loss`.
        batches: distributed batches, beginning with step `state.step`.
        log: takes a row for each step and each validation.
        validation: run after each epoch.
        learning_rate: returns that of the next update, for the log.
        bad_steps: reports those that were left out.

    Raises:
        TrainingError: if too many steps were left out; the last good state stays on disk.
        AuditError: if the replicas disagree after the first step or before a validation or state.
        Interrupted: if a signal asked to stop; the state is saved.
    """
    saved, first = time.perf_counter(), state.step + 1
    monitor = StepMonitor(plan.global_batch_size, gpu_load() if state.is_chief else GpuLoad())
    with stop_requests() as signals, _progress_bar(plan, state, monitor) as bar:
        while state.step < plan.total_steps and not state.stopped:
            row = {"learning_rate": float(learning_rate())}
            row |= _timed_step(train_step, batches, plan.global_batch_size, monitor)
            state.step += 1
            if state.step == first:
                state.audit()
            epoch = plan.epoch(state.step - 1) + 1
            row |= monitor.row()
            log.step({"step": state.step, "epoch": epoch, **row})
            if line := bad_steps.see(state.step, row):
                bar.write(line)
            bar.set_postfix_str(short_figures(row), refresh=False)
            bar.update(plan.global_batch_size)
            # Of several processes, all must save and stop after the same step.
            late = time.perf_counter() - saved >= SAVE_SECONDS
            stop, late = state.any_worker(signals, late)
            if plan.ends_epoch(state.step - 1):
                state.average_statistics()
                with state.averaged():
                    line = validation.run(state, log, epoch)
                if state.is_chief:
                    bar.write(line)
            elif not stop and not late:
                continue
            state.save()
            saved = time.perf_counter()
            if stop:
                raise Interrupted(f"Stopped after step {state.step} of {plan.total_steps}.")


@contextlib.contextmanager
def _progress_bar(plan: TrainingPlan, state: RunState, monitor: StepMonitor) -> Iterator[tqdm]:
    """Yields the chief's progress bar; a summary of the speed follows, however the run ends."""
    size = plan.global_batch_size
    try:
        with tqdm(
            total=plan.total_steps * size,
            initial=state.step * size,
            disable=not state.is_chief,
            unit=" samples",
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 30,  # keeps log files short
        ) as bar:
            yield bar
    finally:
        for line in monitor.summary() if state.is_chief else ():
            print(line)


def _timed_step(
    train_step: Callable, batches: Iterator, global_batch_size: int, monitor: StepMonitor
) -> dict[str, float]:
    start = time.perf_counter()
    batch = next(batches)
    waited = time.perf_counter() - start
    # The conversion to float waits for the devices, so the next wait is for input alone.
    row = {name: float(value) for name, value in train_step(batch).items()}
    row["seconds"] = time.perf_counter() - start
    row["samples_per_second"] = global_batch_size / row["seconds"]
    monitor.add(row["seconds"], waited)
    return row


@contextlib.contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Turns the first Ctrl-C or SIGTERM into a request that the loop obeys after its step.

    In the middle of a step the weights are one step ahead of the step number, so the state can
    be saved between steps only. A second signal acts at once.

    Yields:
        The signals received; empty as long as there was none.
    """
    received: list[int] = []
    before: dict[int, Any] = {}

    def note(number, frame):
        received.append(number)
        restore()

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            continue  # Ctrl-C is not meant for a job in the background
        before[number] = signal.signal(number, note)
    try:
        yield received
    finally:
        restore()
