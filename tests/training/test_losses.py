import numpy as np
import pytest
import tensorflow as tf

from training.losses import (
    balanced_weights,
    coarse_heights,
    masked_mean,
    regression_loss,
    semantic_loss,
)


def pixels(*values):
    return np.array(values, "float32").reshape(1, 1, -1, 1)


@pytest.mark.parametrize(
    "kind, expected",
    [("mse", (1 + 16) / 2), ("mae", (1 + 4) / 2), ("huber", (0.5 + 2 * (4 - 1)) / 2)],
)
def test_regression_losses_by_hand(kind, expected):
    truth, predicted = pixels(2.0, 5.0, np.nan), pixels(3.0, 1.0, 7.0)
    valid = pixels(1, 1, 0).astype(bool)
    loss = regression_loss(truth, predicted, valid, kind, huber_delta=2.0)
    np.testing.assert_allclose(loss, [expected])


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="'l4'.*one of mse, mae, huber"):
        regression_loss(pixels(1), pixels(1), pixels(1).astype(bool), "l4")


def test_nodata_reaches_neither_loss_nor_gradient():
    heights = np.full((2, 2, 2, 1), np.nan, "float32")
    heights[0] = 0.0  # the second example is nodata only
    predicted = tf.Variable(tf.fill([2, 2, 2, 1], 3.0))
    with tf.GradientTape() as tape:
        losses = regression_loss(heights, predicted, np.isfinite(heights))
    gradient = tape.gradient(losses, predicted).numpy()
    np.testing.assert_array_equal(losses, [9.0, 0.0])
    np.testing.assert_array_equal(gradient[0], np.full((2, 2, 1), 2 * 3.0 / 4))
    np.testing.assert_array_equal(gradient[1], np.zeros((2, 2, 1)))


def test_each_example_is_its_own_mean():
    values = np.array([[1.0, 3.0], [10.0, 99.0]], "float32").reshape(2, 1, 2, 1)
    valid = np.array([[1, 1], [1, 0]], bool).reshape(2, 1, 2, 1)
    np.testing.assert_array_equal(masked_mean(values, valid), [2.0, 10.0])


def test_semantic_loss_by_hand():
    logits = np.log(np.array([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]], "float32"))
    classes = np.array([0, 1, -1], "int32").reshape(1, 1, 3, 1)  # the last is not labelled
    loss = semantic_loss(classes, logits.reshape(1, 1, 3, 2))
    np.testing.assert_allclose(loss, [-(np.log(0.5) + np.log(0.75)) / 2], rtol=1e-6)


def shares(*rows):
    """Returns logits of one example, whose softmax are these rows, one for each pixel."""
    return np.log(np.array(rows, "float32")).reshape(1, 1, len(rows), -1)


def test_class_weights_by_hand():
    classes = np.array([0, 1, -1], "int32").reshape(1, 1, 3, 1)
    loss = semantic_loss(classes, shares([0.5, 0.5], [0.25, 0.75], [0.9, 0.1]), (0.5, 4.0))
    # Divided by the two labelled pixels, not by the weights.
    expected = -(0.5 * np.log(0.5) + 4 * np.log(0.75)) / 2
    np.testing.assert_allclose(loss, [expected], rtol=1e-6)


def test_weights_do_not_cancel_in_an_example_of_one_class():
    classes = np.array([[0, 0], [1, -1]], "int32").reshape(2, 1, 2, 1)
    logits = np.concatenate([shares([0.5, 0.5], [0.5, 0.5])] * 2)
    loss = semantic_loss(classes, logits, (0.25, 3.0))
    np.testing.assert_allclose(loss, [0.25 * np.log(2), 3 * np.log(2)], rtol=1e-6)


def test_label_smoothing_by_hand():
    classes = np.array([2, -1], "int32").reshape(1, 1, 2, 1)
    logits = shares([0.5, 0.2, 0.3], [0.8, 0.1, 0.1])
    # Of 0.3, a third goes to each of the three classes.
    expected = -(0.1 * np.log(0.5) + 0.1 * np.log(0.2) + 0.8 * np.log(0.3))
    loss = semantic_loss(classes, logits, smoothing=0.3)
    np.testing.assert_allclose(loss, [expected], rtol=1e-6)
    loss = semantic_loss(classes, logits, (9.0, 9.0, 2.0), smoothing=0.3)
    np.testing.assert_allclose(loss, [2 * expected], rtol=1e-6)


def test_smoothed_labels_draw_the_softmax_to_their_shares():
    # The gradient of a cross-entropy is softmax - truth: 0 where the network says 0.85 and 0.15.
    logits = tf.Variable(shares([0.85, 0.15]))
    with tf.GradientTape() as tape:
        loss = semantic_loss(np.zeros((1, 1, 1, 1), "int32"), logits, smoothing=0.3)
    np.testing.assert_allclose(tape.gradient(loss, logits), np.zeros((1, 1, 1, 2)), atol=1e-6)


def test_balanced_weights_by_hand():
    # 12 pixels of 3 classes: each class sums to 4, and the mean weight of a pixel is 1.
    assert balanced_weights((8, 0, 3, 1)) == (0.5, 0.0, 4 / 3, 4.0)
    assert balanced_weights((5, 5)) == (1.0, 1.0)
    assert balanced_weights((0, 0)) == (0.0, 0.0) and balanced_weights(()) == ()


def test_unlabelled_example_costs_nothing():
    loss = semantic_loss(np.full((1, 2, 2, 1), -1, "int32"), np.ones((1, 2, 2, 3), "float32"))
    np.testing.assert_array_equal(loss, [0.0])
    classes = np.full((1, 2, 2, 1), -1, "int32")
    loss = semantic_loss(classes, np.ones((1, 2, 2, 3), "float32"), (0.0, 1.0, 2.0), 0.1)
    np.testing.assert_array_equal(loss, [0.0])


def test_coarse_heights_average_the_valid_pixels_of_a_block():
    nan = float("nan")
    heights = tf.constant([[1.0, 3.0, nan, 4.0], [nan, 5.0, nan, nan]])[None, ..., None]
    valid = tf.constant([[True, True, False, True], [False, True, False, False]])[None, ..., None]
    means, known = coarse_heights(heights, valid, 2)
    assert means.numpy().ravel().tolist() == [3.0, 4.0] and known.numpy().all()
    means, known = coarse_heights(heights, tf.zeros_like(valid), 2)
    assert means.numpy().ravel().tolist() == [0.0, 0.0] and not known.numpy().any()
