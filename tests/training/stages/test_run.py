from types import SimpleNamespace

import tensorflow as tf

from settings.loading import load
from training.stages.run import make_validation
from training.stages.stage import StageRun


def test_the_settings_decide_which_weights_are_best_and_when_to_stop():
    settings = load("", ["--eval_metric=mae", "--early_stopping_patience=7"])
    stage = SimpleNamespace(name="mtl", height_network=None)
    data, strategy = SimpleNamespace(record=None), tf.distribute.get_strategy()
    validation = make_validation(StageRun(settings, data, strategy, stage, None))
    assert (validation.metric, validation.patience) == ("mae", 7)
