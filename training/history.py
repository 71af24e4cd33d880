"""What a run writes about itself while it trains: CSV files and TensorBoard."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import tensorflow as tf

from project.errors import UserError
from project.files import whole_file

HISTORY_COLUMNS = (
    "step",
    "epoch",
    "loss",
    "height_loss",
    "semantic_loss",
    "normal_loss",
    "learning_rate",
    "seconds",
    "samples_per_second",
    "gradient_norm",
    "loss_scale",
    "seconds_median",
    "seconds_p95",
    "input_wait",
    "gpu_utilisation",
    "gpu_memory",
    "deep_height_loss",
    "gradient_norm_median",
    "left_out",
)
FIGURES = ("seconds_median", "seconds_p95", "input_wait", "gpu_utilisation", "gpu_memory")
FIGURES_EVERY = 10  # steps


class CsvFile:
    """A CSV file that grows by one row at a time and survives a kill.

    A resumed run cuts off the rows after its checkpoint, so that every step stands there once.
    """

    def __init__(self, path: Path, columns: Sequence[str], resume_step: int = 0):
        """Opens the file and keeps its rows up to and including step `resume_step`.

        Raises:
            UserError: if the rows of an earlier run cannot be read.
        """
        try:
            rows = [row for row in _read(path) if int(row["step"]) <= resume_step]
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise UserError(
                f"{path} is damaged ({type(error).__name__}: {error}). Remove it, and the run goes "
                "on with a new one."
            ) from None
        with whole_file(path) as part, part.open("w", newline="") as file:
            _write(file, columns, rows)
        self._columns = columns
        self._file = path.open("a", newline="")

    def append(self, row: dict) -> None:
        """Adds a row and flushes it; absent columns stay empty, lists are joined by ";"."""
        cells = {name: _cell(value) for name, value in row.items()}
        csv.DictWriter(self._file, self._columns, lineterminator="\n").writerow(cells)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _cell(value: object) -> object:
    if not isinstance(value, list):
        return value
    return ";".join("" if item is None else str(item) for item in value)


def _read(path: Path) -> list[dict]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        # A kill may leave half a line: it has no line end and its step will come again.
        lines = [line for line in file if line.endswith("\n")]
    return list(csv.DictReader(lines))


def _write(file: TextIO, columns: Sequence[str], rows: list[dict]) -> None:
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _each(row: dict) -> Iterator[tuple[str, float | None]]:
    """Yields (name, value) of a row, of a list `<name>/0`, `<name>/1`, ..."""
    for name, value in row.items():
        if isinstance(value, list):
            yield from ((f"{name}/{number}", item) for number, item in enumerate(value))
        else:
            yield name, value


class SilentLog:
    """Stands in for `RunLog` in the processes that do not write."""

    def step(self, row: dict) -> None:
        pass

    def validation(self, row: dict) -> None:
        pass

    def close(self) -> None:
        pass


class RunLog:
    """history.csv, validation.csv and TensorBoard of one stage."""

    def __init__(
        self,
        folder: Path,
        validation_columns: Sequence[str],
        resume_step: int = 0,
        pending: bool = False,
    ):
        """Opens the log.

        Args:
            folder: `<output_dir>/<dataset_name>/<stage>`; made if absent.
            validation_columns: names of the validation's values.
            resume_step: steps that are already done; later rows are dropped.
            pending: whether the validation after these steps has still to be done, and comes again.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._history = CsvFile(folder / "history.csv", HISTORY_COLUMNS, resume_step)
        columns = ("step", "epoch", *validation_columns)
        self._validation = CsvFile(folder / "validation.csv", columns, resume_step - pending)
        self._board = tf.summary.create_file_writer(str(folder / "tensorboard"))

    def step(self, row: dict) -> None:
        """Logs one optimizer step: values by name of `HISTORY_COLUMNS`, a list for one per GPU.

        TensorBoard gets the figures of speed every `FIGURES_EVERY` steps: a scalar takes 0.2 ms.
        """
        self._history.append(row)
        if int(row["step"]) % FIGURES_EVERY:
            row = {name: value for name, value in row.items() if name not in FIGURES}
        self._scalars("train", row)

    def validation(self, row: dict) -> None:
        """Logs one validation: `step`, `epoch` and its values."""
        self._validation.append(row)
        self._scalars("valid", row)

    def _scalars(self, group: str, row: dict) -> None:
        with self._board.as_default(step=int(row["step"])):
            for name, value in _each(row):
                if name != "step" and value is not None:
                    tf.summary.scalar(f"{group}/{name}", value)

    def close(self) -> None:
        self._history.close()
        self._validation.close()
        self._board.close()
