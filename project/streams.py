"""What a script prints into a file on a full disk is lost, but ends nothing."""

import errno
import io
import os
import stat
import sys
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Leaky(io.FileIO):
    """A file that takes what its disk does not take, and forgets it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in FULL:
                raise
            return memoryview(data).nbytes


def print_on_full_disks() -> None:
    """Lets `print` go on where standard output or error are files and their disk is full."""
    if sys.stdout is sys.__stdout__:
        sys.stdout = _leaky(sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _leaky(sys.stderr)


def _leaky(stream: Any) -> Any:
    """Returns a stream that forgets what it cannot write; the same one for a terminal or pipe."""
    try:
        number = stream.fileno()
        if not stat.S_ISREG(os.fstat(number).st_mode):
            return stream
    except (OSError, ValueError, AttributeError):  # closed, or none at all
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Leaky(number, "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )
