"""Errors that a user can mend, as one line instead of a traceback."""

import contextlib
import re
import sys

import tensorflow as tf

import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows
from datasets.crops.tile_cache import CacheError
from datasets.rasters.reading import RasterError
from datasets.tiles.folders import DataError
from datasets.tiles.labels import LabelError
from devices.strategy import DeviceError
from devices.workers import LOST_WORKER, WorkersError, in_cluster
from models.backbones import WeightsError, first_line
from runs.stored import ResumeError
from settings.loading import SettingsError
from training.audit import AuditError
from training.loop import Interrupted, TrainingError

# What a user can mend; anything else is a fault of the program and keeps its traceback.
USER_ERRORS = (
    AuditError,
    CacheError,
    DataError,
    RasterError,
    LabelError,
    SettingsError,
    DeviceError,
    ResumeError,
    TrainingError,
    WeightsError,
    WorkersError,
)


@contextlib.contextmanager
def clear_errors():
    """Ends the script with one line instead of a traceback where the user can act on it."""
    try:
        yield
    except tf.errors.OpError as error:
        # A tile that could not be read in the input pipeline: its error comes as text.
        names = "|".join(kind.__name__ for kind in USER_ERRORS)
        found = re.search(rf"\b(?:{names}): (.*)$", error.message, re.MULTILINE)
        if not found and in_cluster() and isinstance(error, LOST_WORKER):
            reason = first_line(error)
            sys.exit(
                f"error: another worker is gone ({type(error).__name__}: {reason}). Its own output "
                "says why. The same command, with resume=auto, goes on from the last state."
            )
        if not found:
            raise
        sys.exit(f"error: {found[1]}")
    except Interrupted as stopped:
        print(f"\n{stopped} The same command, with resume=auto, goes on from there.")
        sys.exit(130)
    except (*USER_ERRORS, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\nInterrupted.")
        sys.exit(130)
