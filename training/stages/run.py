"""Trains one stage: what train_mtl.py and train_dae.py have in common."""

from dataclasses import replace
from functools import reduce

import keras

from datasets.checks.validation import label_problems
from datasets.tiles.folders import DataError
from devices.workers import chiefs_number, is_chief, require_same
from evaluation.report.curves import read_rows, training_curves
from evaluation.tiles import evaluate_tiles
from prediction.tiles import make_predictor, predict_maps
from project.files import write_json
from runs.folders import output_folder, stage_folder
from runs.start import tile_reader
from runs.stored import read_stored
from training.audit import audit_construction
from training.checkpoints import RunState
from training.history import RunLog, SilentLog
from training.loop import Validation, run_training
from training.optimizers import updates_done
from training.stages.feeding import crop_reader, distributed_batches, stage_plan
from training.stages.folders import CONTINUE, FINISHED, NEW, prepare_folders
from training.stages.record import print_banner, stored_description
from training.stages.step import compile_step, learning_rates

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


def make_validation(settings, data, strategy, stage):
    """Returns the `Validation` on the valid split.

    Windows do not overlap here, which costs less than half the test's time. Stage 2 changes no
    class, so that mIoU cannot pick its weights: there the RMSE does.
    """
    predict = make_predictor(strategy, stage.height_network)
    read = tile_reader(data.record)
    batch = settings.batch_windows * strategy.num_replicas_in_sync

    def measure():
        metrics = evaluate_tiles(
            data.tiles["valid"],
            read,
            lambda image: predict_maps(image, predict, settings.window_size, 0.0, batch),
            data.record,
        ).result()
        return {name: reduce(dict.get, path, metrics) for name, path in VALIDATION_COLUMNS.items()}

    by_class = stage.name == "dae" and settings.eval_metric == "miou"
    metric = "rmse" if by_class else settings.eval_metric
    return Validation(measure, metric, settings.early_stopping_patience)


def check_labels(settings, data):
    """Refuses to train a semantic decoder, or to pick weights by it, without any label.

    Raises:
        DataError: naming the split that has none.
    """
    needs = {"train": settings.sem_flag, "valid": settings.eval_metric == "miou"}
    for split, needed in needs.items():
        counts = data.summaries[split].class_counts
        if problems := label_problems(data.record, split, counts) if needed else []:
            raise DataError(problems[0])


def shared_settings(settings, data, plan):
    """Returns what must be the same in all processes that train together."""
    own = ("shortcut_path", "checkpoint_dir", "output_dir", "gpu_devices", "resume")
    own += ("cache", "input_threads")
    values = [(name, value) for name, value in settings.values.items() if name not in own]
    summary = data.summaries["train"]
    precision = keras.config.dtype_policy().name
    found = summary.shapes, summary.class_counts, f"{summary.mean_height:.6g}", data.gsd
    return values, precision, plan, found


def begin_log(settings, data, strategy, stage, description, plan, step):
    """Says and stores what the run is; returns its `RunLog`, or a `SilentLog` if not the chief."""
    if not is_chief(strategy):
        return SilentLog()
    results = output_folder(settings, stage.name)
    write_json(stage_folder(settings, stage.name) / "settings.json", description)
    print_banner(settings, data, strategy, stage, plan)
    log = RunLog(results, tuple(VALIDATION_COLUMNS), step)
    write_json(results / "settings.json", description)
    return log


def train_stage(settings, data, strategy, stage):
    """Trains a stage to its end, from the beginning or from where it was left.

    Args:
        settings: `settings.loading.Settings`.
        data: `runs.start.Data` with the splits train and valid.
        strategy: `tf.distribute.Strategy` under which the networks were built.
        stage: `Stage`.
    """
    check_labels(settings, data)
    plan = stage_plan(settings, data, stage.name, strategy)
    description = stored_description(settings, data, stage, plan)
    require_same(strategy, "settings or training tiles", shared_settings(settings, data, plan))
    chief = is_chief(strategy)
    start = prepare_folders(settings, stage.name, description, plan) if chief else NEW
    start = STARTS[int(chiefs_number(strategy, STARTS.index(start)))]
    folder, results = stage_folder(settings, stage.name), output_folder(settings, stage.name)
    if start == FINISHED:
        print(f"{folder}: this run is finished. --resume=never trains it anew.")
        return
    if start == CONTINUE:  # the encoder began then, whatever weights can be had now
        begun = (read_stored(folder) or {}).get("encoder_weights")
        stage = replace(stage, encoder_weights=begun)
        description["encoder_weights"] = begun
    step, optimizer = compile_step(settings, strategy, stage, plan)
    audit_construction(strategy, stage.network, optimizer)
    with strategy.scope():
        state = RunState(folder, stage.network, optimizer)
    if state.restore():
        print(f"Continuing {folder} after step {state.step}.")
    state.audit(statistics=True)
    log = begin_log(settings, data, strategy, stage, description, plan, state.step)
    steps = range(state.step, plan.total_steps)
    reader = crop_reader(settings, data, strategy)
    batches = distributed_batches(settings, data, strategy, stage.name, steps, reader)
    validation = make_validation(settings, data, strategy, stage)
    rates = learning_rates(settings, stage.name, plan)
    try:
        run_training(
            plan, state, step, batches, log, validation, lambda: rates(updates_done(optimizer))
        )
    finally:
        log.close()
        for name, (crops, message) in sorted(reader.skipped.items()):
            print(f"warning: {crops} crops of tile {name} were read as empty: {message}")
        if chief:
            rows = (read_rows(results / name) for name in ("history.csv", "validation.csv"))
            training_curves(results / "curves.png", *rows)
