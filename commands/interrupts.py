"""Ctrl-C ends a script in one line: import this first, so that it holds while others are imported.

Libraries take seconds to import, and a traceback out of their middle tells a user nothing.
"""

import os
import sys
from types import TracebackType


def end_in_one_line(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Takes the place of `sys.excepthook`: Ctrl-C prints a line and gives status 130."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    print("\nInterrupted.")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)  # a hook cannot set the exit status, and Python would end by the signal


sys.excepthook = end_in_one_line
