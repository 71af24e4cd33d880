"""The training loop: Python outside, one compiled step inside."""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tqdm import tqdm

from devices.gpus import GpuLoad, gpu_load
from project.errors import Interrupted
from training.bad_steps import BadSteps
from training.checkpoints import RunState
from training.history import RunLog, SilentLog
from training.monitor import StepMonitor, short_figures
from training.stopping import StopRequest, stop_requests


@dataclass(frozen=True)
class TrainingPlan:
    """How long a run is and where its epochs end.

    Step s takes the samples [s*G, (s+1)*G) of one endless stream, so an epoch need not be a
    whole number of steps: it ends with the step that takes its last sample.

    Attributes:
        total_steps: optimizer updates.
        global_batch_size: G, examples per step over all replicas.
        samples_per_epoch: crops.
        save_seconds: between two saved states: a killed run loses at most this much work.
        max_minutes: since the start of the job, after which the run stops; 0 = no limit.
    """

    total_steps: int
    global_batch_size: int
    samples_per_epoch: int
    save_seconds: float = 600.0
    max_minutes: float = 0.0

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
        measure: returns the metrics by name; a metric without valid pixels is None. It is given a
            function that says whether to stop before the next tile, and returns None if it did.
        metric: name of the one that decides which weights are best.
        patience: validations without a better one that end the run; 0 = never.
    """

    measure: Callable[[Callable[[], bool]], dict[str, float | None] | None]
    metric: str
    patience: int

    def run(
        self,
        state: RunState,
        log: RunLog | SilentLog,
        epoch: int,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> str | None:
        """Measures, keeps the best weights and decides whether to stop.

        Returns:
            A line on it; None if it was stopped before its end, and nothing is changed.
        """
        values = self.measure(should_stop) if state.is_chief else {}
        if state.any_worker(values is None)[0]:
            return None
        values = values or {}
        log.validation({"step": state.step, "epoch": epoch, **values})
        value = state.chiefs_value(values.get(self.metric))
        if value is not None and is_better(self.metric, value, state.best):
            state.best, state.waited = value, 0
            state.save_best()
        else:
            state.waited += 1
        state.stopped |= bool(self.patience) and state.waited >= self.patience
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
    """Trains from `state.step` to the end of the plan; first validates what is not yet validated.

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
        AuditError: if the replicas disagree after the first step or before a state.
        Interrupted: if a signal or the plan's time asked to stop; the state is saved.
    """
    first = state.step + 1
    monitor = StepMonitor(plan.global_batch_size, gpu_load() if state.is_chief else GpuLoad())
    # The chief alone looks at the time: the others also wait for its validations.
    minutes = plan.max_minutes if state.is_chief else 0.0
    with stop_requests(minutes) as request, _progress_bar(plan, state, monitor) as bar:
        if state.pending:
            _validate(plan, state, log, validation, request, bar, in_time=False)
        saved = time.perf_counter()
        while state.step < plan.total_steps and not state.stopped:
            row = {"learning_rate": float(learning_rate())}
            row |= _timed_step(train_step, batches, plan.global_batch_size, monitor)
            state.step += 1
            if state.step == first:
                state.audit()
            row |= monitor.row()
            log.step({"step": state.step, "epoch": plan.epoch(state.step - 1) + 1, **row})
            if line := bad_steps.see(state.step, row):
                bar.write(line)
            bar.set_postfix_str(short_figures(row), refresh=False)
            bar.update(plan.global_batch_size)
            # Of several processes, all must save and stop after the same step.
            late = time.perf_counter() - saved >= plan.save_seconds
            # An early state shows how much of the time a state takes.
            late |= bool(plan.max_minutes) and state.step == first
            stop, late = state.any_worker(request, late)
            ends_epoch = plan.ends_epoch(state.step - 1)
            if stop or late or ends_epoch:
                state.save(pending=ends_epoch)
            if ends_epoch:
                _validate(plan, state, log, validation, request, bar)
            if late or ends_epoch:
                saved = time.perf_counter()
            if stop:
                # The chief saves, and what started the workers may end all after the first.
                state.any_worker(False)
                done = f"Stopped after step {state.step} of {plan.total_steps}"
                raise Interrupted(f"{done} {request.reason()}. The state is saved.")


def _validate(
    plan: TrainingPlan,
    state: RunState,
    log: RunLog | SilentLog,
    validation: Validation,
    request: StopRequest,
    bar: tqdm,
    in_time: bool = True,
) -> None:
    """Validates the weights of the state that was saved last, and completes its numbers.

    The state comes first, so that a kill in a long validation costs no training.

    Args:
        plan: steps and epochs.
        state: saved, its validation pending.
        log: takes the row.
        validation: to run.
        request: is true as soon as the run is asked to stop.
        bar: through which the chief prints.
        in_time: whether the end of the time stops it, too. At a start it does not: a validation
            that is begun again and again would never end.

    Raises:
        Interrupted: if the run is asked to stop before the end; the validation stays pending.
    """

    def should_stop() -> bool:
        return bool(request) if in_time else request.signal is not None

    with state.averaged():
        line = validation.run(state, log, plan.epoch(state.step - 1) + 1, should_stop)
    if line is None:
        raise Interrupted(
            f"Stopped after step {state.step} of {plan.total_steps} {request.reason()}. The state "
            "is saved; its validation will be done first."
        )
    state.save_numbers()
    if state.is_chief:
        bar.write(line)


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
