"""The gradient of the whole batch is what is clipped and applied, on any number of replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import training.steps
from training.optimizers import (
    SGD,
    Adam,
    ReducedGradients,
    StepGuard,
    VariableSchedule,
    averaged_weights,
    make_optimizer,
    step_guard,
    updates_done,
)
from training.steps import StepOptions, make_train_step


def one_weight(strategy, optimizer_class=SGD):
    """Returns (model y = w x with w = 1, optimizer of rate 1)."""
    with strategy.scope():
        inputs = keras.Input((1,))
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        model = keras.Model(inputs, layer(inputs))
        optimizer = optimizer_class(1.0)
        optimizer.build(model.trainable_variables)
    return model, optimizer


def take_step(strategy, clip_norm):
    """One step on the examples 1, 2, 3, 6 with the loss w x, so that the gradient is 12 / 4."""
    model, optimizer = one_weight(strategy)
    step = make_train_step(
        strategy,
        model,
        optimizer,
        lambda x: {"l": model(x)[:, 0]},
        {"l": 1.0},
        StepOptions(4, clip_norm),
    )
    examples = tf.data.Dataset.from_tensors(np.array([[1.0], [2], [3], [6]], "float32"))
    (batch,) = strategy.experimental_distribute_dataset(examples.unbatch().batch(4))
    return {name: float(value) for name, value in step(batch).items()}, model.get_weights()[0][0, 0]


@pytest.mark.parametrize("replicas", [1, 2, 4])
@pytest.mark.parametrize("clip_norm, change", [(0.0, 3.0), (5.0, 3.0), (0.5, 0.5)])
def test_the_gradient_of_the_global_batch_is_clipped(make_replicas, replicas, clip_norm, change):
    row, weight = take_step(make_replicas(replicas), clip_norm)
    assert row == {"l": 3, "loss": 3, "gradient_norm": 3, "left_out": 0}
    assert weight == pytest.approx(1 - change)


@pytest.mark.parametrize("kind, slot, expected", [(SGD, None, -2.0), (Adam, "_momentums", 0.3)])
def test_the_optimizer_sums_nothing_itself(make_replicas, kind, slot, expected):
    """Pins the private hook: each of two replicas hands in the whole gradient, 3."""
    strategy = make_replicas(2)
    model, optimizer = one_weight(strategy, kind)

    @tf.function
    def apply():
        strategy.run(lambda: optimizer.apply([tf.constant([[3.0]])], model.trainable_variables))

    apply()
    changed = model.weights if slot is None else getattr(optimizer, slot)
    assert float(changed[0].numpy()[0, 0]) == pytest.approx(expected)


def test_an_optimizer_that_would_sum_again_is_refused(make_replicas):
    strategy = make_replicas(2)
    model, optimizer = one_weight(strategy, keras.optimizers.SGD)
    with pytest.raises(TypeError, match=r"is a SGD, expected one of training\.optimizers"):
        make_train_step(strategy, model, optimizer, None, {}, StepOptions(4))


def one_weight_step(strategy, optimizer, clip_norm=0.0):
    """Returns (model y = w x with w = 1, optimizer, function (four examples) -> (row, weight))."""
    with strategy.scope():
        inputs = keras.Input((1,))
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        model = keras.Model(inputs, layer(inputs))
        optimizer = optimizer(model)
    options = StepOptions(4, clip_norm)
    step = make_train_step(
        strategy, model, optimizer, lambda x: {"l": model(x)[:, 0]}, {"l": 1.0}, options
    )

    def run(examples):
        dataset = tf.data.Dataset.from_tensors(np.array(examples, "float32")[:, None])
        (batch,) = strategy.experimental_distribute_dataset(dataset.unbatch().batch(4))
        row = {name: float(value) for name, value in step(batch).items()}
        return row, float(model.get_weights()[0][0, 0])

    return model, optimizer, run


def scaled(model):
    """Returns gradient descent of rate 1 on a loss that is scaled by 8."""
    optimizer = keras.optimizers.LossScaleOptimizer(SGD(1.0), initial_scale=8.0)
    optimizer.build(model.trainable_variables)
    return optimizer


@pytest.mark.parametrize("clip_norm, change", [(5.0, 3.0), (0.5, 0.5)])
def test_the_gradient_is_clipped_by_its_norm_without_the_loss_scale(clip_norm, change):
    *_, run = one_weight_step(tf.distribute.get_strategy(), scaled, clip_norm)
    row, weight = run([1, 2, 3, 6])  # the gradient is 3, scaled 24
    assert row["gradient_norm"] == 3 and weight == pytest.approx(1 - change)


def check_overflow(strategy, place):
    """Lets the gradient of one of four examples overflow before two ordinary steps."""
    model, _, run = one_weight_step(strategy, scaled)
    overflow = [1.0, 2.0, 3.0, 6.0]
    overflow[place] = 3e38  # times the scale it is infinite
    row, weight = run(overflow)
    assert weight == 1 and row["loss_scale"] == 8 and row["gradient_norm"] == np.inf
    assert np.isfinite(row["loss"]) and row["left_out"] == 0
    row, weight = run([1, 2, 3, 6])
    assert weight == pytest.approx(-2) and row["loss_scale"] == 4
    assert run([1, 2, 3, 6])[1] == pytest.approx(-5)
    copies = getattr(model.trainable_variables[0].value, "values", ())
    assert all(float(copy.numpy()[0, 0]) == pytest.approx(-5) for copy in copies)


@pytest.mark.parametrize("replicas", [1, 2, 4])
@pytest.mark.parametrize("place", [0, 3])
def test_an_overflow_anywhere_leaves_the_step_out_everywhere(make_replicas, replicas, place):
    check_overflow(make_replicas(replicas), place)


def test_a_scale_that_looks_at_the_first_replica_only_is_caught(make_replicas, monkeypatch):
    """Plants what Keras does by itself: the look for overflow comes before the sum."""
    monkeypatch.setattr(training.steps, "sum_over_replicas", lambda tensors, _: tensors)
    monkeypatch.delattr(ReducedGradients, "_all_reduce_sum_gradients")
    check_overflow(make_replicas(2), 0)  # the first replica's own overflow is seen
    with pytest.raises(AssertionError):
        check_overflow(make_replicas(2), 3)


@pytest.mark.parametrize("replicas", [1, 2])
def test_averaged_weights_take_their_place_for_a_while(make_replicas, replicas):
    strategy = make_replicas(replicas)
    model, optimizer, run = one_weight_step(
        strategy, lambda model: make_optimizer(model, 1.0, ema_decay=0.75)
    )
    first, second = (run([1, 2, 3, 6])[1] for _ in range(2))
    assert first != pytest.approx(second, abs=0.5)
    with averaged_weights(strategy, model, optimizer):  # the first average is the first weight
        average = float(model.get_weights()[0][0, 0])
    assert average == pytest.approx(0.75 * first + 0.25 * second, abs=1e-6)
    assert float(model.get_weights()[0][0, 0]) == second


def weights_after(gradients, schedules=None, start=0):
    """Returns the weight after each of the updates with Adam at 0.1, begun with update `start`."""
    inputs = keras.Input((1,))
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Model(inputs, layer(inputs))
    optimizer = make_optimizer(model, 0.1, schedules=schedules)
    optimizer.iterations.assign(start)
    found = []
    for gradient in gradients:
        optimizer.apply([tf.constant([[gradient]])], model.trainable_variables)
        found.append(float(layer.kernel.numpy()[0, 0]))
    return found


def test_a_variable_that_starts_late_is_trained_like_one_that_starts():
    early = weights_after([1.0, -2.0, 0.5])
    assert weights_after(
        [1.0, -2.0, 0.5], [VariableSchedule(first_step=300)], 300
    ) == pytest.approx(early)
    without = weights_after([1.0, -2.0, 0.5], [VariableSchedule()], 300)
    assert without[0] - 1 == pytest.approx(-0.1 * 0.1 / 0.001**0.5 * (1 - 0.999**301) ** 0.5, 0.01)


def test_a_pace_slows_a_variable_down():
    full, half = weights_after([1.0]), weights_after([1.0], [VariableSchedule(multiplier=0.5)])
    # Adam's epsilon, 1e-7, beside the root of its second moment, 0.03.
    assert full == pytest.approx([0.9], abs=1e-6) and half == pytest.approx([0.95], abs=1e-6)


def copies(variables):
    """Returns the values of Keras variables on every replica."""
    values = [getattr(variable.value, "values", (variable.value,)) for variable in variables]
    return [copy.numpy() for replicas in values for copy in replicas]


def momentum(model):
    optimizer = SGD(0.5, momentum=0.5, use_ema=True, ema_momentum=0.75)
    optimizer.build(model.trainable_variables)
    return optimizer


def adam(model):
    return make_optimizer(model, 0.1, ema_decay=0.75)


def scaled_adam(model):
    return make_optimizer(model, 0.1, ema_decay=0.75, loss_scaling=True)


@pytest.mark.parametrize("replicas, clip_norm", [(1, 0.0), (1, 1.0), (2, 0.0)])
@pytest.mark.parametrize("optimizer", [momentum, adam, scaled_adam])
def test_a_step_that_is_not_finite_is_as_if_it_had_not_been(
    make_replicas, replicas, clip_norm, optimizer
):
    good = [1, 2, 3, 6]
    model, optimizer, run = one_weight_step(make_replicas(replicas), optimizer, clip_norm)
    everything = [*model.variables, *optimizer.variables]
    model.trainable_variables[0].assign([[100.0]])
    for _ in range(2):
        assert run(good)[0]["left_out"] == 0
    before = copies(everything)
    for place, bad in ((0, np.nan), (1, -np.inf), (3, 1e38)):  # 100 times 1e38 is too large
        row, _ = run([*good[:place], bad, *good[place + 1 :]])
        assert row["left_out"] == 1 and not np.isfinite(row["loss"])
        for value, old in zip(copies(everything), before, strict=True):
            np.testing.assert_array_equal(value, old)
    assert updates_done(optimizer) == 2
    assert step_guard(optimizer).left_out_in_a_row() == 3
    row, weight = run(good)
    assert row["left_out"] == 0 and weight < before[0][0, 0]
    assert step_guard(optimizer).left_out_in_a_row() == 0


@pytest.mark.parametrize("average", [{}, {"use_ema": True, "ema_momentum": 0.9}])
def test_adam_has_the_bits_of_keras(average):
    def train(kind):
        weights = [keras.Variable(np.linspace(-1, 1, 50), dtype="float32")]
        rate = keras.optimizers.schedules.CosineDecay(0.0, 40, warmup_target=0.01, warmup_steps=9)
        optimizer = kind(rate, **average)
        optimizer.build(weights)
        apply = tf.function(lambda gradient: optimizer.apply([gradient], weights))
        for gradient in np.random.default_rng(1).normal(size=(50, 50)):
            apply(tf.constant(gradient, tf.float32))
        return copies([*weights, *optimizer.variables])

    for own, theirs in zip(train(Adam), train(keras.optimizers.Adam), strict=True):
        np.testing.assert_array_equal(own, theirs)


def test_a_gradient_that_is_not_finite_is_left_out_even_with_a_finite_loss():
    model, optimizer, run = one_weight_step(tf.distribute.get_strategy(), adam)
    row, weight = run([1e20, 1, 1, 1])  # the square of the gradient is too large
    assert np.isfinite(row["loss"]) and row["gradient_norm"] == np.inf
    assert row["left_out"] == 1 and weight == 1 and updates_done(optimizer) == 0


def test_an_average_begins_with_the_weights_even_if_the_first_step_is_left_out():
    strategy = tf.distribute.get_strategy()
    model, optimizer, run = one_weight_step(strategy, adam)
    run([np.nan, 1, 1, 1])
    with averaged_weights(strategy, model, optimizer):
        assert model.get_weights()[0] == 1


def watched(scaling):
    """Returns a function (model) -> gradient descent of rate 0.001 that leaves out spikes of 10."""

    def build(model):
        optimizer = SGD(0.001)
        optimizer.gradient_spike = 10.0
        outer = keras.optimizers.LossScaleOptimizer(optimizer, 8.0) if scaling else optimizer
        outer.build(model.trainable_variables)
        return outer

    return build


@pytest.mark.parametrize("replicas, scaling", [(1, False), (2, False), (2, True)])
def test_a_norm_of_ten_times_the_median_is_left_out(make_replicas, replicas, scaling):
    _, optimizer, run = one_weight_step(make_replicas(replicas), watched(scaling))
    for _ in range(19):
        run([1, 2, 3, 6])  # of norm 3
    assert run([400] * 4)[0]["left_out"] == 0  # too few norms to know
    _, weight = run([0] * 4)  # of norm 0, which is no norm to compare with
    assert weight == pytest.approx(1 - 19 * 0.003 - 0.4)
    row, same = run([10, 50, 31, 33])  # of norm 31, where the limit is 30
    assert row["left_out"] == 1 and same == weight
    assert (row["gradient_norm"], row["gradient_norm_median"]) == (31, 3)
    row, weight = run([29] * 4)
    assert row["left_out"] == 0 and weight == pytest.approx(same - 0.029)
    assert int(step_guard(optimizer).variables["accepted"].numpy()) == 21
    assert row.get("loss_scale", 8) == 8 and updates_done(optimizer) == 22


def test_an_overflow_of_the_scaled_gradient_is_no_spike_and_no_norm(make_replicas):
    _, optimizer, run = one_weight_step(make_replicas(2), watched(True))
    for _ in range(20):
        run([1, 2, 3, 6])
    row, _ = run([3e38, 0, 0, 0])
    assert row["left_out"] == 0 and row["gradient_norm"] == np.inf
    row, _ = run([1, 2, 3, 6])
    assert row["loss_scale"] == 4 and row["gradient_norm_median"] == 3
    assert int(step_guard(optimizer).variables["accepted"].numpy()) == 21


def test_the_median_is_that_of_the_last_hundred_norms():
    guard = StepGuard(spike=1e9)
    assert guard.median() == np.inf
    for norm in range(1, 104):
        assert guard.accepts(tf.constant(0.0), tf.constant(float(norm)), False)
        if norm in (1, 4):
            assert guard.median() == (1 + norm) / 2
    assert guard.median() == (4 + 103) / 2
