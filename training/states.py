"""Saved states on disk: whole or not there, checked before use, several of them.

    last/step-00000120/        TensorFlow's files (state.index, state.data-...) and state.json
    last/ckpt-120.index ...    a state of an earlier version; it counts as the oldest

`state.json` holds the numbers of the run, the size and the SHA-256 of each other file, and as
`digest` the SHA-256 of all that, in every format, so that damage is told from a newer format.
Only the states of earlier versions need TensorFlow to be read.
"""

import contextlib
import errno
import hashlib
import json
import math
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from models.weight_files import check_tensors
from project.errors import UserError, first_line
from project.files import (
    DAMAGED,
    PARTS,
    UNCHANGED,
    damaged_name,
    plain,
    read_json,
    to_disk,
    whole_file,
    whole_folder,
)
from runs.folders import WEIGHTS, file_digest
from runs.stored import FILE as DESCRIPTION
from runs.stored import ResumeError

LAST = "last"  # the folder of the states, within that of the stage
NUMBERS = "state.json"
FORMAT = 1
ABOUT_CONTENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO)  # errors in reading it
OTHER_CONTENT = "its content is not what was written"
LOGS = ("history.csv", "validation.csv", "bad_steps.csv", "curves.png")
LEFTOVERS = (  # names that only a killed write leaves in the folders of a stage
    *(PARTS.replace("*", name) for name in (WEIGHTS, DESCRIPTION, *LOGS)),
    f"{LAST}/{PARTS}",
    f"{LAST}/step-*/{PARTS}",
    "part.weights.h5",  # this one and the following: of earlier versions
    f"{LAST}/ckpt-*_temp",
    f"{LAST}/checkpoint.tmp*",
)


class DamagedState(UserError):
    """A state is not what was written."""


@dataclass(frozen=True)
class Numbers:
    """What a state holds beside the variables.

    Attributes:
        step: optimizer updates done.
        best: best value of the validation metric so far; NaN before the first.
        waited: validations since the best one.
        stopped: whether early stopping has ended the run.
        pending: whether the validation after `step` has still to be done.
    """

    step: int
    best: float = math.nan
    waited: int = 0
    stopped: bool = False
    pending: bool = False


@dataclass(frozen=True)
class State:
    """A saved state.

    Attributes:
        path: its folder; of a state of an earlier version, `last/ckpt-<step>`.
        step: optimizer updates done, by its name.
        earlier: whether an earlier version wrote it.
    """

    path: Path
    step: int
    earlier: bool

    @property
    def prefix(self) -> str:
        """What TensorFlow calls the path of a checkpoint: that of its files without endings."""
        return str(self.path if self.earlier else self.path / "state")

    def numbers(self) -> Numbers:
        """Reads its numbers and looks whether all files are there, in full length.

        Raises:
            DamagedState: if not, or if the numbers are damaged.
            ResumeError: if a newer version wrote it.
        """
        if self.earlier:
            return _earlier_numbers(self)
        content = _content(self)
        for name, file in content["files"].items():
            with _reading(self.path / name):
                size = (self.path / name).stat().st_size
                if size != file["bytes"]:
                    raise ValueError(f"it has {size} bytes, expected {file['bytes']}")
        known = {field.name: content[field.name] for field in fields(Numbers)}
        return Numbers(**known | {"best": math.nan if known["best"] is None else known["best"]})

    def verify(self) -> Numbers:
        """Compares the content of all files with their digests; returns its numbers.

        Raises:
            DamagedState: if a file is not what was written.
            ResumeError: if a newer version wrote it.
        """
        numbers = self.numbers()
        if self.earlier:
            _read_all(self)
            return numbers
        for name, file in _content(self)["files"].items():
            with _reading(self.path / name):
                if file_digest(self.path / name) != file["sha256"]:
                    raise ValueError(OTHER_CONTENT)
        return numbers

    def set_aside(self) -> list[Path]:
        """Renames it to the first free `<name>.damaged`, `<name>.damaged.1` ...; returns where."""
        if not self.earlier:
            return [self.path.rename(damaged_name(self.path))]
        files = self.path.parent.glob(f"{self.path.name}.*")
        return [
            path.rename(damaged_name(path)) for path in sorted(files) if DAMAGED not in path.name
        ]


def state_of(last: Path, step: int, earlier: bool) -> State:
    """Returns the state of a step, whether it exists or not."""
    return State(last / (f"ckpt-{step}" if earlier else f"step-{step:08d}"), step, earlier)


def saved_states(last: Path) -> list[State]:
    """Lists what has the name of a state in a folder, which may be absent; newest first."""
    new, earlier = [], []
    for path in last.glob("*"):
        if match := re.fullmatch(r"step-(\d{8,})", path.name):
            new.append(state_of(last, int(match[1]), earlier=False))
        match = re.fullmatch(r"ckpt-(\d+)\.index", path.name)
        if match and any(last.glob(f"ckpt-{match[1]}.data-*-of-?????")):
            earlier.append(state_of(last, int(match[1]), earlier=True))
    return [
        *sorted(new, key=lambda state: -state.step),
        *sorted(earlier, key=lambda state: -state.step),
    ]


def read_progress(last: Path) -> Numbers | None:
    """Reads how far a run is, from its newest readable state; changes nothing.

    Returns:
        Its numbers; None where there has never been a state, or nothing is left of one.

    Raises:
        ResumeError: if there are states and none can be read, or a newer version wrote the newest.
    """
    damage = []
    for state in saved_states(last):
        try:
            return state.numbers()
        except DamagedState as error:
            damage.append(str(error))
    _refuse_damaged(last, damage)
    return None


def newest_whole(last: Path, set_aside: bool = True) -> State | None:
    """Finds the newest state whose content is what was written; says loudly which one is not.

    Args:
        last: folder of the states.
        set_aside: whether damaged ones are renamed.

    Returns:
        The state; None where there has never been one, or nothing is left of one.

    Raises:
        ResumeError: if there are states and none is whole, or a newer version wrote one.
    """
    damage = []
    for state in saved_states(last):
        try:
            state.verify()
        except DamagedState as error:
            damage.append(str(error))
            paths = state.set_aside() if set_aside else [state.path]
            kept = ", ".join(str(path) for path in paths)
            print(f"warning: A SAVED STATE IS DAMAGED. {error}. It is kept as {kept}.")
            continue
        if damage:
            print(f"warning: The run goes on from the state before: {state.path}.")
        return state
    _refuse_damaged(last, damage)
    return None


def _refuse_damaged(last: Path, damage: list[str]) -> None:
    """Raises ResumeError if states were damaged, now or at an earlier start."""
    aside = [str(path) for path in sorted(last.glob(f"*{DAMAGED}*"))]
    if damage or aside:
        raise ResumeError(
            f"No whole state is left in {last}: {'; '.join(damage) or ', '.join(aside)}. Nothing "
            f"is removed, and {WEIGHTS} stays as it is. Restore {last} from a backup, or set "
            "--resume=never, which moves this run aside and trains anew."
        )


def write_state(
    last: Path,
    numbers: Numbers,
    write_files: Callable[[str], object],
    needed_bytes: int | None = None,
    safe: str = UNCHANGED,
) -> None:
    """Writes a state; it takes its name when it is whole and on the disk.

    Args:
        last: folder of the states.
        numbers: of the run.
        write_files: writes TensorFlow's files, given their path without endings.
        needed_bytes, safe: of `project.files.writing`.

    Raises:
        DiskError: if it cannot be written.
    """
    state = state_of(last, numbers.step, earlier=False)
    with whole_folder(state.path, "the state", needed_bytes, safe) as part:
        write_files(str(part / "state"))
        files = {
            path.name: {"bytes": path.stat().st_size, "sha256": file_digest(path)}
            for path in sorted(part.iterdir())
        }
        (part / NUMBERS).write_bytes(_numbers_file(numbers, files))
        for path in (*part.iterdir(), part):
            to_disk(path)
    to_disk(last)


def rewrite_numbers(last: Path, numbers: Numbers, safe: str = UNCHANGED) -> None:
    """Replaces the numbers of the state of a step, and leaves its other files as they are.

    Raises:
        DamagedState: if that state is gone or damaged.
    """
    state = state_of(last, numbers.step, earlier=False)
    files = _content(state)["files"]
    with whole_file(state.path / NUMBERS, safe=safe) as part:
        part.write_bytes(_numbers_file(numbers, files))
        to_disk(part)
    to_disk(state.path)


def best_is_lost(folder: Path, numbers: Numbers) -> bool:
    """Returns whether a run has found best weights, but its file of them is gone or damaged."""
    if math.isnan(numbers.best):
        return False
    try:
        check_tensors(folder / WEIGHTS)
    except (FileNotFoundError, ValueError):
        return True
    return False


def set_best_aside(folder: Path) -> None:
    """Keeps what is left of damaged best weights, and says that they are lost."""
    path, kept = folder / WEIGHTS, ""
    if path.exists():
        kept = f" The damaged file is kept as {path.rename(damaged_name(path))}."
    print(
        f"warning: THE BEST WEIGHTS ARE LOST: {path} is gone or damaged.{kept} Restore it from a "
        "backup, or go on: those of the last state are validated, and are the best ones from here."
    )


def remove_superseded(last: Path, keep: int) -> None:
    """Removes states but the `keep` newest; those of earlier versions when that many are newer.

    A state that cannot be read does not count, and stays.
    """
    whole = [state for state in saved_states(last) if not state.earlier and _is_readable(state)]
    for state in whole[keep:]:
        # A removal that is killed must not leave what looks like a damaged state.
        gone = last / f".part.{secrets.token_hex(4)}.{state.path.name}"
        state.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
    if len(whole) >= keep:
        for pattern in ("ckpt-*.index", "ckpt-*.data-*-of-?????", "checkpoint"):
            for path in last.glob(pattern):
                path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what killed writes have left in a folder of a stage, in which nobody else writes."""
    copies = folder.parent.glob(PARTS.removesuffix("*") + folder.name)
    for path in (*copies, *(path for pattern in LEFTOVERS for path in folder.glob(pattern))):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_readable(state: State) -> bool:
    try:
        state.numbers()
    except UserError:
        return False
    return True


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what reading a damaged file raises into DamagedState."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and error.errno not in ABOUT_CONTENT:
            raise  # such as a disk that is away: it says nothing about the content
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise DamagedState(f"{path}: {reason}") from None


def _content(state: State) -> dict:
    """Returns what state.json holds, without its digest.

    Raises:
        DamagedState: if it is not what was written.
        ResumeError: if a newer version wrote it.
    """
    with _reading(state.path / NUMBERS):
        content = read_json(state.path / NUMBERS)
        if content.pop("digest", None) != _digest(content):
            raise ValueError(OTHER_CONTENT)
        version = int(content["format"])
    if version > FORMAT:
        raise ResumeError(
            f"{state.path} was written by a newer version of this project: its format is "
            f"{version}, expected at most {FORMAT}. Update the project, or set --resume=never, "
            "which moves this run aside and trains anew."
        )
    return content


def _numbers_file(numbers: Numbers, files: dict) -> bytes:
    content = plain({"format": FORMAT} | asdict(numbers) | {"files": files})
    return (json.dumps(content | {"digest": _digest(content)}, indent=2) + "\n").encode()


def _digest(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _earlier_numbers(state: State) -> Numbers:
    """Reads the numbers out of a checkpoint of an earlier version."""
    with _reading_earlier(state) as reader:
        names = {f.name: f"{f.name}/.ATTRIBUTES/VARIABLE_VALUE" for f in fields(Numbers)}
        there = {
            n: reader.get_tensor(key).item() for n, key in names.items() if reader.has_tensor(key)
        }
        return Numbers(**there)


def _read_all(state: State) -> None:
    """Reads every tensor of a checkpoint of an earlier version: TensorFlow compares checksums."""
    with _reading_earlier(state) as reader:
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)


@contextlib.contextmanager
def _reading_earlier(state: State) -> Iterator:
    import tensorflow as tf  # for states of earlier versions only

    try:
        yield tf.train.load_checkpoint(state.prefix)
    except tf.errors.PermissionDeniedError:
        raise PermissionError(
            f"{state.path}: it must not be read. Change its permissions."
        ) from None
    except (tf.errors.OpError, IndexError, ValueError, TypeError) as error:
        raise DamagedState(f"{state.path} cannot be read ({type(error).__name__})") from None
