"""What the code around a network's call tells its layers, beside their inputs."""

import contextlib
import threading
from collections.abc import Iterator

import tensorflow as tf


class CallState(threading.local):
    """The state of the call that is being traced.

    It belongs to one thread, since MirroredStrategy traces each replica in a thread of its own.

    Attributes:
        first_sample: integer scalar tensor, the number of the batch's first sample in the training
            stream; None = unknown.
        always_drop: whether dropout is active outside training, too.
        recompute: whether segments discard their inner features and compute them again for the
            gradient.
        repeated: whether features are being computed for the second time.
    """

    first_sample: tf.Tensor | None = None
    always_drop = False
    recompute = False
    repeated = False


call_state = CallState()


@contextlib.contextmanager
def calling(**values: tf.Tensor | bool | None) -> Iterator[None]:
    """Gives attributes of `call_state` these values within a `with` block."""
    before = {name: getattr(call_state, name) for name in values}
    vars(call_state).update(values)
    try:
        yield
    finally:
        vars(call_state).update(before)
