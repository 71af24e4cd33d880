"""What the settings ask of a stage is what its step computes."""

import shutil

import numpy as np
import pytest

from runs.start import prepare_data, start_strategy
from settings.loading import load
from training.stages.feeding import distributed_batches
from training.stages.stage import StageRun, dae_stage, mtl_stage
from training.stages.step import compile_step

# Without dropout, batch normalisation alone tells training from prediction, and without a word.
NETWORK = ["--backbone=tiny", "--decoder_width=0.02", "--dropout=0", "--encoder_batch_norm=train"]
HUBER = ["--reg_loss=huber", "--huber_delta=2.5", "--norm_flag=false", "--sem_flag=false"]
WEIGHTS = {"height_loss": 2.0, "semantic_loss": 3.0, "normal_loss": 5.0}


@pytest.fixture
def begin(blocks, tmp_path):
    """Returns a function (stage, options) -> `StageRun` on a copy of "blocks"."""
    shutil.copytree(blocks, tmp_path / "data")
    places = [f"--shortcut_path={tmp_path / 'data'}", f"--output_dir={tmp_path}"]

    def start(stage, *options):
        settings = load("", ["--dataset_name=blocks", *places, *NETWORK, *options])
        strategy, data = start_strategy(settings), prepare_data(settings)
        if stage == "mtl":
            return StageRun.begin(settings, data, strategy, mtl_stage(settings, data, strategy))
        return StageRun.begin(settings, data, strategy, dae_stage(settings, strategy, False))

    return start


def first_step(run):
    """Takes the first step without compiling it, which would take ten times as long."""
    step, _ = compile_step(run)
    return step.python_function(next(distributed_batches(run, range(1))))


def test_the_loss_weights_of_the_record_weigh_the_losses_of_their_names(begin, tmp_path):
    record = tmp_path / "data" / "blocks" / "dataset.toml"
    with record.open("a") as file:
        file.write("[loss_weights]\nheight = 2\nsemantic = 3\nnormal = 5\n")
    run = begin("mtl")
    row = first_step(run)
    assert run.description.loss_weights == WEIGHTS
    expected = sum(weight * float(row[name]) for name, weight in WEIGHTS.items())
    assert float(row["loss"]) == pytest.approx(expected)


def test_the_delta_of_the_huber_loss_reaches_stage_1(begin):
    height_loss = begin("mtl", *HUBER).stage.losses.options.height_loss
    heights = np.array([0, 4], "float32").reshape(1, 1, 2, 1)
    loss = height_loss(heights, 0 * heights, heights >= 0)
    np.testing.assert_allclose(loss, [(0 + 2.5 * (4 - 2.5 / 2)) / 2])


def test_stage_2_corrects_what_stage_1_predicts_not_what_it_trains_on(begin):
    run = begin("dae", *HUBER, "--dae_start=zero")  # which corrects nothing yet
    mtl, batch = run.stage.losses.mtl, next(distributed_batches(run, range(1)))
    before = mtl.get_weights()
    errors = np.abs(mtl(batch["image"], training=False)["heights"] - batch["heights"])
    small = np.minimum(errors, 2.5)
    losses = np.nanmean(small * (errors - small / 2), axis=(1, 2, 3))  # NaN = nodata
    assert float(first_step(run)["height_loss"]) == pytest.approx(losses.mean(), rel=1e-5)
    for weight, old in zip(mtl.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
