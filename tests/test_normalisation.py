import keras
import numpy as np

from models.backbones import make_backbone
from models.normalisation import BatchNormOptions, StoredBatchNormalization, synchronise


def test_stored_statistics_are_used_in_training_too():
    layer = StoredBatchNormalization(epsilon=0.0)
    layer.build((None, 2))
    layer.moving_mean.assign([1.0, 2.0])
    layer.moving_variance.assign([4.0, 9.0])
    x = np.array([[3.0, 8.0], [1.0, 2.0]], "float32")
    np.testing.assert_allclose(layer(x, training=True), [[1.0, 2.0], [0.0, 0.0]])
    np.testing.assert_array_equal(layer.moving_mean, [1.0, 2.0])


def test_synchronising_reaches_models_within_models():
    inner = make_backbone("tiny", BatchNormOptions())
    image = keras.Input((None, None, 3))
    outer = keras.Model(image, keras.layers.BatchNormalization(name="outer_bn")(inner(image)[0]))
    synchronise(outer)
    assert outer.get_layer("outer_bn").synchronized
    assert all(inner.get_layer(f"stage{i}_bn").synchronized for i in range(1, 6))
