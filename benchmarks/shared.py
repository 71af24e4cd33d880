"""What the benchmarks share: measurements in processes of their own, tables and result files."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from commands.options import command_line
from project.files import write_json
from runs.folders import output_folder
from settings.loading import COMMAND_LINE, Settings
from settings.table import show


class MeasurementError(RuntimeError):
    """A measurement in a process of its own failed."""


def in_a_process(module: str, arguments: Mapping[str, object]) -> dict:
    """Runs a module whose last line of output is JSON, in a process of its own.

    A new process is needed for other devices or another number of replicas, which TensorFlow fixes
    at its start, and for a peak of memory that earlier measurements do not hide.

    Args:
        module: to run, such as "benchmarks.step_times".
        arguments: its settings and options, by name.

    Raises:
        MeasurementError: with the last line of output of the process.
    """
    command = [sys.executable, "-m", module, *command_line(arguments)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        last = (ended.stdout + ended.stderr).strip().splitlines()[-1:]
        raise MeasurementError("".join(last) or f"ended with status {ended.returncode}")
    return json.loads(ended.stdout.splitlines()[-1])


def given_settings(settings: Settings) -> dict[str, str]:
    """Returns the settings on the command line, as texts by name."""
    given = [name for name, source in settings.sources.items() if source == COMMAND_LINE]
    return {name: show(settings.values[name]) for name in given}


def seconds(function: Callable[[], object]) -> float:
    """Returns how long a call takes, including what it starts on the devices."""
    import tensorflow as tf

    start = time.perf_counter()
    function()
    tf.test.experimental.sync_devices()
    return time.perf_counter() - start


def process_memory() -> float:
    """Returns the largest resident memory of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[object]], texts: int = 1) -> str:
    """Lays out cells as a Markdown table.

    Args:
        titles: of the columns.
        rows: one cell per column.
        texts: number of columns, from the left, that are aligned to the left.
    """
    rule = ["---"] * texts + ["---:"] * (len(titles) - texts)
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (titles, rule, *rows))


def write_result(settings: Settings, name: str, result: dict) -> None:
    """Writes a result and its settings to a JSON file of the output folder, and prints its path."""
    path = output_folder(settings, name)
    write_json(path, result | {"settings": settings.values})
    print(f"Written to {path}")
