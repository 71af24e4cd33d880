"""Errors that a user can correct, as one line instead of a traceback."""

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
    """Ends the script with one line for an error that the user can act on.

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
            f"error: lost the connection to another worker ({type(error).__name__}: "
            f"{first_line(error)}). See its output for the reason. Run the same command again with "
            "resume=auto to continue from the last saved state."
        )
    except Interrupted as stopped:
        print(f"\n{stopped} Run the same command again with resume=auto to continue from there.")
        sys.exit(130)
    except KeyboardInterrupt:
        print("\nInterrupted.")
        sys.exit(130)
