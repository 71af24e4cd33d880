import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from runs.stored import ResumeError
from training.checkpoints import RunState
from training.optimizers import make_optimizer
from training.states import read_progress


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
    state.save_best()
    state.save(pending=True)
    other = make_replicas(loaded)
    fresh = build(other, seed=2)
    with other.scope():
        found = RunState(tmp_path, *fresh)
    assert found.restore()
    assert (found.step, found.best, found.waited, found.stopped) == (5, 1.25, 2, True)
    assert found.pending
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


def everything_of(fresh):
    return np.concatenate([value.ravel() for value in everything(*fresh)])


@pytest.mark.parametrize("pattern", ["*.index", "*.data*", "state.json"])
def test_the_state_before_a_damaged_one_is_loaded(tmp_path, capsys, pattern):
    strategy = tf.distribute.get_strategy()
    fresh = build(strategy, seed=1)
    state = RunState(tmp_path, *fresh)
    state.step, state.best = 1, 3.5
    state.save_best()
    state.save()
    saved = everything_of(fresh)
    step(strategy, *fresh)
    state.step, state.best = 2, 2.5
    state.save()
    (data,) = (tmp_path / "last" / "step-00000002").glob(pattern)
    data.write_bytes(data.read_bytes()[:50])
    other = build(strategy, seed=2)
    found = RunState(tmp_path, *other)
    assert found.restore() and (found.step, found.best) == (1, 3.5)
    np.testing.assert_array_equal(everything_of(other), saved)
    assert "step-00000002.damaged" in capsys.readouterr().out


@pytest.mark.parametrize("is_there", [True, False], ids=["damaged", "deleted"])
def test_if_the_best_weights_are_lost_those_of_the_state_are_validated(tmp_path, capsys, is_there):
    state = RunState(tmp_path, *build(tf.distribute.get_strategy(), seed=1))
    state.step, state.best, state.waited, state.stopped = 4, 2.5, 3, True
    state.save_best()
    state.save()
    path = tmp_path / "best.weights.h5"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged) if is_there else path.unlink()
    assert state.restore() and state.pending and state.stopped
    assert math.isnan(state.best) and state.waited == 0
    assert "THE BEST WEIGHTS ARE LOST" in capsys.readouterr().out
    kept = [file.read_bytes() for file in tmp_path.glob("best.weights.h5*")]
    assert kept == ([damaged] if is_there else []) and not path.exists()


def test_a_state_of_another_network_is_refused(tmp_path):
    RunState(tmp_path, *build(tf.distribute.get_strategy(), seed=1)).save()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
    with pytest.raises(ResumeError, match="step-00000000.*another network"):
        RunState(tmp_path, model, make_optimizer(model, 0.1)).restore()
    assert (tmp_path / "last" / "step-00000000").is_dir()


def test_nothing_to_restore_is_said(tmp_path):
    state = RunState(tmp_path, *build(tf.distribute.get_strategy(), seed=1))
    assert not state.restore() and state.step == 0


@pytest.mark.parametrize("keep, names", [(1, {"3"}), (2, {"2", "3"})])
def test_the_newest_states_are_kept(tmp_path, keep, names):
    state = RunState(tmp_path, *build(tf.distribute.get_strategy(), seed=1), keep)
    for state.step in (1, 2, 3):
        state.save()
    assert {path.name[-1] for path in (tmp_path / "last").iterdir()} == names


def test_the_size_of_a_state_is_known_before(tmp_path):
    model = keras.Sequential([keras.Input((500,)), keras.layers.Dense(200)])
    state = RunState(tmp_path, model, make_optimizer(model, 0.1))
    state.save()
    (data,) = tmp_path.rglob("*.data*")
    assert state.bytes == pytest.approx(data.stat().st_size, rel=0.01)


def test_other_variables_are_saved_and_may_be_absent(tmp_path):
    fresh = build(tf.distribute.get_strategy(), seed=1)
    norms = tf.Variable([1.0, 2.0])
    RunState(tmp_path, *fresh, extra={"norms": norms}).save()
    norms.assign([0.0, 0.0])
    later = tf.Variable(7)
    state = RunState(tmp_path, *fresh, extra={"norms": norms, "later": later})
    assert state.restore()
    assert norms.numpy().tolist() == [1.0, 2.0] and later.numpy() == 7


def test_nothing_is_written_if_the_check_before_it_fails(tmp_path):
    def fail():
        raise ResumeError("another process writes here")

    fresh = build(tf.distribute.get_strategy(), seed=1)
    RunState(tmp_path, *fresh).save(pending=True)
    state = RunState(tmp_path, *fresh, before_save=fail)
    for save in (state.save, state.save_numbers):
        with pytest.raises(ResumeError, match="another process"):
            save()
    assert read_progress(tmp_path / "last").pending


def write_earlier(folder, model, optimizer, step):
    """Writes a state as versions did that knew one state only."""
    numbers = {"best": tf.Variable(1.5, dtype=tf.float64), "stopped": tf.Variable(False)}
    numbers |= {n: tf.Variable(v, dtype=tf.int64) for n, v in {"step": step, "waited": 1}.items()}
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, **numbers)
    tf.train.CheckpointManager(checkpoint, str(folder / "last"), 1).save(step)


@pytest.mark.parametrize(
    "damage",
    [
        lambda last: None,
        lambda last: (last / "checkpoint").unlink(),
        lambda last: (last / "checkpoint").write_text("rubbish: {"),
        lambda last: (last / "checkpoint").write_bytes(b""),
    ],
)
def test_a_state_of_an_earlier_version_is_loaded(tmp_path, damage):
    strategy = tf.distribute.get_strategy()
    fresh = build(strategy, seed=1)
    step(strategy, *fresh)
    write_earlier(tmp_path, *fresh, step=5)
    fresh[0].save_weights(tmp_path / "best.weights.h5")
    damage(tmp_path / "last")
    other = build(strategy, seed=2)
    state = RunState(tmp_path, *other, extra={"norms": tf.Variable(3.0)})
    assert state.restore() and (state.step, state.best, state.waited) == (5, 1.5, 1)
    assert not state.stopped and not state.pending
    np.testing.assert_array_equal(everything_of(other), everything_of(fresh))
    for state.step in (6, 7):
        state.save()
    assert not list((tmp_path / "last").glob("c*"))


def test_a_damaged_state_of_an_earlier_version_is_kept_aside(tmp_path):
    fresh = build(tf.distribute.get_strategy(), seed=1)
    write_earlier(tmp_path, *fresh, step=5)
    data = tmp_path / "last" / "ckpt-5.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[20] ^= 1
    data.write_bytes(content)
    with pytest.raises(ResumeError, match="ckpt-5 cannot be read.*--resume=never"):
        RunState(tmp_path, *fresh).restore()
    assert data.with_name(data.name + ".damaged").is_file()


def test_best_weights_load_elsewhere(tmp_path):
    strategy = tf.distribute.get_strategy()
    model, optimizer = build(strategy, seed=1)
    RunState(tmp_path, model, optimizer).save_best()
    other, _ = build(strategy, seed=2)
    other.load_weights(tmp_path / "best.weights.h5")
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])
    assert [path.name for path in tmp_path.glob("*.h5")] == ["best.weights.h5"]
