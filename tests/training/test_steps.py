"""The losses of a batch by hand, of networks whose outputs are given."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.normalisation import BatchNormOptions, moving_statistics
from training.optimizers import make_optimizer
from training.steps import MtlLosses, StepOptions, make_train_step

SLOPE = [-(0.5**0.5), 0, 0.5**0.5]  # the normal of 45 degrees to the east


def losses(heights, outputs, gsd_factor=1.0):
    """Returns the losses of examples (rows, columns) at 0.5 m per pixel; outputs by name."""
    heights = np.array(heights, "float32")[..., None]
    outputs = {name: tf.constant(values, tf.float32) for name, values in outputs.items()}
    batch = {
        "image": tf.zeros((*heights.shape[:3], 3)),
        "heights": heights,
        "classes": np.zeros(heights.shape, "int16"),
        "gsd_factor": np.full(len(heights), gsd_factor, "float32"),
        "sample": np.arange(len(heights)),
    }
    outputs = {"heights": tf.zeros(heights.shape)} | outputs
    return MtlLosses(lambda image, training: outputs, 0.5, "unit")(batch)


def test_a_zoomed_crop_has_the_slopes_of_its_own_pixels():
    # 1 m up for each pixel to the east: 45 degrees where a pixel is 1 m, half as steep at 2 m.
    ramp = np.tile(np.arange(4.0), (2, 4, 1))
    loss = losses(ramp, {"normals": np.tile(SLOPE, (2, 4, 4, 1))}, [2, 4])["normal_loss"]
    difference = np.array([-1, 0, 2]) / np.sqrt(5) - SLOPE
    np.testing.assert_allclose(loss, [0, np.square(difference).mean()], atol=1e-6)


def test_a_pixel_without_height_has_no_normal_even_between_known_heights():
    heights, normals = np.zeros((1, 5, 5)), np.tile([0.0, 0, 1], (1, 5, 5, 1))
    heights[0, 2, 2], normals[0, 2, 2] = np.nan, SLOPE  # central differences leave it out
    loss = losses(heights, {"normals": normals}, 2)["normal_loss"]
    np.testing.assert_allclose(loss, [0], atol=1e-6)


def test_coarser_stages_count_alike_and_only_where_a_height_is_known():
    heights = np.full((1, 4, 4), 6.0)
    heights[..., 2:] = np.nan
    # Half the resolution is 1 m off in the left column, a quarter 2 m; squared, (1 + 4) / 2.
    coarse = {"heights_stage4": np.full((1, 2, 2, 1), 5.0), "heights_stage3": [[[[8.0]]]]}
    np.testing.assert_allclose(losses(heights, coarse)["deep_height_loss"], [2.5])


def normalised(strategy, synchronised, parts):
    """Returns (a model with batch normalisation, function (eight numbers) -> what a step gives)."""
    with strategy.scope():
        inputs = keras.Input((1,))
        options = BatchNormOptions(momentum=0.5, synchronised=synchronised)
        part = keras.Model(inputs, options.layer("within")(inputs), name="part")
        model = keras.Model(inputs, keras.layers.Dense(1)(part(inputs)))
        optimizer = make_optimizer(model, 0.1)
    options = StepOptions(8, parts=parts, unroll=synchronised)
    step = make_train_step(
        strategy,
        model,
        optimizer,
        lambda batch: {"l": tf.square(model(batch["x"], training=True)[:, 0] - 1)},
        {"l": 1.0},
        options,
    )

    def run(numbers):
        dataset = tf.data.Dataset.from_tensors({"x": np.array(numbers, "float32")[:, None]})
        (batch,) = strategy.experimental_distribute_dataset(dataset.unbatch().batch(8))
        return {name: float(value) for name, value in step(batch).items()}

    return model, run


def on_replicas(variables):
    values = [getattr(variable.value, "values", (variable.value,)) for variable in variables]
    return np.array([copy.numpy() for replicas in values for copy in replicas])


@pytest.mark.parametrize(
    "replicas, parts, synchronised", [(1, 1, False), (1, 2, False), (2, 2, False), (2, 2, True)]
)
def test_a_step_that_is_left_out_leaves_the_moving_statistics(
    make_replicas, replicas, parts, synchronised
):
    model, run = normalised(make_replicas(replicas), synchronised, parts)
    statistics = moving_statistics(model)
    assert len(statistics) == 2
    assert run([1, 2, 3, 4, 5, 6, 7, 8])["left_out"] == 0
    before = on_replicas(statistics)
    assert (before != np.repeat([0, 1], replicas)[:, None]).all()  # as they began
    assert run([1, 2, 3, 4, 5, 6, 7, np.nan])["left_out"] == 1
    np.testing.assert_array_equal(on_replicas(statistics), before)
    assert run([8, 7, 6, 5, 4, 3, 2, 1])["left_out"] == 0
    assert (on_replicas(statistics) != before).any()


def test_stored_statistics_need_not_be_remembered():
    inputs = keras.Input((1,))
    stored = keras.Model(inputs, BatchNormOptions(frozen=True).layer("stored")(inputs))
    assert moving_statistics(stored) == []
