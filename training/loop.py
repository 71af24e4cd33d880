"""The training loop: Python outside, one compiled step inside."""

import math
import sys
import time

from tqdm import tqdm

SAVE_SECONDS = 600  # at most this much work is lost when a run is killed within an epoch


class TrainingError(RuntimeError):
    """Training cannot go on."""


def is_better(metric, value, best):
    """Says whether a validation value beats the best so far.

    Args:
        metric: str, name of the metric; errors are better small, shares better large.
        value: float or None (no valid pixel).
        best: float; NaN = none yet.
    """
    if value is None:
        return False
    larger = metric in ("delta1", "miou")
    return math.isnan(best) or (value > best if larger else value < best)


def validate_and_save(state, log, epoch, validate, metric):
    """Runs the validation of one epoch, keeps the best weights and saves the state.

    Args:
        state: `RunState`; its best, waited and step are brought up to date and saved.
        log: `RunLog`.
        epoch: int, epochs done.
        validate: function () -> dict of metric name to float or None.
        metric: str, key of that dict that decides.

    Returns:
        The dict of `validate`.
    """
    values = validate()
    log.validation({"step": state.step, "epoch": epoch, **values})
    if is_better(metric, values[metric], state.best):
        state.best, state.waited = values[metric], 0
        state.save_best()
    else:
        state.waited += 1
    return values


def run_training(plan, state, train_step, batches, log, validate, rules, learning_rate):
    """Trains from `state.step` to the end of the plan.

    Args:
        plan: `TrainingPlan`.
        state: `RunState`.
        train_step: function (batch) -> dict of scalars with `loss`.
        batches: iterator over distributed batches, beginning with step `state.step`.
        log: `RunLog`.
        validate: function () -> dict, called after each epoch.
        rules: (name of the deciding metric, patience in validations; 0 = never stop early).
        learning_rate: function (step from 0) -> float, for the log.

    Raises:
        TrainingError: if the loss is not finite; the last good state stays on disk.
    """
    metric, patience = rules
    bar = _progress_bar(plan, state.step)
    saved = time.perf_counter()
    while state.step < plan.total_steps and not state.stopped:
        row = {"learning_rate": float(learning_rate(state.step))}
        row |= _timed_step(train_step, batches, plan.global_batch_size)
        _stop_on_nan(row, state.step)
        state.step += 1
        epoch = plan.epoch(state.step - 1) + 1
        log.step({"step": state.step, "epoch": epoch, **row})
        bar.set_postfix(loss=f"{row['loss']:.4g}", refresh=False)
        bar.update(plan.global_batch_size)
        if plan.ends_epoch(state.step - 1):
            values = validate_and_save(state, log, epoch, validate, metric)
            state.stopped = bool(patience) and state.waited >= patience
            bar.write(_validation_line(state, epoch, metric, values))
        elif time.perf_counter() - saved < SAVE_SECONDS:
            continue
        state.save()
        saved = time.perf_counter()
    bar.close()


def _progress_bar(plan, step):
    size = plan.global_batch_size
    return tqdm(
        total=plan.total_steps * size,
        initial=step * size,
        unit=" samples",
        dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else 30,  # a log file wants few lines
    )


def _timed_step(train_step, batches, global_batch_size):
    start = time.perf_counter()
    row = {name: float(value) for name, value in train_step(next(batches)).items()}
    row["seconds"] = time.perf_counter() - start
    row["samples_per_second"] = global_batch_size / row["seconds"]
    return row


def _stop_on_nan(row, step):
    wrong = [name for name, value in row.items() if not math.isfinite(value)]
    if wrong:
        raise TrainingError(
            f"Step {step + 1}: {', '.join(wrong)} is not finite. The last good state is kept. "
            "Try a smaller learning rate, or look for implausible heights in the training tiles."
        )


def _validation_line(state, epoch, metric, values):
    value = values[metric]
    shown = "no valid pixel" if value is None else f"{value:.4g}"
    note = f", stopped: no better for {state.waited} validations" if state.stopped else ""
    best = "" if state.waited else " (best)"
    return f"step {state.step}, epoch {epoch}: valid {metric} {shown}{best}{note}"
