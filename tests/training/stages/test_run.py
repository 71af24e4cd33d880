from types import SimpleNamespace

import tensorflow as tf

from settings.loading import load
from training.stages.run import make_validation


def test_the_settings_decide_which_weights_are_best_and_when_to_stop():
    run = SimpleNamespace(
        settings=load("", ["--eval_metric=mae", "--early_stopping_patience=7"]),
        data=SimpleNamespace(record=None),
        strategy=tf.distribute.get_strategy(),
        stage=SimpleNamespace(name="mtl", height_network=None),
    )
    validation = make_validation(run)
    assert (validation.metric, validation.patience) == ("mae", 7)
