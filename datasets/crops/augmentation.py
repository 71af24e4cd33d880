"""Random changes of training crops, as graph operations; each a pure function of its choices."""

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Augmentation:
    """How training crops are changed; the default changes nothing.

    Attributes:
        flips: bool, left to right and top to bottom.
        turns: bool, quarter turns.
        brightness: largest change, as a share of the whole range; 0 = off, as in all that follow.
        contrast: largest change of the contrast, as a share.
        colour: largest change of each band's gain, as a share.
        scale: largest change of the pixel size, as a share.
    """

    flips: bool = False
    turns: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    colour: float = 0.0
    scale: float = 0.0

    @property
    def choices(self):
        """The values of `turn_sample`'s argument that may occur."""
        if self.flips and self.turns:
            return tuple(range(8))
        if self.flips:
            return (0, 2, 4, 6)
        return (0, 1, 2, 3) if self.turns else (0,)

    @property
    def changes_colours(self):
        """Whether `change_colours` does anything."""
        return bool(self.brightness or self.contrast or self.colour)


def turn_sample(sample, turn):
    """Turns and flips every raster of a sample alike.

    Args:
        sample: dict of tensors (rows, columns, channels), rows = columns.
        turn: int32 scalar tensor 0 to 7; turn % 4 quarter turns anticlockwise, then, if
            turn >= 4, flipped left to right.
    """
    quarters = turn % 4
    # A quarter turn is a transposition and a flip: two operations for all eight.
    order = tf.where(quarters % 2 == 1, [1, 0, 2], [0, 1, 2])
    upside_down = tf.logical_or(quarters == 1, quarters == 2)
    mirrored = tf.math.logical_xor(quarters >= 2, turn >= 4)
    flips = tf.stack([upside_down, mirrored, False])
    return {
        name: tf.raw_ops.Reverse(tensor=tf.transpose(raster, order), dims=flips)
        for name, raster in sample.items()
    }


def change_colours(image, key, augmentation):
    """Changes brightness, contrast and the gain of each band by random amounts.

    Contrast is about the mean of each band. Black pixels stay black: there a photo has no data.

    Args:
        image: (rows, columns, channels) of 0-255, uint8 or float32; a fourth channel, radar, stays.
        key: int64 (2,), the seed of the choices.
        augmentation: `Augmentation`.

    Returns:
        The changed image, clipped to 0-255, of the same type.
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


def resize_sample(sample, size):
    """Brings a sample to `size` pixels; heights stay what they are, in metres.

    Photo and heights are interpolated between the four nearest pixels, so that a plane stays a
    plane; smaller photos are made from all their pixels. Classes are those of the nearest pixel.
    A crop of fewer pixels has no heights at its border, which would be those of a step inwards.

    Args:
        sample: dict of tensors (rows, columns, channels): `image`, `heights`, `classes`.
        size: int, rows and columns of the result.
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
