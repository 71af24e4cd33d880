from types import SimpleNamespace

import keras
import pytest
import tensorflow as tf

from settings.loading import load
from training.loop import TrainingPlan
from training.stages.stage import StageRun
from training.stages.step import compile_step, learning_rates
from training.steps import StepOptions

RATES = ["--mtl_learning_rate=0.01", "--dae_learning_rate=0.002"]


def run_of(stage, *options):
    """Returns a run of nine steps, whose network has one layer."""
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    stage = SimpleNamespace(name=stage, network=network, losses=None, loss_weights={})
    plan = TrainingPlan(total_steps=9, global_batch_size=2, samples_per_epoch=6)
    return StageRun(load("", options), None, tf.distribute.get_strategy(), stage, plan)


@pytest.mark.parametrize("stage, rate", [("mtl", 0.01), ("dae", 0.002)])
def test_each_stage_has_its_own_learning_rate(stage, rate):
    run = run_of(stage, *RATES, "--learning_rate_schedule=constant", "--warmup_epochs=0")
    assert float(learning_rates(run)(0)) == pytest.approx(rate)


def test_a_step_is_what_the_settings_ask_for():
    options = ["--gradient_clip_norm=3", "--gradient_pack_bytes=4096", "--sync_batch_norm=true"]
    step, _ = compile_step(run_of("dae", *options, "--gradient_accumulation_steps=2"))
    found = step.python_function.__self__.options
    assert found == StepOptions(2, clip_norm=3.0, parts=2, pack_bytes=4096, unroll=True)
