"""Parts of a network whose features can be computed twice instead of being kept."""

import contextlib
import threading

import keras
import tensorflow as tf

from models.dropout import current_sample, samples_from

_state = threading.local()  # each replica of a MirroredStrategy is traced in a thread of its own


@contextlib.contextmanager
def recomputation(enabled=True):
    """Makes the segments called within, in training, keep their inputs and outputs alone.

    What lies between is computed again for the gradient (Chen et al., "Training deep nets with
    sublinear memory cost", arXiv:1604.06174).
    """
    with _set("enabled", enabled):
        yield


def is_repeated():
    """Says whether features are computed a second time, so that nothing may be counted twice."""
    return getattr(_state, "repeated", False)


@contextlib.contextmanager
def _set(name, value):
    before = getattr(_state, name, False)
    setattr(_state, name, value)
    try:
        yield
    finally:
        setattr(_state, name, before)


@keras.saving.register_keras_serializable("dsmnet")
class Segment(keras.Model):
    """A functional model that is one part of a network: list of tensors -> list of tensors."""

    def call(self, inputs, training=None, mask=None):
        run = super().call
        if not (training and getattr(_state, "enabled", False)):
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

    TensorFlow computes again as soon as the gradient of the first output is there, which can be
    long before the others; the features would be there for nothing in the meantime.
    """
    sample, calls = current_sample(), []

    def run(*tensors):
        calls.append(len(tensors))
        with _set("enabled", False), _set("repeated", len(calls) > 1), samples_from(sample):
            return function(*tensors)

    def twice(*tensors):
        outputs = tf.nest.flatten(tf.recompute_grad(run)(*tensors))
        return tf.nest.flatten(_together(*outputs))  # of a list of one both return the tensor

    return twice


def segment(name, function, *inputs):
    """Applies `function` as a `Segment`.

    Args:
        name: str.
        function: function (structures of Keras tensors) -> structure of Keras tensors.
        inputs: structures (lists, tuples) of Keras tensors.

    Returns:
        What `function` returns.
    """
    tensors = keras.tree.flatten(inputs)
    placeholders = [keras.Input(tensor.shape[1:], dtype=tensor.dtype) for tensor in tensors]
    outputs = function(*keras.tree.pack_sequence_as(inputs, placeholders))
    part = Segment(placeholders, keras.tree.flatten(outputs), name=name)
    return keras.tree.pack_sequence_as(outputs, part(tensors))


def in_segments(encoder):
    """Returns an encoder whose stages are `Segment`s, made of the layers of `encoder`.

    Args:
        encoder: Keras model with one input; each of its outputs, listed from the last to the
            first, depends on the input through the output after it alone.
    """
    image = keras.Input(encoder.input.shape[1:], name="image")
    before, x, stages = encoder.input, image, []
    for number, output in enumerate(reversed(encoder.outputs), start=1):
        (x,) = Segment([before], [output], name=f"stage{number}")([x])
        stages.append(x)
        before = output
    return keras.Model(image, stages[::-1], name=encoder.name)


def segments_of(model):
    """Returns the segments of a model, in the order of its graph."""
    return [layer for layer in model.layers if isinstance(layer, Segment)]
