"""Training targets derived from heights, as graph operations on batches."""

import tensorflow as tf

SOBEL_DERIVATIVE = (-1.0, -2.0, 0.0, 2.0, 1.0)
SOBEL_SMOOTHING = (1.0, 4.0, 6.0, 4.0, 1.0)


def _slope(heights, axis, gsd):
    """Central differences along `axis`, one-sided at the border, metres per metre."""
    size = tf.shape(heights)[axis]
    after = tf.gather(heights, tf.minimum(tf.range(size) + 1, size - 1), axis=axis)
    before = tf.gather(heights, tf.maximum(tf.range(size) - 1, 0), axis=axis)
    steps = tf.fill([size], 2.0 * gsd)
    border = tf.one_hot([0, size - 1], size) * gsd
    steps = steps - border[0] - border[1]
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    return (after - before) / tf.reshape(steps, shape)


def _unit_vectors(slope_x, slope_y):
    normals = tf.concat([-slope_x, -slope_y, tf.ones_like(slope_x)], axis=-1)
    return normals / tf.norm(normals, axis=-1, keepdims=True)


def unit_normals(heights, gsd):
    """Computes the unit surface normals of height maps.

    n = (-dz/dx, -dz/dy, 1) / |.|, with dz/dx and dz/dy in metres per metre, x to the east
    (columns) and y to the south (rows).

    Args:
        heights: float32 (batch, rows, columns, 1), metres; NaN = nodata.
        gsd: float, metres per pixel.

    Returns:
        float32 (batch, rows, columns, 3), components in [-1, 1]; NaN where a height that takes
        part is NaN.
    """
    return _unit_vectors(_slope(heights, 2, gsd), _slope(heights, 1, gsd))


def published_normals(heights):
    """Codes normals as the published code does: 5x5 Sobel sums as slopes, then (n + 1) / 2.

    The sums have gain 128 and ignore the pixel size (Elhousni et al., IEEE Access 2021, as
    implemented by its authors); kept to repeat their results, see `unit_normals`.

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


def normal_targets(heights, gsd, coding):
    """Returns the normals of `heights` in the `coding` "unit" or "published"."""
    return published_normals(heights) if coding == "published" else unit_normals(heights, gsd)
