import numpy as np
import pytest
import tensorflow as tf

from models.backbones import make_backbone
from models.normalisation import BatchNormOptions
from training.optimizers import Pace, make_optimizer
from training.plan import TrainingPlan
from training.steps import StepOptions
from training.unfreezing import encoder_paces, unfreezing_step

PLAN = TrainingPlan(total_steps=99, global_batch_size=4, samples_per_epoch=10)


@pytest.fixture(scope="module")
def encoder():
    return make_backbone("tiny", BatchNormOptions())


def first_steps(encoder, paces):
    """Returns the set of first steps of the variables of each stage, from the top."""
    variables = zip(encoder.trainable_variables, paces, strict=True)
    found = {id(variable): pace.first_step for variable, pace in variables}
    stages = [encoder.get_layer(f"stage{number}") for number in (5, 4, 3, 2, 1)]
    return [{found[id(v)] for v in stage.trainable_variables} for stage in stages]


def test_stages_wake_from_the_top_one_an_epoch(encoder):
    paces = encoder_paces(encoder, encoder, PLAN, 2, 0.5)
    # Epoch 2 begins with step 5, 3 with 7.5, 4 with 10, 5 with 12.5, 6 with 15.
    assert first_steps(encoder, paces) == [{5}, {8}, {10}, {13}, {15}]
    assert {pace.rate_factor for pace in paces} == {0.5}


def test_without_freezing_all_is_trained_from_the_start(encoder):
    assert set(encoder_paces(encoder, encoder, PLAN, 0, 0.5)) == {Pace(0, 0.5)}


def test_a_frozen_variable_rests_until_its_step(encoder):
    model = make_backbone("tiny", BatchNormOptions())
    paces = encoder_paces(model, model, TrainingPlan(9, 1, 1), 1, 1.0)
    paces[-1] = Pace()  # something must learn in the first step
    optimizer = make_optimizer(model, 0.01, paces=paces)

    def losses(image):
        return {"l": tf.reduce_mean(model(image, training=True)[0], [1, 2, 3])}

    step = unfreezing_step(
        tf.distribute.get_strategy(), model, optimizer, losses, {"l": 1.0}, StepOptions(1)
    )
    image = tf.constant(np.random.default_rng(0).uniform(0, 1, (1, 64, 64, 3)), tf.float32)
    kernels = [model.get_layer(f"stage{n}").trainable_variables[0] for n in (5, 4, 3, 2, 1)]
    moved = []
    for _ in range(7):
        before = [kernel.numpy() for kernel in kernels]
        step(image)
        pairs = zip(kernels, before, strict=True)
        moved.append([bool((kernel.numpy() != old).any()) for kernel, old in pairs])
    assert moved == [[number < awake for number in range(5)] for awake in (0, 1, 2, 3, 4, 5, 5)]
