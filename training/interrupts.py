"""Ending a run between two steps, when the user or the cluster asks for it."""

import contextlib
import signal


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""


@contextlib.contextmanager
def stop_requests():
    """Turns the first Ctrl-C or SIGTERM into a request that the loop obeys after its step.

    In the middle of a step the weights are one step ahead of the step number, so the state can
    be saved between steps only. A second signal acts at once.

    Yields:
        list of the signals received; empty as long as nobody asked.
    """
    received, before = [], {}

    def note(number, frame):
        received.append(number)
        restore()

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            continue  # a job in the background is not meant by Ctrl-C
        before[number] = signal.signal(number, note)
    try:
        yield received
    finally:
        restore()
