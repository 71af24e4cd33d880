"""Training targets derived from heights, as graph operations on batches."""

import tensorflow as tf

from datasets.tiles.samples import Batch

SOBEL_DERIVATIVE = (-1.0, -2.0, 0.0, 2.0, 1.0)
SOBEL_SMOOTHING = (1.0, 4.0, 6.0, 4.0, 1.0)


def cast_batch(batch: Batch) -> Batch:
    """Casts what is fed to the types of network and losses, on the device, and adds `valid`."""
    return batch | {
        "image": tf.cast(batch["image"], tf.float32),
        "classes": tf.cast(batch["classes"], tf.int32),
        "valid": tf.math.is_finite(batch["heights"]),
    }


def _rise(heights, axis):
    """Returns central differences along `axis`, one-sided at the border, metres per pixel."""
    paddings = [[0, 0]] * 4
    paddings[axis] = [1, 1]
    padded = tf.pad(heights, paddings, "SYMMETRIC")
    size = tf.shape(heights)[axis]
    after, before = (tf.gather(padded, tf.range(size) + i, axis=axis) for i in (2, 0))
    spans = tf.concat([[1.0], tf.fill([size - 2], 2.0), [1.0]], axis=0)
    return (after - before) / tf.reshape(spans, [-1 if i == axis else 1 for i in range(4)])


def _unit_vectors(slope_x, slope_y):
    scale = tf.math.rsqrt(tf.square(slope_x) + tf.square(slope_y) + 1.0)
    return tf.concat([-slope_x * scale, -slope_y * scale, scale], axis=-1)


def unit_normals(heights: tf.Tensor, gsd: float | tf.Tensor) -> tf.Tensor:
    """Computes the unit surface normals of height maps.

    n = (-dz/dx, -dz/dy, 1) / |.|, with dz/dx and dz/dy in metres per metre, x to the east
    (columns) and y to the south (rows).

    Args:
        heights: float32 (batch, rows, columns, 1), metres; NaN = nodata.
        gsd: scalar or float32 (batch,), metres per pixel.

    Returns:
        float32 (batch, rows, columns, 3), components in [-1, 1]; NaN where a height involved is
        NaN.
    """
    gsd = tf.reshape(tf.cast(gsd, tf.float32), [-1, 1, 1, 1])
    return _unit_vectors(_rise(heights, 2) / gsd, _rise(heights, 1) / gsd)


def published_normals(heights: tf.Tensor) -> tf.Tensor:
    """Codes normals as the published code does: 5x5 Sobel sums as slopes, then (n + 1) / 2.

    The sums have gain 128 and ignore the pixel size (Elhousni et al., IEEE Access 2021, as
    implemented by its authors). They are kept to reproduce their results; the correct normals are
    those of `unit_normals`.

    Args:
        heights: float32 (batch, rows, columns, 1), metres; NaN = nodata.

    Returns:
        float32 (batch, rows, columns, 3) in [0, 1]; NaN within 2 pixels of a NaN.
    """
    kernel_x = tf.tensordot(tf.constant(SOBEL_SMOOTHING), tf.constant(SOBEL_DERIVATIVE), axes=0)
    kernels = tf.stack([kernel_x, tf.transpose(kernel_x)], axis=-1)[:, :, None, :]
    padded = tf.pad(heights, [[0, 0], [2, 2], [2, 2], [0, 0]], mode="REFLECT")
    sums = tf.nn.conv2d(padded, kernels, strides=1, padding="VALID")
    return (_unit_vectors(sums[..., :1], sums[..., 1:]) + 1.0) / 2.0


def normal_targets(heights: tf.Tensor, gsd: float | tf.Tensor, coding: str) -> tf.Tensor:
    """Returns `unit_normals` or `published_normals` for the coding "unit" or "published"."""
    return published_normals(heights) if coding == "published" else unit_normals(heights, gsd)
