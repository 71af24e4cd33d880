import keras
import numpy as np
import pytest
import tensorflow as tf

from runs.stored import ResumeError
from training.checkpoints import RunState
from training.optimizers import make_optimizer


def build(strategy, seed):
    """Builds a network and its Adam with averaged weights."""
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        inputs = keras.Input((4,))
        model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
        optimizer = make_optimizer(model, 0.1, ema_decay=0.9)
    return model, optimizer


def step(strategy, model, optimizer):
    @tf.function
    def replica_step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(tf.ones((2, 4)), training=True) ** 2)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

    strategy.run(replica_step)


def everything(model, optimizer):
    return [v.numpy() for v in (*model.variables, *optimizer.variables)]


@pytest.mark.parametrize("saved, loaded", [(1, 1), (2, 1), (2, 3), (2, 4), (4, 1)])
def test_weights_and_optimizer_come_back(tmp_path, make_replicas, saved, loaded):
    strategy = make_replicas(saved)
    model, optimizer = build(strategy, seed=1)
    step(strategy, model, optimizer)
    state = RunState(tmp_path, model, optimizer)
    state.step, state.best, state.waited, state.stopped = 5, 1.25, 2, True
    state.save()
    other = make_replicas(loaded)
    fresh = build(other, seed=2)
    with other.scope():
        found = RunState(tmp_path, *fresh)
    assert found.restore()
    assert (found.step, found.best, found.waited, found.stopped) == (5, 1.25, 2, True)
    for one, two in zip(everything(model, optimizer), everything(*fresh), strict=True):
        np.testing.assert_array_equal(one, two)


def test_nothing_is_written_when_the_check_before_it_fails(tmp_path):
    state = RunState(tmp_path, *build(tf.distribute.get_strategy(), 1), before_save=lambda: 1 / 0)
    for write in (state.save, state.save_best):
        with pytest.raises(ZeroDivisionError):
            write()
    assert not list(tmp_path.iterdir())


def test_moving_statistics_are_averaged_before_saving(tmp_path, make_replicas):
    strategy = make_replicas(2)
    with strategy.scope():
        model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
        state = RunState(tmp_path, model, make_optimizer(model, 0.1))
    mean = model.layers[0].moving_mean

    @tf.function
    def shift():
        context = tf.distribute.get_replica_context()
        mean.assign(4.0 * tf.cast([context.replica_id_in_sync_group], tf.float32))

    strategy.run(shift)
    assert [copy.numpy().item() for copy in mean.value.values] == [0.0, 4.0]
    state.save()
    assert [copy.numpy().item() for copy in mean.value.values] == [2.0, 2.0]


def test_a_damaged_state_is_named(tmp_path):
    fresh = build(tf.distribute.get_strategy(), seed=1)
    RunState(tmp_path, *fresh).save()
    (data,) = (tmp_path / "last").glob("*.data*")
    data.write_bytes(data.read_bytes()[:50])
    with pytest.raises(ResumeError, match="ckpt-0.*--resume=never"):
        RunState(tmp_path, *fresh).restore()


def test_nothing_to_restore_is_said(tmp_path):
    state = RunState(tmp_path, *build(tf.distribute.get_strategy(), seed=1))
    assert not state.restore() and state.step == 0


def test_only_the_last_state_is_kept(tmp_path):
    state = RunState(tmp_path, *build(tf.distribute.get_strategy(), seed=1))
    for state.step in (1, 2, 3):
        state.save()
    assert {path.name for path in (tmp_path / "last").glob("*.index")} == {"ckpt-3.index"}


def test_best_weights_load_elsewhere(tmp_path):
    strategy = tf.distribute.get_strategy()
    model, optimizer = build(strategy, seed=1)
    RunState(tmp_path, model, optimizer).save_best()
    other, _ = build(strategy, seed=2)
    other.load_weights(tmp_path / "best.weights.h5")
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])
    assert [path.name for path in tmp_path.glob("*.h5")] == ["best.weights.h5"]
