"""What a run writes about itself while it trains: CSV files and TensorBoard."""

import csv
import io
import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import tensorflow as tf
from tqdm import tqdm

from project.errors import first_line
from project.files import DiskError, damaged_name, try_to_grow, whole_file, write_bytes, writing

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
MOST_WAITING = 50_000  # rows of a log that its disk does not take; up to 200 MB of memory


class PatientLog:
    """A log whose disk may fail: rows that it does not take wait in memory for the next row.

    Training goes on meanwhile. It is said when this begins, when it ends, and at the end of a run
    if rows are missing then.
    """

    def __init__(self, path: Path):
        """Prepares a log.

        Args:
            path: file or folder, for messages.
        """
        self.path = path
        self._waiting: deque[tuple[int, Any]] = deque()
        self._lost: list[int] = []  # steps
        self._problem = ""

    def _write(self, row: Any) -> None:
        """Writes a row, whole or not at all; raises OSError or an error of TensorFlow."""
        raise NotImplementedError

    def _add(self, step: int, row: Any) -> None:
        """Takes the row of a step, as `_write` wants it, and writes what can be written."""
        if len(self._waiting) == MOST_WAITING:
            self._lost.append(self._waiting.popleft()[0])
        self._waiting.append((step, row))
        self._write_waiting()

    def _write_waiting(self) -> None:
        failed = bool(self._problem)
        try:
            with writing(self.path):
                while self._waiting:
                    self._write(self._waiting[0][1])
                    self._waiting.popleft()
        except (OSError, tf.errors.OpError) as error:
            self._problem = error.problem if isinstance(error, DiskError) else first_line(error)
            if not failed:
                tqdm.write(
                    f"warning: {self.path} cannot be written: {self._problem}. Training goes on; "
                    "what is missing there is written as soon as the disk takes it again."
                )
            return
        self._problem = ""
        if failed:
            tqdm.write(f"{self.path} is written again, with the rows that waited.")

    def close(self) -> None:
        """Tries a last time to write what waits, and says what is missing for good."""
        self._write_waiting()
        steps = [*self._lost, *(step for step, _ in self._waiting)]
        if steps:
            print(
                f"warning: {self.path} lacks {len(steps)} rows, of steps {steps[0]} to "
                f"{steps[-1]}: {self._problem or 'too many of them had to wait for its disk'}."
            )


class CsvFile(PatientLog):
    """A CSV file that grows by one row at a time and survives a kill.

    A resumed run cuts off the rows after its checkpoint, so that every step stands there once.

    Attributes:
        kept: how many rows of an earlier run are still there.
    """

    kept: int

    def __init__(
        self, path: Path, columns: Sequence[str], resume_step: int = 0, strict: bool = True
    ):
        """Opens the file and keeps its rows up to and including step `resume_step`.

        A damaged file is kept aside; its rows before the damage are used.

        Args:
            path: of the file; its folder exists.
            columns: names; "step" is one of them.
            resume_step: steps that are already done.
            strict: whether every cell is a number, or several joined by ";", and no step stands
                there twice.

        Raises:
            DiskError: if the file cannot be written.
        """
        super().__init__(path)
        rows, damage = _read(path, strict)
        if damage:
            self._keep_aside(damage, len(rows))
        rows = [row for row in rows if int(row["step"]) <= resume_step]
        with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            _write_table(file, columns, rows)
        self.kept = len(rows)
        self._columns = columns
        self._cut_to: int | None = None
        self._file = path.open("ab", buffering=0)

    def _keep_aside(self, damage: str, rows: int) -> None:
        aside = damaged_name(self.path)
        write_bytes(aside, self.path.read_bytes())
        print(f"warning: {self.path} is damaged after {rows} rows ({damage}). It is kept: {aside}")

    def append(self, row: dict) -> None:
        """Adds a row, at once if the disk takes it.

        Absent columns stay empty, lists are joined by ";".
        """
        text = io.StringIO(newline="")
        cells = {name: _cell(value) for name, value in row.items()}
        csv.DictWriter(text, self._columns, lineterminator="\n").writerow(cells)
        self._add(int(row["step"]), text.getvalue().encode())

    def _write(self, row: bytes) -> None:
        if self._cut_to is not None:  # half a row is there, and was to go
            self._file.truncate(self._cut_to)
        before, left = os.fstat(self._file.fileno()).st_size, row
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            self._cut_to = before
            self._file.truncate(before)
            raise
        self._cut_to = None

    def close(self) -> None:
        super().close()
        self._file.close()


def _cell(value: object) -> object:
    if not isinstance(value, list):
        return value
    return ";".join("" if item is None else str(item) for item in value)


def _read(path: Path, strict: bool) -> tuple[list[dict[str, str]], str]:
    """Reads the rows before the first damage of a CSV file.

    Returns:
        (rows, what is wrong with the one after them; "" if the file is whole or not there).
    """
    if not path.is_file():
        return [], ""
    # A kill may leave half a line: it has no line end and its step will come again.
    lines = path.read_bytes().split(b"\n")[:-1]
    rows: list[dict[str, str]] = []
    try:
        columns = _cells(lines[0]) if lines else ["step"]
        if "step" not in columns:
            raise ValueError("its first line has no column step")
        for line in lines[1:]:
            if line.strip():
                rows.append(_row(columns, _cells(line), rows[-1:], strict))
    except (ValueError, csv.Error) as error:
        return rows, first_line(error)
    return rows, ""


def _cells(line: bytes) -> list[str]:
    """Returns the cells of a line.

    Raises:
        ValueError, csv.Error: if it is no line of text.
    """
    text = line.decode("utf-8-sig").rstrip("\r")
    if any(character < " " for character in text):
        raise ValueError(f"{text[:20]!r} is no text")
    return next(csv.reader([text]), [])


def _row(
    columns: Sequence[str], cells: Sequence[str], before: Sequence[dict], strict: bool
) -> dict[str, str]:
    """Returns a row by name of its columns.

    Raises:
        ValueError: if no run has written it after the row `before`, which may be absent.
    """
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells, expected {len(columns)}")
    row = dict(zip(columns, cells, strict=True))
    least = int(before[0]["step"]) + strict if before else 1
    if int(row["step"]) < least:
        raise ValueError(f"step {row['step']}, expected {least} or more")
    for number in ";".join(cells).split(";") if strict else ():
        float(number or 0)
    return row


def _write_table(file: TextIO, columns: Sequence[str], rows: list[dict]) -> None:
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


class BoardLog(PatientLog):
    """Scalars for TensorBoard."""

    def __init__(self, path: Path):
        """Opens a file in the folder `path`.

        Raises:
            DiskError: if it cannot be written.
        """
        super().__init__(path)
        with writing(path):
            self._board: Any = tf.summary.create_file_writer(str(path))

    def append(self, group: str, row: dict) -> None:
        """Adds the values of a row with a `step`, each as `<group>/<name>`."""
        values = [(f"{group}/{k}", v) for k, v in _each(row) if k != "step" and v is not None]
        self._add(int(row["step"]), (int(row["step"]), values))

    def _write(self, row: tuple[int, list[tuple[str, float]]]) -> None:
        step, values = row
        try:
            if self._board is None:
                try_to_grow(self.path)  # each writer makes a file, even where there is no room
                self._board = tf.summary.create_file_writer(str(self.path))
            with self._board.as_default(step=step):  # flushes at its end
                for name, value in values:
                    tf.summary.scalar(name, value)
        except tf.errors.OpError:
            self._board = None  # half a record is in its file: what follows could not be read
            raise

    def close(self) -> None:
        super().close()
        if self._board is not None:
            self._board.close()


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
        self._board = BoardLog(folder / "tensorboard")
        if missing := resume_step - self._history.kept:
            print(f"{self._history.path} lacks the rows of {missing} of the {resume_step} steps.")

    def step(self, row: dict) -> None:
        """Logs one optimizer step: values by name of `HISTORY_COLUMNS`, a list for one per GPU.

        TensorBoard gets the figures of speed every `FIGURES_EVERY` steps: a scalar takes 0.2 ms.
        """
        self._history.append(row)
        if int(row["step"]) % FIGURES_EVERY:
            row = {name: value for name, value in row.items() if name not in FIGURES}
        self._board.append("train", row)

    def validation(self, row: dict) -> None:
        """Logs one validation: `step`, `epoch` and its values."""
        self._validation.append(row)
        self._board.append("valid", row)

    def close(self) -> None:
        """Writes what can still be written, and says what is missing for good."""
        for log in (self._history, self._validation, self._board):
            log.close()
