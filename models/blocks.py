"""Building blocks shared by the networks."""

from keras import layers


def scaled_filters(filters, width):
    """Returns the filter count of a layer at relative `width`; at least 4."""
    return max(4, round(filters * width))


def convolutions(x, filters, name, count=2):
    """Applies `count` 3x3 convolutions with ReLU.

    Args:
        x: Keras tensor of shape (batch, rows, columns, channels).
        filters: int, output channels of each.
        name: str, prefix of the layer names.
        count: int, how many.

    Returns:
        Keras tensor of shape (batch, rows, columns, filters).
    """
    for i in range(1, count + 1):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"{name}_conv{i}")(x)
    return x


def upsample(x, filters, name, kernel_size=3, activation="relu"):
    """Doubles rows and columns with a stride-2 transposed convolution.

    Args:
        x: Keras tensor of shape (batch, rows, columns, channels).
        filters: int, output channels.
        name: str, name of the layer.
        kernel_size: int, pixels.
        activation: str or None.

    Returns:
        Keras tensor of shape (batch, 2*rows, 2*columns, filters).
    """
    return layers.Conv2DTranspose(
        filters, kernel_size, strides=2, padding="same", activation=activation, name=name
    )(x)
