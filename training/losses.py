"""Losses. Every loss returns one value per example, shape (batch,): the mean over the example's
valid pixels, 0 where it has none. The training step divides by the global batch size."""

from collections.abc import Callable, Sequence

import tensorflow as tf


def huber_penalty(error: tf.Tensor, delta: float) -> tf.Tensor:
    """Is half the square of an error up to delta, and linear above (Huber, Annals of
    Mathematical Statistics 1964)."""
    within = tf.minimum(tf.abs(error), delta)
    return within * (tf.abs(error) - 0.5 * within)


# reg_loss -> function (error, huber_delta) -> loss of each pixel
PENALTIES: dict[str, Callable[[tf.Tensor, float], tf.Tensor]] = {
    "mse": lambda error, _: tf.square(error),
    "mae": lambda error, _: tf.abs(error),
    "huber": huber_penalty,
}


def masked_mean(values: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Averages each example over its valid pixels.

    Args:
        values: float32 (batch, rows, columns, channels), finite where `valid`.
        valid: bool (batch, rows, columns, 1).

    Returns:
        float32 (batch,); 0 where no pixel is valid.
    """
    per_pixel = tf.reduce_mean(tf.where(valid, values, 0.0), axis=-1)
    total = tf.reduce_sum(per_pixel, axis=[1, 2])
    return tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(valid[..., 0], tf.float32), [1, 2]))


def regression_loss(
    truth: tf.Tensor,
    predicted: tf.Tensor,
    valid: tf.Tensor,
    kind: str = "mse",
    huber_delta: float = 1.0,
) -> tf.Tensor:
    """Error of a regressed map over the valid pixels of each example.

    Args:
        truth: float32 (batch, rows, columns, channels); NaN allowed where not valid.
        predicted: float32, same shape.
        valid: bool (batch, rows, columns, 1).
        kind: of `PENALTIES`: "mse" is in squared units of the map.
        huber_delta: in the units of the map.

    Returns:
        float32 (batch,).

    Raises:
        ValueError: if `kind` is none of these.
    """
    if kind not in PENALTIES:
        raise ValueError(f"reg_loss is {kind!r}, but must be one of {', '.join(PENALTIES)}.")
    # Mask the difference, not the loss: the gradient of a masked NaN is NaN.
    error = tf.where(valid, predicted - truth, 0.0)
    return masked_mean(PENALTIES[kind](error, huber_delta), valid)


def semantic_loss(
    classes: tf.Tensor,
    logits: tf.Tensor,
    weights: Sequence[float] | None = None,
    smoothing: float = 0.0,
) -> tf.Tensor:
    """Cross-entropy of each example over its labelled pixels, in nats.

    With smoothing s, the truth is (1 - s) for a pixel's class and s / class_count more for every
    class (Szegedy et al., CVPR 2016). The cross-entropy of a pixel, smoothed or not, counts times
    the weight of its class; the mean is over pixels, as a division by the sum of the weights
    would take them away again in an example of one class.

    Args:
        classes: int32 (batch, rows, columns, 1), class index; -1 = ignore.
        logits: float32 (batch, rows, columns, class_count).
        weights: of each class, such as `balanced_weights`; None = 1 each.
        smoothing: s, at least 0, below 1.

    Returns:
        float32 (batch,).
    """
    labels = tf.maximum(classes[..., 0], 0)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    if smoothing:
        # Cross-entropy is linear in the truth.
        uniform = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
        entropy += smoothing * (uniform - entropy)
    if weights is not None:
        entropy *= tf.gather(tf.constant(weights, entropy.dtype), labels)
    return masked_mean(entropy[..., None], classes >= 0)


def balanced_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Weighs each class by the inverse of its share, so that all count alike in total.

    weight = pixels of all classes / (classes with pixels x pixels of this class), as
    scikit-learn's `class_weight="balanced"`: their mean over the pixels is 1.

    Args:
        counts: labelled training pixels of each class.

    Returns:
        The weights; 0 for a class without pixels, whose weight is never used.
    """
    total, present = sum(counts), sum(count > 0 for count in counts)
    return tuple(total / (present * count) if count else 0.0 for count in counts)


def coarse_heights(
    heights: tf.Tensor, valid: tf.Tensor, factor: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Averages heights over blocks of pixels, for the loss of a decoder's coarser stage.

    Args:
        heights: float32 (batch, rows, columns, 1), metres; NaN allowed where not valid.
        valid: bool, same shape.
        factor: rows and columns of a block; divides those of the heights.

    Returns:
        (mean over the valid pixels of each block, float32 (batch, rows/factor, columns/factor, 1),
        bool of that shape: whether the block has a valid pixel).
    """

    def average(values: tf.Tensor) -> tf.Tensor:
        return tf.nn.avg_pool2d(values, factor, factor, "VALID")

    share = average(tf.cast(valid, tf.float32))
    total = average(tf.where(valid, heights, 0.0))
    return tf.math.divide_no_nan(total, share), share > 0.0
