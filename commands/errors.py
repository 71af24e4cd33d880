"""Errors that a user can mend, as one line instead of a traceback."""

import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows

# isort: split
import contextlib
import sys
from collections.abc import Iterator

import tensorflow as tf

from devices.workers import LOST_WORKER, in_cluster
from project.errors import Interrupted, UserError, first_line


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Ends the script with one line where the user can act on an error.

    Exit status: 1 after an error, 130 after Ctrl-C or SIGTERM.
    """
    try:
        yield
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    except tf.errors.OpError as error:
        if not (in_cluster() and isinstance(error, LOST_WORKER)):
            raise
        sys.exit(
            f"error: another worker is gone ({type(error).__name__}: {first_line(error)}). Its own "
            "output says why. The same command, with resume=auto, goes on from the last state."
        )
    except Interrupted as stopped:
        print(f"\n{stopped} The same command, with resume=auto, goes on from there.")
        sys.exit(130)
    except KeyboardInterrupt:
        print("\nInterrupted.")
        sys.exit(130)
