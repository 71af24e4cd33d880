"""Ctrl-C ends a script in one line: import this first, so that it holds while others are imported.

Libraries take seconds to import. A traceback out of their middle tells a user nothing, and some of
them catch what Ctrl-C raises and go on.
"""

import contextlib
import os
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import NoReturn

ECHO_SECONDS = 2.0  # a signal may come twice: to the process and to the group it belongs to
JOB_STARTED = "DSMNET_JOB_STARTED"  # set by run_train_test.sh: seconds since 1970


def start_of_job() -> float:
    """Returns when this process started, or the job that it is a part of, by `time.monotonic`."""
    started = os.environ.get(JOB_STARTED, "")
    ago = max(0.0, time.time() - int(started)) if started.isdecimal() else 0.0
    return time.monotonic() - ago


def end() -> NoReturn:
    """Prints a line and ends the process at once, with status 130, which a hook cannot set."""
    with contextlib.suppress(RuntimeError):  # a signal may come while something is printed
        print("\nInterrupted.", flush=True)
    os._exit(130)


def on_signal(number: int, frame: FrameType | None) -> None:
    """Ends a script that is importing what it needs to start, else raises KeyboardInterrupt.

    What other modules import, they may import in the middle of their work, which has to clean up.
    """
    global _last
    if time.monotonic() - _last < ECHO_SECONDS:
        return  # what the first one raised is cleaning up
    _last = time.monotonic()
    inner, importer = frame, None
    while inner:
        if inner.f_code.co_filename == "<frozen importlib._bootstrap>":
            importer = inner.f_back
        inner = inner.f_back
    if importer and importer.f_globals.get("__name__") == "__main__":
        end()
    signal.default_int_handler(number, frame)


def on_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Takes the place of `sys.excepthook`: what Ctrl-C raises is no traceback."""
    if issubclass(kind, KeyboardInterrupt):
        end()
    sys.__excepthook__(kind, error, trace)


STARTED = start_of_job()  # this file is imported before everything that takes time
_last = -ECHO_SECONDS  # when Ctrl-C was pressed last
sys.excepthook = on_error
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not with nohup, for instance
    signal.signal(signal.SIGINT, on_signal)
