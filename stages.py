"""Trains one stage: what train_mtl.py and train_dae.py have in common."""

from dataclasses import dataclass, replace
from functools import reduce

import keras

from datasets.folders import DataError
from datasets.validation import label_problems
from evaluation.curves import read_rows, training_curves
from evaluation.inference import evaluate_tiles, make_predictor, predict_maps
from evaluation.report import write_json
from feeding import crop_reader, distributed_batches, stage_plan
from models.backbones import pretrained_weights
from models.inference import make_height_network
from networks import (
    build_stage1,
    build_stage2,
    load_stage,
    stage_folder,
    stored_stage,
    weights_digest,
)
from optimisation import compile_step, learning_rates
from run_folders import prepare_folders
from run_record import print_banner, stored_description
from runs import output_folder, tile_reader
from training.audit import audit_construction
from training.checkpoints import RunState
from training.history import RunLog, SilentLog
from training.loop import Validation, run_training
from training.losses import balanced_weights
from training.optimizers import updates_done
from training.resume import CONTINUE, FINISHED, NEW, read_stored
from training.steps import LossOptions, dae_losses, mtl_losses
from training.workers import chiefs_number, is_chief, require_same

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


@dataclass(frozen=True)
class Stage:
    """What is particular to a stage.

    Attributes:
        name: "mtl" or "dae".
        network: Keras model that is trained.
        losses: function (batch) -> dict of unweighted losses, (batch,).
        loss_weights: dict of loss name to float.
        height_network: function of `models.inference.make_height_network`, for validation.
        origin: dict of what else the run depends on (the DAE on the MTL's weights).
        encoder_weights: str, what stage 1's encoder began with, for the record.
    """

    name: str
    network: object
    losses: object
    loss_weights: dict
    height_network: object
    origin: dict
    encoder_weights: str


def mtl_stage(settings, data, strategy):
    """Builds stage 1 under the strategy's scope; returns its `Stage`."""
    backbone_weights, origin = pretrained_weights(settings.backbone, settings.backbone_weights)
    if backbone_weights and settings.input_normalisation != "imagenet" and is_chief(strategy):
        print(
            f"warning: {settings.backbone} begins with weights that were likely trained on another "
            "range of images. Set input_normalisation=imagenet."
        )
    if settings.freeze_backbone_epochs and not backbone_weights and is_chief(strategy):
        print(f"warning: freeze_backbone_epochs rests an encoder whose weights are {origin}.")
    with strategy.scope():
        mtl = build_stage1(settings, backbone_weights)
    balanced = settings.class_weights == "balanced"
    options = LossOptions(
        settings.reg_loss,
        settings.huber_delta,
        balanced_weights(data.summaries["train"].class_counts) if balanced else None,
        settings.label_smoothing,
    )
    recompute = settings.gradient_checkpointing
    losses = mtl_losses(mtl, data.gsd, settings.normal_coding, options, recompute)
    weights = {"height_loss": settings.height_loss_weight}
    weights |= {"semantic_loss": settings.semantic_loss_weight} if settings.sem_flag else {}
    weights |= {"normal_loss": settings.normal_loss_weight} if settings.norm_flag else {}
    weights |= {"deep_height_loss": settings.deep_supervision} if settings.deep_supervision else {}
    return Stage("mtl", mtl, losses, weights, make_height_network(mtl), {}, origin)


def dae_stage(settings, strategy, trained=True):
    """Builds stage 2 on top of stage 1; returns its `Stage`.

    Args:
        settings: `settings.Settings`.
        strategy: `tf.distribute.Strategy`.
        trained: bool, False = stage 1 keeps its random weights (for checks and timing).
    """
    with strategy.scope():
        mtl, dae = build_stage1(settings), build_stage2(settings)
    if trained:
        load_stage(settings, "mtl", mtl)
    options = LossOptions(settings.reg_loss, settings.huber_delta)
    losses = dae_losses(mtl, dae, options, settings.gradient_checkpointing)
    origin = {"mtl_weights": weights_digest(settings, "mtl")} if trained else {}
    network = make_height_network(mtl, dae)
    begun = stored_stage(settings, "mtl")["encoder_weights"] if trained else "random"
    return Stage("dae", dae, losses, {"height_loss": 1.0}, network, origin, begun)


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
        settings: `settings.Settings`.
        data: `runs.Data` with the splits train and valid.
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
