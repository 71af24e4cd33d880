"""Trains one stage: what train_mtl.py and train_dae.py have in common."""

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from itertools import takewhile
from operator import getitem
from pathlib import Path

import keras

from datasets.checks.validation import label_problems
from datasets.crops.crop_reader import CropReader
from datasets.tiles.folders import DataError
from devices.strategy import describe_devices
from devices.workers import chiefs_number, require_same
from evaluation.report.curves import read_rows, training_curves
from evaluation.tiles import evaluate_tiles
from prediction.tiles import make_predictor, predict_maps
from project.files import DiskError
from runs.start import tile_reader
from runs.stored import ResumeError, read_stored
from settings.loading import describe
from training.audit import audit_construction
from training.bad_steps import BadSteps, CropSource
from training.checkpoints import RunState
from training.history import RunLog, SilentLog
from training.loop import Validation, run_training
from training.optimizers import step_guard, updates_done
from training.stages.exclusive import exclusive_folders
from training.stages.feeding import crop_reader, distributed_batches
from training.stages.folders import (
    CONTINUE,
    FINISHED,
    NEW,
    earlier_steps,
    prepare_folders,
    refuse_lost_description,
)
from training.stages.stage import StageRun, initial_origin
from training.stages.step import compile_step, learning_rates
from training.states import LAST
from training.stopping import stop_requests

STARTS = (NEW, CONTINUE, FINISHED)
VALIDATION_COLUMNS = {  # of validation.csv: path into metrics.json
    "rmse": ("rmse",),
    "mae": ("mae",),
    "delta1": ("delta1",),
    "miou": ("miou",),
    "overall_accuracy": ("overall_accuracy",),
    "pooled_rmse": ("pooled", "rmse"),
    "pooled_mae": ("pooled", "mae"),
    "correction_std": ("correction", "std"),
}


def train_stage(run: StageRun) -> None:
    """Trains a stage to its end, from the beginning or from its last saved state.

    Args:
        run: with the splits train and valid.

    Raises:
        UserError: if labels are missing, workers differ, another process holds the run's folders,
            or an earlier run cannot be continued.
        Interrupted: if a signal or max_minutes asked to stop; the state is saved.
    """
    check_labels(run)
    require_same(run.strategy, "settings or training tiles", shared_settings(run))
    with exclusive_folders(run) as check:
        train_exclusively(run, check)


def train_exclusively(run: StageRun, check: Callable[[], None]) -> None:
    """Trains a stage whose folders no other process writes to; see `train_stage`.

    Args:
        run: the run.
        check: raises an error if that is not so any more.
    """
    check()
    run, start = choose_start(run)
    if start == FINISHED:
        named = run.settings.resume not in ("auto", "never")
        folder = run.settings.resume if named else run.folder
        print(f"{folder}: this run is finished. --resume=never trains it again.")
        return
    if start == NEW and run.is_chief:
        run.description.write(run.folder)  # so that the same command knows it again from here on
    if start == CONTINUE:  # records what the encoder was initialised with when the run started
        stored = read_stored(run.folder) or run.description
        run = replace(run, stage=replace(run.stage, encoder_weights=stored.encoder_weights))
    step, optimizer = compile_step(run)
    audit_construction(run.strategy, run.stage.network, optimizer)
    with run.strategy.scope():
        guard = step_guard(optimizer)
        keep = run.settings.keep_states
        state = RunState(run.folder, run.stage.network, optimizer, keep, guard.variables, check)
    if start == CONTINUE:
        restore(run, state)
    state.audit(statistics=True)
    check()
    log = begin_log(run, state)
    reader = crop_reader(run)
    batches = distributed_batches(run, range(state.step, run.plan.total_steps), reader)
    rates = learning_rates(run)
    bad_steps = begin_bad_steps(run, reader, state.step, guard.left_out_in_a_row())
    # Around what follows the loop as well: until the curves are drawn, a second signal is one.
    with stop_requests(run.plan.max_minutes if run.is_chief else 0.0):
        try:
            run_training(
                run.plan,
                state,
                step,
                batches,
                log,
                make_validation(run),
                lambda: rates(updates_done(optimizer)),
                bad_steps,
            )
        finally:
            log.close()
            bad_steps.close()
            for name, (crops, message) in sorted(reader.skipped.items()):
                print(f"warning: {crops} crops of tile {name} were skipped: {message}")
            if run.is_chief:
                draw_curves(run.results)


def draw_curves(folder: Path) -> None:
    """Draws curves.png from the logs in a folder; a disk that is full ends no training."""
    try:
        rows = (read_rows(folder / name) for name in ("history.csv", "validation.csv"))
        training_curves(folder / "curves.png", *rows)
    except OSError as error:
        reason = error.problem if isinstance(error, DiskError) else error
        print(f"warning: {folder / 'curves.png'} is not drawn: {reason}.")


def restore(run: StageRun, state: RunState) -> None:
    """Loads the state of the run that is continued.

    Raises:
        ResumeError: if there is none any more, or none is whole.
    """
    if not state.restore():
        raise ResumeError(f"The states in {run.folder / LAST} have gone while the run was started.")
    if run.is_chief:
        then = ", whose validation comes first" if state.pending else ""
        print(f"Continuing {run.folder} after step {state.step}{then}.")


def choose_start(run: StageRun) -> tuple[StageRun, str]:
    """Decides how a run begins, the same in all processes, and clears the way for it.

    Returns:
        (the run, with the plan of the earlier one if it continues that; one of `STARTS`).
    """
    if run.is_chief:
        refuse_lost_description(run)
    steps = int(chiefs_number(run.strategy, earlier_steps(run) if run.is_chief else 0))
    continued = run.continuing(steps)
    start = prepare_folders(continued, run.stage.require_start) if run.is_chief else NEW
    start = STARTS[int(chiefs_number(run.strategy, STARTS.index(start)))]
    return run if start == NEW else continued, start


def check_labels(run: StageRun) -> None:
    """Refuses to train a semantic decoder, or to pick weights by it, without any label.

    Raises:
        DataError: naming the split that has none.
    """
    settings, data = run.settings, run.data
    needs = {"train": settings.sem_flag, "valid": settings.eval_metric == "miou"}
    for split, needed in needs.items():
        counts = data.summaries[split].class_counts
        if problems := label_problems(data.record, split, counts) if needed else []:
            raise DataError(problems[0])


def shared_settings(run: StageRun) -> tuple:
    """Returns what must be the same in all processes that train together."""
    places = ("shortcut_path", "checkpoint_dir", "output_dir")
    own = (*places, "initial_weights", "gpu_devices", "resume", "cache", "input_threads")
    values = [(name, value) for name, value in run.settings.values.items() if name not in own]
    summary = run.data.summaries["train"]
    precision = keras.config.dtype_policy().name
    found = summary.shapes, summary.class_counts, f"{summary.mean_height:.6g}", run.data.gsd
    return values, precision, run.plan, found, initial_origin(run.stage.initial)


def begin_log(run: StageRun, state: RunState) -> RunLog | SilentLog:
    """Prints and stores what the run is; returns its log, a silent one if not the chief.

    Args:
        run: what to store.
        state: how far it is.
    """
    if not run.is_chief:
        return SilentLog()
    run.description.write(run.folder)
    print_banner(run, state.bytes)
    log = RunLog(run.results, tuple(VALIDATION_COLUMNS), state.step, state.pending)
    run.description.write(run.results)
    return log


def begin_bad_steps(run: StageRun, reader: CropReader, step: int, before: int) -> BadSteps:
    """Returns what reports the steps that are left out.

    Args:
        run: to report on.
        reader: of the training tiles.
        step: optimizer steps that are done.
        before: how many of the last of these were left out.
    """
    names = [tile.name for tile in run.data.tiles["train"]]
    source = CropSource(run.crops, reader, names, run.plan.global_batch_size)
    path = run.results / "bad_steps.csv"
    return BadSteps(
        source if run.is_chief else None, path, run.settings.max_bad_steps, step, before
    )


def print_banner(run: StageRun, state_bytes: int) -> None:
    """Prints stage, data, devices, the arithmetic of the batch, and every unusual setting.

    Args:
        run: to describe.
        state_bytes: size of a saved state.
    """
    settings, data, stage, plan = run.settings, run.data, run.stage, run.plan
    record, summary = data.record, data.summaries["train"]
    parts = settings.gradient_accumulation_steps
    known = f"{record.source}; {record.licence}" if record.source else "no source stated"
    millions = run.description.parameters / 1e6
    lines = {
        "stage": f"{stage.name.upper()}, {millions:.2f} million parameters in "
        f"{len(stage.network.trainable_variables)} variables",
        "encoder": f"{settings.backbone}, began with weights: {stage.encoder_weights}",
        "devices": f"{describe_devices(run.strategy)}; {keras.config.dtype_policy().name}",
        "data": f"{record.name} in {record.folder} ({known})",
        "tiles": f"{summary.tiles} train, {data.summaries['valid'].tiles} valid; "
        f"{data.gsd:.2f} m per pixel; mean height {summary.mean_height:.2f} m",
        "classes": ", ".join(record.class_names) or "none",
        "batch": f"{run.batch_size} crops x {run.strategy.num_replicas_in_sync} replicas"
        + (f" x {parts} accumulated" if parts > 1 else "")
        + f" = {plan.global_batch_size} per step, {settings.crop_size} px",
        "length": f"{plan.total_steps} steps of which {plan.samples_per_epoch} crops are an epoch"
        + planned_otherwise(run),
        "start": f"began with weights of {run.stage.initial.path}" if run.stage.initial else "",
        "weights": str(run.folder),
        "results": str(run.results),
        "states": f"{state_bytes / 1e6:,.0f} MB each; the newest {settings.keep_states} are kept, "
        "and one more while it is written",
    }
    print("\n".join(f"{name:>8}  {line}" for name, line in lines.items() if line))
    for line in describe(settings):
        print(f"{'setting':>8}  {line}")


def planned_otherwise(run: StageRun) -> str:
    """Returns a note if the learning rate of a continued run was planned for another length."""
    steps, total = run.schedule_steps, run.plan.total_steps
    if steps == total:
        return ""
    note = f"; the learning rate keeps to the {steps} steps with which the run began"
    if run.schedule_has_length and total > steps:
        note += " and is at its lowest afterwards (--resume=never plans a new run)"
    return note


def make_validation(run: StageRun) -> Validation:
    """Returns the validation on the valid split.

    Windows do not overlap here, which takes less than half the time of the test. Stage 2 changes
    no class, so that mIoU cannot pick its weights: there the RMSE does.
    """
    settings, data = run.settings, run.data
    predict = make_predictor(run.strategy, run.stage.height_network)
    read = tile_reader(data.record)
    batch = settings.batch_windows * run.strategy.num_replicas_in_sync

    def measure(should_stop: Callable[[], bool]) -> dict | None:
        measured = evaluate_tiles(
            takewhile(lambda tile: not should_stop(), data.tiles["valid"]),
            read,
            lambda image: predict_maps(image, predict, settings.window_size, 0.0, batch),
            data.record,
        )
        if should_stop():
            return None
        metrics = measured.result()
        return {name: reduce(getitem, path, metrics) for name, path in VALIDATION_COLUMNS.items()}

    by_class = run.stage.name == "dae" and settings.eval_metric == "miou"
    metric = "rmse" if by_class else settings.eval_metric
    return Validation(measure, metric, settings.early_stopping_patience)
