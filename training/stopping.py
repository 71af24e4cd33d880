"""When a run stops before its end: at a signal, or when its time is up."""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Iterator

from project import interrupts

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_current: "StopRequest | None" = None
ENDING_SECONDS = 10.0  # from the saved state to the end of the process: curves, TensorBoard


class StopRequest:
    """True as soon as a signal has asked the run to stop, or its time is up.

    Ask often: between two questions the run cannot stop. So the time counts as up while twice the
    longest interval of before would still fit in, which makes room for a step and for a save.

    Attributes:
        signal: the first one; None = there was none.
    """

    def __init__(self, max_minutes: float = 0.0):
        """Starts without a request.

        Args:
            max_minutes: since the start of the job; 0 = no limit.
        """
        self.max_minutes = max_minutes
        self.signal: signal.Signals | None = None
        self._heard = self._asked = math.nan  # when, on the clock of `time.monotonic`
        self._longest = 0.0

    def __bool__(self) -> bool:
        now = time.monotonic()
        if now - self._asked > self._longest:  # not at the first question, after the compilation
            self._longest = now - self._asked
        self._asked = now
        return self.signal is not None or self._time_is_up(now)

    def _time_is_up(self, now: float) -> bool:
        reserve = 2 * self._longest + ENDING_SECONDS
        limit = 60 * self.max_minutes or math.inf
        return now + reserve >= interrupts.STARTED + limit

    def reason(self) -> str:
        """Returns why the run stops, and how long it ran, for a message."""
        now = time.monotonic()
        asked = "at the request of another worker"
        if self.signal is not None:
            asked = f"on {self.signal.name}"
        elif self._time_is_up(now):
            asked = f"in time for max_minutes={self.max_minutes:g}"
        return f"{asked}, {(now - interrupts.STARTED) / 60:.1f} minutes after the start"

    def note(self, number: int, frame: object = None) -> None:
        """Takes a signal as a request; a handler of signals."""
        self.signal = self.signal or signal.Signals(number)

    def hear(self, number: int) -> None:
        """Takes a signal: the first is a request, a second one ends the process at once.

        Terminals, `timeout` and the scripts that wait for a training send one signal in two ways:
        what follows within two seconds is no second one.
        """
        now, name = time.monotonic(), signal.Signals(number).name
        if math.isnan(self._heard):
            self._heard = now
            self.note(number)
            _say(f"{name}: saving the state and stopping. Once more stops at once.")
        elif now - self._heard > interrupts.ECHO_SECONDS:
            _say(f"{name}: stopped at once. The last saved state is kept.")
            os._exit(128 + number)


@contextlib.contextmanager
def stop_requests(max_minutes: float = 0.0) -> Iterator[StopRequest]:
    """Turns the first signal, or the end of the time, into a request that a loop obeys.

    In the middle of a step the weights are one step ahead of the step number, so the state can
    be saved between steps only. Signals that are ignored, as Ctrl-C is in the background, stay so.

    Within another such block it yields the request of that one, so that a second signal is one as
    long as what follows a loop is still to be written.

    Args:
        max_minutes: since the start of the job; 0 = no limit.
    """
    global _current
    if _current is not None:
        yield _current
        return
    stop = _current = StopRequest(max_minutes)
    taken = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    # Python runs handlers between its own instructions, not within a compiled step. Through a pipe,
    # a thread hears of a signal at once: a second one must also end a run that hangs.
    listening, told = os.pipe()
    os.set_blocking(told, False)
    told_before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    before = {number: signal.signal(number, stop.note) for number in taken}
    listener = threading.Thread(target=_listen, args=(listening, stop, taken), daemon=True)
    listener.start()
    try:
        yield stop
    finally:
        _current = None
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: it is not Python's
        signal.set_wakeup_fd(told_before)
        os.close(told)
        listener.join()
        os.close(listening)


def _listen(pipe: int, stop: StopRequest, taken: list[signal.Signals]) -> None:
    while number := int.from_bytes(os.read(pipe, 1)):
        if number in taken:
            stop.hear(number)


def _say(line: str) -> None:
    # Unlike print, this also works while the process is in the middle of printing.
    with contextlib.suppress(OSError):
        os.write(2, f"\n{line}\n".encode())
