"""Parts of a network whose features can be computed twice instead of being kept in memory."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from models.call_state import call_state, calling


def recomputation(enabled: bool = True) -> AbstractContextManager[None]:
    """Makes segments keep only their inputs and outputs in training, within a `with` block.

    The features in between are computed a second time for the gradient (Chen et al., "Training deep
    nets with sublinear memory cost", arXiv:1604.06174). The second pass must repeat the first
    exactly: dropout masks depend only on the sample, and batch normalisation leaves its moving
    statistics alone, because the first pass has updated them with the same batch.
    """
    return calling(recompute=enabled)


@keras.saving.register_keras_serializable("dsmnet")
class Segment(keras.Model):
    """A functional model that is one part of a network: list of tensors -> list of tensors."""

    def call(self, inputs: list, training: bool | None = None, mask: list | None = None) -> list:
        run = super().call
        if not (training and call_state.recompute):
            return run(inputs, training=training, mask=mask)
        return _computed_twice(lambda *tensors: run(list(tensors), training=True))(*inputs)


@tf.custom_gradient
def _together(*tensors):
    """Passes tensors on; none of their gradients goes back before all of them are there."""

    def gradient(*upstream):
        with tf.control_dependencies(upstream):
            return [tf.identity(value) for value in upstream]

    return [tf.identity(tensor) for tensor in tensors], gradient


def _computed_twice(function):
    """Returns `function` (tensors -> list of tensors) with `tf.recompute_grad` around it.

    TensorFlow starts the second pass as soon as the gradient of the first output is there. The
    gradients of the other outputs can come much later, and the recomputed features would occupy
    memory until then. `_together` makes the second pass wait for all of them.
    """
    sample, calls = call_state.first_sample, []

    def run(*tensors):
        calls.append(len(tensors))
        repeated = len(calls) > 1
        # TensorFlow traces the second pass in the gradient, after the caller's block has ended.
        with calling(recompute=False, repeated=repeated, first_sample=sample, always_drop=False):
            return function(*tensors)

    def twice(*tensors):
        outputs = tf.nest.flatten(tf.recompute_grad(run)(*tensors))
        return tf.nest.flatten(_together(*outputs))  # of a list of one both return the tensor

    return twice


def segment(name: str, function: Callable, *inputs: object) -> Any:
    """Applies `function` as a `Segment`.

    Args:
        name: of the segment.
        function: (structures of Keras tensors) -> structure of Keras tensors.
        inputs: structures (lists, tuples) of Keras tensors.

    Returns:
        What `function` returns.
    """
    tensors = keras.tree.flatten(inputs)
    placeholders = [keras.Input(tensor.shape[1:], dtype=tensor.dtype) for tensor in tensors]
    outputs = function(*keras.tree.pack_sequence_as(inputs, placeholders))
    part = Segment(placeholders, keras.tree.flatten(outputs), name=name)
    return keras.tree.pack_sequence_as(outputs, part(tensors))


def in_segments(encoder: keras.Model) -> keras.Model:
    """Returns an encoder whose stages are `Segment`s, made of the layers of `encoder`.

    Args:
        encoder: has one input; each of its outputs, listed from the last to the first, depends on
            the input only through the output listed after it.
    """
    image = keras.Input(encoder.input.shape[1:], name="image")
    before, x, stages = encoder.input, image, []
    for number, output in enumerate(reversed(encoder.outputs), start=1):
        (x,) = Segment([before], [output], name=f"stage{number}")([x])
        stages.append(x)
        before = output
    return keras.Model(image, stages[::-1], name=encoder.name)


def segments_of(model: keras.Model) -> list[Segment]:
    """Returns the segments of a model, in the order of its graph."""
    return [layer for layer in model.layers if isinstance(layer, Segment)]
