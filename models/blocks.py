"""Building blocks shared by the networks."""

from dataclasses import dataclass

from keras import layers

from models.dropout import SampleDropout
from models.normalisation import BatchNormOptions


@dataclass(frozen=True)
class DecoderStyle:
    """What all blocks of the decoders and of the DAE have in common.

    Attributes:
        width: factor on the published filter counts.
        dropout: share of features dropped after each stage; 0 = off.
        norm: "none", or "batch" = batch normalisation between convolution and ReLU.
        batch_norm: `BatchNormOptions` of it.
        seed: int, of the dropout.
    """

    width: float = 1.0
    dropout: float = 0.5
    norm: str = "none"
    batch_norm: BatchNormOptions = BatchNormOptions()
    seed: int = 0

    def filters(self, published):
        """Returns the filter count of a layer that has `published` at width 1; at least 4."""
        return max(4, round(published * self.width))

    def activate(self, x, name):
        """Normalises, where that is on, and applies ReLU."""
        if self.norm == "batch":
            x = self.batch_norm.layer(f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    def drop(self, x, name):
        """Applies dropout; the layer is there without it too, since weight files count layers."""
        return SampleDropout(self.dropout, self.seed, name=f"{name}_dropout")(x)

    def convolve(self, x, published, name, kernel_size=3):
        """Applies a convolution with ReLU.

        Args:
            x: Keras tensor of shape (batch, rows, columns, channels).
            published: int, filters at width 1.
            name: str, name of the layer.
            kernel_size: int, pixels.

        Returns:
            Keras tensor of shape (batch, rows, columns, filters).
        """
        x = layers.Conv2D(
            self.filters(published),
            kernel_size,
            padding="same",
            use_bias=self.norm == "none",
            name=name,
        )(x)
        return self.activate(x, name)

    def upsample(self, x, published, name):
        """Doubles rows and columns with a stride-2 3x3 transposed convolution with ReLU."""
        x = layers.Conv2DTranspose(
            self.filters(published),
            3,
            strides=2,
            padding="same",
            use_bias=self.norm == "none",
            name=name,
        )(x)
        return self.activate(x, name)
