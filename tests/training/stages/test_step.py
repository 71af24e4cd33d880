from types import SimpleNamespace

import pytest
import tensorflow as tf

from settings.loading import load
from training.loop import TrainingPlan
from training.stages.step import learning_rates

RATES = ["--mtl_learning_rate=0.01", "--dae_learning_rate=0.002"]


@pytest.mark.parametrize("stage, rate", [("mtl", 0.01), ("dae", 0.002)])
def test_each_stage_has_its_own_learning_rate(stage, rate):
    run = SimpleNamespace(
        settings=load("", [*RATES, "--learning_rate_schedule=constant", "--warmup_epochs=0"]),
        plan=TrainingPlan(total_steps=9, global_batch_size=2, samples_per_epoch=6),
        stage=SimpleNamespace(name=stage),
        strategy=tf.distribute.get_strategy(),
    )
    assert float(learning_rates(run)(0)) == pytest.approx(rate)
