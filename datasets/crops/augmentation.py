"""Random changes of training crops, as graph operations.

Each is a pure function of a choice or a key, which `datasets.crops.pipeline.place_crop` derives
from the number of the crop.
"""

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Augmentation:
    """How training crops are changed; the default changes nothing.

    Attributes:
        flips: left to right and top to bottom.
        turns: by quarters.
        brightness: largest change as a fraction of the whole range; 0 = off, as for those below.
        contrast: largest change of the contrast, as a fraction.
        colour: largest change of the gain of each band, as a fraction.
        scale: largest change of the pixel size, as a fraction.
    """

    flips: bool = False
    turns: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    colour: float = 0.0
    scale: float = 0.0

    @property
    def choices(self) -> tuple[int, ...]:
        """The values of `turn` that `turn_sample` may get."""
        return {
            (False, False): (0,),
            (True, False): (0, 2, 4, 6),
            (False, True): (0, 1, 2, 3),
            (True, True): tuple(range(8)),
        }[self.flips, self.turns]

    @property
    def changes_colours(self) -> bool:
        """Whether `change_colours` has an effect."""
        return bool(self.brightness or self.contrast or self.colour)


def turn_sample(sample: dict[str, tf.Tensor], turn: tf.Tensor) -> dict[str, tf.Tensor]:
    """Turns and flips all rasters of a sample alike.

    Args:
        sample: rasters (rows, columns, channels), rows = columns.
        turn: int32 scalar, 0 to 7: turn % 4 quarter turns anticlockwise, then, if turn >= 4, a
            flip left to right.
    """
    quarters = turn % 4
    # A quarter turn is a transposition and a flip, so two operations serve for all eight cases.
    order = tf.where(quarters % 2 == 1, [1, 0, 2], [0, 1, 2])
    upside_down = tf.logical_or(quarters == 1, quarters == 2)
    mirrored = tf.math.logical_xor(quarters >= 2, turn >= 4)
    flips = tf.stack([upside_down, mirrored, False])
    return {
        name: tf.raw_ops.Reverse(tensor=tf.transpose(raster, order), dims=flips)
        for name, raster in sample.items()
    }


def change_colours(image: tf.Tensor, key: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    """Changes brightness, contrast and the gain of each band by random amounts.

    Contrast is changed about the mean of each band. Black pixels, which mean nodata in a photo,
    stay black.

    Args:
        image: (rows, columns, channels) of 0-255, uint8 or float32; a fourth channel, radar, is
            not changed.
        key: int64 (2,), the seed of the amounts.
        augmentation: the largest amounts.

    Returns:
        The changed image, clipped to 0-255, in the same type.
    """
    amounts = [augmentation.brightness, augmentation.contrast, *[augmentation.colour] * 3]
    shift, contrast, *gains = tf.unstack(
        tf.random.stateless_uniform([5], key, -1.0, 1.0) * tf.constant(amounts)
    )
    photo, rest = image[..., :3], image[..., 3:]
    is_black = tf.reduce_all(photo == 0, axis=-1, keepdims=True)
    changed = tf.cast(photo, tf.float32)
    seen = tf.reduce_sum(tf.cast(~is_black, tf.float32))
    mean = tf.math.divide_no_nan(tf.reduce_sum(changed, axis=[0, 1]), seen)
    changed = mean + (changed - mean) * (1.0 + contrast)
    changed = (changed + 255.0 * shift) * (1.0 + tf.stack(gains))
    changed = tf.clip_by_value(changed, 0.0, 255.0)
    changed = tf.cast(tf.round(changed) if image.dtype == tf.uint8 else changed, image.dtype)
    return tf.concat([tf.where(is_black, photo, changed), rest], axis=-1)


def resize_sample(sample: dict[str, tf.Tensor], size: int) -> dict[str, tf.Tensor]:
    """Resizes a sample to `size` x `size` pixels; heights keep their values, in metres.

    Photo and heights are interpolated between the four nearest pixels, so a plane stays a plane.
    A photo that shrinks is averaged over all its pixels. Classes are those of the nearest pixel.
    Where an enlarged crop would need heights from beyond its border, they become nodata.

    Args:
        sample: `image`, `heights` and `classes`, each (rows, columns, channels).
        size: rows and columns of the result.
    """
    image = tf.image.resize(sample["image"], (size, size), antialias=True)
    if sample["image"].dtype == tf.uint8:
        image = tf.saturate_cast(tf.round(image), tf.uint8)
    inner = tf.pad(tf.ones((size - 2, size - 2, 1), tf.bool), [[1, 1], [1, 1], [0, 0]])
    known = inner | (tf.shape(sample["heights"])[0] >= size)
    heights = tf.image.resize(sample["heights"], (size, size))
    return {
        "image": image,
        "heights": tf.where(known, heights, float("nan")),
        "classes": tf.image.resize(sample["classes"], (size, size), method="nearest"),
    }
