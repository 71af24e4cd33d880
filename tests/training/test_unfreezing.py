import keras
import numpy as np
import pytest
import tensorflow as tf

from models.backbones import make_backbone
from models.normalisation import BatchNormOptions
from training.loop import TrainingPlan
from training.optimizers import VariableSchedule, make_optimizer
from training.steps import StepOptions
from training.unfreezing import UnfreezingStep, encoder_schedules

PLAN = TrainingPlan(total_steps=99, global_batch_size=4, samples_per_epoch=10)


@pytest.fixture(scope="module")
def encoder():
    return make_backbone("tiny", BatchNormOptions())


def first_steps(encoder, schedules):
    """Returns the set of first steps of the variables of each stage, from the top."""
    variables = zip(encoder.trainable_variables, schedules, strict=True)
    found = {id(variable): schedule.first_step for variable, schedule in variables}
    stages = [encoder.get_layer(f"stage{number}") for number in (5, 4, 3, 2, 1)]
    return [{found[id(v)] for v in stage.trainable_variables} for stage in stages]


def test_stages_are_unfrozen_from_the_top_one_an_epoch(encoder):
    schedules = encoder_schedules(encoder, encoder, PLAN, 2, 0.5)
    # Epoch 2 begins with step 5, 3 with 7.5, 4 with 10, 5 with 12.5, 6 with 15.
    assert first_steps(encoder, schedules) == [{5}, {8}, {10}, {13}, {15}]
    assert {schedule.multiplier for schedule in schedules} == {0.5}


def test_without_freezing_all_is_trained_from_the_start(encoder):
    assert set(encoder_schedules(encoder, encoder, PLAN, 0, 0.5)) == {VariableSchedule(0, 0.5)}


def train(strategy, frozen):
    """Takes seven steps of one epoch each, on two images, with a new stage after each `frozen`.

    Returns:
        (list of which stages' kernels moved in each step, from the top; weights).
    """
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = make_backbone("tiny", BatchNormOptions(frozen=True))
        schedules = encoder_schedules(model, model, TrainingPlan(9, 2, 2), frozen, 0.5)
        schedules[-1] = VariableSchedule()  # something must learn in the first step
        optimizer = make_optimizer(
            model, 0.01, ema_decay=0.5, loss_scaling=True, schedules=schedules
        )

    def losses(image):
        return {"l": tf.reduce_mean(model(image, training=True)[0], [1, 2, 3])}

    step = UnfreezingStep(strategy, model, optimizer, losses, {"l": 1.0}, StepOptions(2))
    images = np.random.default_rng(0).uniform(0, 1, (2, 64, 64, 3)).astype("float32")
    dataset = tf.data.Dataset.from_tensors(images).unbatch().batch(2, True)
    (batch,) = strategy.experimental_distribute_dataset(dataset)
    kernels = [model.get_layer(f"stage{n}").trainable_variables[0] for n in (5, 4, 3, 2, 1)]
    moved = []
    for _ in range(7):
        before = [kernel.numpy() for kernel in kernels]
        assert np.isfinite(float(step(batch)["loss"]))
        pairs = zip(kernels, before, strict=True)
        moved.append([bool((kernel.numpy() != old).any()) for kernel, old in pairs])
    return moved, model.get_weights()


def test_a_frozen_variable_stays_until_its_step_on_any_number_of_replicas(make_replicas):
    moved, weights = train(make_replicas(1), 1)
    assert moved == [[number < trained for number in range(5)] for trained in (0, 1, 2, 3, 4, 5, 5)]
    over_two, same = train(make_replicas(2), 1)
    assert over_two == moved
    for one, two in zip(weights, same, strict=True):
        np.testing.assert_allclose(two, one, atol=2e-4)  # 2 % of a step of Adam
