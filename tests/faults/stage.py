"""The files of one stage of a job, and what a process is doing to them."""

import contextlib
import csv
import json
import math
import os
from pathlib import Path

STAGES = ("mtl", "dae")
STEPS = {"mtl": 15, "dae": 9}
EPOCH_STEPS = 3  # so that states, validations and best weights are written often

START, STEP, END = "start", "step", "end"
STATE, BEST, VALIDATION = "state write", "best weights", "validation"
FILE, MOVE = "other file", "move"
PHASES = (START, STEP, STATE, VALIDATION, BEST, FILE, MOVE, END)
DELICATE = (STATE, VALIDATION, BEST, FILE, MOVE)

BEST_WEIGHTS = "best.weights.h5"
UNFINISHED = (".part.", "_temp", ".tmp")  # in names of what is being written
TIMES = ("seconds", "input_wait", "gpu_")  # columns of history.csv that differ between equal runs


class Stage:
    """Where a stage of a job has its files."""

    def __init__(self, job: Path, name: str):
        self.name, self.steps = name, STEPS[name]
        self.weights = job / "ck" / "blocks" / name
        self.results = job / "out" / "blocks" / name
        self.states = self.weights / "last"

    def step(self) -> int:
        """Returns the last step in history.csv; 0 = none."""
        return _last_number(self.results / "history.csv")

    def phase(self, begun: bool, left: frozenset[str] = frozenset()) -> str:
        """Returns what a process is doing, or was doing when it was killed, as files show it.

        Args:
            begun: whether the process has trained a step.
            left: of `unfinished`, before the process started.
        """
        unfinished = self.unfinished() - left
        if self._is_half_moved():
            return MOVE
        if any(self.states in Path(path).parents for path in unfinished):
            return STATE
        if any(path.endswith(BEST_WEIGHTS) for path in unfinished):
            return BEST
        if unfinished:
            return FILE
        if not begun:
            return START
        if self.is_pending():
            return VALIDATION
        return END if self.step() == self.steps == self.state_step() else STEP

    def unfinished(self) -> frozenset[str]:
        """Returns the paths of what is being written, and of what killed processes have left."""
        folders = [self.weights, self.states, self.weights.parent, self.results]
        folders += [self.results.parent, self.results.parent / "checks"]
        folders += [Path(e.path) for e in _entries(self.states) if e.name.startswith("step-")]
        return frozenset(
            entry.path
            for folder in folders
            for entry in _entries(folder)
            if any(mark in entry.name for mark in UNFINISHED)
        )

    def leftovers(self) -> list[Path]:
        """Returns what should be gone when the stage is finished.

        What is left among the results of the checks goes after an hour: others write there, too.
        """
        folders = (self.weights.parent, self.results.parent)
        leases = [lease for folder in folders for lease in folder.glob(".*.lease")]
        parts = [path for path in map(Path, self.unfinished()) if path.parent.name != "checks"]
        return sorted([*parts, *leases])

    def _is_half_moved(self) -> bool:
        """Returns whether only one of the folders of an earlier run has been moved aside."""
        moved = f"{self.name}."
        counts = {
            sum(entry.name.startswith(moved) for entry in _entries(folder))
            for folder in (self.weights.parent, self.results.parent)
        }
        return len(counts) > 1

    def state(self) -> Path | None:
        """Returns the newest whole state: its folder, or that of a state of earlier versions."""
        newest = max(self.states.glob("step-" + 8 * "[0-9]"), default=None)
        return newest or (self.states if (self.states / "checkpoint").is_file() else None)

    def state_step(self) -> int:
        """Returns the step of the newest state; 0 = there is none."""
        state = self.state()
        if state is None:
            return 0
        if state != self.states:
            return int(state.name.removeprefix("step-"))
        with contextlib.suppress(OSError):
            return int((state / "checkpoint").read_text().split('"')[1].removeprefix("ckpt-"))
        return 0

    def is_pending(self) -> bool:
        """Returns whether the newest state still waits for its validation."""
        state = self.state()
        if state and state != self.states:
            with contextlib.suppress(OSError):  # it is just being removed
                return json.loads((state / "state.json").read_text())["pending"]
        step = self.step()  # earlier versions validate before they write the state
        ends = step % EPOCH_STEPS == 0 or step == self.steps
        return bool(step and ends and self.state_step() < step)

    def rows(self) -> list[dict]:
        """Returns the rows of history.csv, without the columns that time decides."""
        with (self.results / "history.csv").open(newline="") as file:
            return [
                {name: cell for name, cell in row.items() if not _is_time(name)}
                for row in csv.DictReader(file)
            ]

    def losses(self) -> list[float]:
        """Returns the losses of the steps."""
        return [float(row["loss"]) for row in self.rows()]


def _is_time(name: str) -> bool:
    return name.startswith(TIMES) or name == "samples_per_second"


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _last_number(path: Path) -> int:
    """Returns the number that the last whole line of a CSV file begins with; 0 = there is none."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return 0
    cell = lines[-2].split(b",")[0] if len(lines) > 1 else b""
    return int(cell) if cell.isdigit() else 0


def largest_difference(ours: list[float], theirs: list[float]) -> float:
    """Returns the largest relative difference of losses; infinity if their number differs."""
    if len(ours) != len(theirs) or not all(map(math.isfinite, ours + theirs)):
        return math.inf
    return max(abs(a - b) / max(abs(a), abs(b), 1e-12) for a, b in zip(ours, theirs, strict=True))
