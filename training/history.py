"""What a run writes about itself while it trains: CSV files and TensorBoard."""

import csv

import tensorflow as tf

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
)
FIGURES = ("seconds_median", "seconds_p95", "input_wait", "gpu_utilisation", "gpu_memory")
FIGURES_EVERY = 10  # steps


class CsvFile:
    """A CSV file that grows by one row at a time and survives a kill.

    A resumed run cuts off the rows after its checkpoint, so that every step stands there once.
    """

    def __init__(self, path, columns, resume_step=0):
        """Opens the file and keeps its rows up to and including step `resume_step`."""
        rows = [row for row in _read(path) if int(row["step"]) <= resume_step]
        with whole_file(path) as part, part.open("w", newline="") as file:
            _write(file, columns, rows)
        self._columns = columns
        self._file = path.open("a", newline="")

    def append(self, row):
        """Adds a row (dict; absent columns stay empty, lists are joined by ";") and flushes it."""
        cells = {name: _cell(value) for name, value in row.items()}
        csv.DictWriter(self._file, self._columns, lineterminator="\n").writerow(cells)
        self._file.flush()

    def close(self):
        self._file.close()


def _cell(value):
    if not isinstance(value, list):
        return value
    return ";".join("" if item is None else str(item) for item in value)


def _read(path):
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        # A kill may leave half a line: it has no line end and its step will come again.
        lines = [line for line in file if line.endswith("\n")]
    return list(csv.DictReader(lines))


def _write(file, columns, rows):
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _each(row):
    """Yields (name, value) of a row, of a list `<name>/0`, `<name>/1`, ..."""
    for name, value in row.items():
        if isinstance(value, list):
            yield from ((f"{name}/{number}", item) for number, item in enumerate(value))
        else:
            yield name, value


class SilentLog:
    """Stands in for `RunLog` in the processes that do not write."""

    def step(self, row):
        pass

    def validation(self, row):
        pass

    def close(self):
        pass


class RunLog:
    """history.csv, validation.csv and TensorBoard of one stage."""

    def __init__(self, folder, validation_columns, resume_step=0):
        """Opens the log.

        Args:
            folder: `Path`, `<output_dir>/<dataset_name>/<stage>`; made if absent.
            validation_columns: names of the validation's values.
            resume_step: int, steps that are already done; later rows are dropped.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._history = CsvFile(folder / "history.csv", HISTORY_COLUMNS, resume_step)
        columns = ("step", "epoch", *validation_columns)
        self._validation = CsvFile(folder / "validation.csv", columns, resume_step)
        self._board = tf.summary.create_file_writer(str(folder / "tensorboard"))

    def step(self, row):
        """Logs one optimizer step: a dict of `HISTORY_COLUMNS`, of lists what is told per GPU.

        TensorBoard gets the figures of speed every `FIGURES_EVERY` steps: a scalar takes 0.2 ms.
        """
        self._history.append(row)
        if int(row["step"]) % FIGURES_EVERY:
            row = {name: value for name, value in row.items() if name not in FIGURES}
        self._scalars("train", row)

    def validation(self, row):
        """Logs one validation: a dict with `step`, `epoch` and its values."""
        self._validation.append(row)
        self._scalars("valid", row)

    def _scalars(self, group, row):
        with self._board.as_default(step=int(row["step"])):
            for name, value in _each(row):
                if name != "step" and value is not None:
                    tf.summary.scalar(f"{group}/{name}", value)

    def close(self):
        self._history.close()
        self._validation.close()
        self._board.close()
