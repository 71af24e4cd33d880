"""Errors that a user can correct, as one line instead of a traceback."""

import contextlib
import sys
from collections.abc import Iterator

from commands.memory import is_out_of_memory, memory_message
from project.errors import Interrupted, UserError, first_line
from project.streams import print_on_full_disks
from settings.loading import Settings

SAVED = 75  # EX_TEMPFAIL of sysexits.h: what was asked for is unfinished, try again


@contextlib.contextmanager
def clear_errors(settings: Settings | None = None, job: str = "") -> Iterator[None]:
    """Ends the script with one line for an error that the user can act on.

    It loads no TensorFlow, so that it also covers what is checked before.

    Args:
        settings, job: of `commands.memory.memory_message`.

    Exit status: 1 after an error, 75 if a training has saved its state and stopped, 130 after
    Ctrl-C where there was nothing to save.
    """
    print_on_full_disks()
    try:
        yield
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    except Interrupted as stopped:
        print(f"\n{stopped} Run the same command again with resume=auto to continue from there.")
        sys.exit(SAVED)
    except KeyboardInterrupt:
        print("\nInterrupted.")
        sys.exit(130)
    except Exception as error:
        if is_out_of_memory(error):
            sys.exit(f"error: {memory_message(error, settings, job)}")
        if not _lost_worker(error):
            raise
        sys.exit(
            f"error: lost the connection to another worker ({type(error).__name__}: "
            f"{first_line(error)}). See its output for the reason. Run the same command again with "
            "resume=auto to continue from the last saved state."
        )


def _lost_worker(error: Exception) -> bool:
    """Returns whether an error of TensorFlow means that another process of a cluster is gone."""
    if "tensorflow" not in sys.modules:
        return False
    from devices.workers import LOST_WORKER, in_cluster

    return in_cluster() and isinstance(error, LOST_WORKER)
