import numpy as np
import pytest
import tensorflow as tf

from models.mtl import NetworkOptions, build_mtl
from models.normalisation import BatchNormalization, StoredBatchNormalization


def test_stored_statistics_are_used_in_training_too():
    layer = StoredBatchNormalization(epsilon=0.0)
    layer.build((None, 2))
    layer.moving_mean.assign([1.0, 2.0])
    layer.moving_variance.assign([4.0, 9.0])
    x = np.array([[3.0, 8.0], [1.0, 2.0]], "float32")
    np.testing.assert_allclose(layer(x, training=True), [[1.0, 2.0], [0.0, 0.0]])
    np.testing.assert_array_equal(layer.moving_mean, [1.0, 2.0])


@pytest.mark.parametrize("replicas", [1, 2, 4])
@pytest.mark.parametrize("offset", [0.0, 10000.0])
def test_global_statistics_are_those_of_the_global_batch(make_replicas, replicas, offset):
    strategy = make_replicas(replicas)
    with strategy.scope():
        layer = BatchNormalization(momentum=0.0, global_statistics=True)
        layer.build((None, None, 2))
    x = np.random.default_rng(0).normal([0, 3], [1, 2], (4, 50, 2)) * [[[1]], [[2]], [[3]], [[4]]]
    x = (x + offset).astype("float32")
    dataset = tf.data.Dataset.from_tensors(x).unbatch().batch(4)
    (batch,) = strategy.experimental_distribute_dataset(dataset)
    strategy.run(tf.function(lambda part: layer(part, training=True)), args=(batch,))
    flat = x.reshape(-1, 2).astype("float64")
    np.testing.assert_allclose(layer.moving_mean, flat.mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, flat.var(axis=0), rtol=1e-3)


def test_options_reach_every_layer():
    options = NetworkOptions("tiny", 0.02, "batch", sync_batch_norm=True)
    layers = [layer for layer in build_mtl(options)._flatten_layers() if "_bn" in layer.name]
    # Five in the encoder, its output, five stages: one each for normals, three each for heights.
    assert len(layers) == 5 + 1 + 5 + 15
    assert all(layer.global_statistics for layer in layers)
