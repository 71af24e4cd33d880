"""Files and folders that are complete or not there: JSON, CSV and any other content."""

import contextlib
import csv
import errno
import functools
import io
import json
import math
import os
import resource
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from project.errors import UserError

ABANDONED_SECONDS = 3600
PARTS = f".part.{8 * '[0-9a-f]'}.*"  # names of `_part_of`
DAMAGED = ".damaged"
UNCHANGED = "What was there before is unchanged."
TRIAL_BYTES = 2**20  # by which a file must be able to grow on a disk that is in order
NOT_ALLOWED = "writing is not permitted", "Change the permissions or attributes of its folder"
PROBLEMS = {  # errno: (what is wrong, what to do)
    errno.ENOSPC: ("no space is left on its disk", "Make room"),
    errno.EDQUOT: ("the quota of its disk is used up", "Make room"),
    errno.EFBIG: ("it would be larger than a file may be here", "Raise the limit (ulimit -f)"),
    errno.EROFS: ("its disk is read-only", "Have it mounted for writing"),
    errno.EACCES: NOT_ALLOWED,
    errno.EPERM: NOT_ALLOWED,
}
UNUSUAL = "", "Repair or change the disk"
NO_ANSWER = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # of disks that reserve no space


class DiskError(UserError, OSError):
    """A file cannot be written, because of its disk.

    Attributes:
        number: errno of what is wrong.
        problem: the same in words, with the bytes needed and free.
    """

    def __init__(self, path: Path, what: str, number: int, problem: str, safe: str):
        """Composes the message, see `writing`."""
        failed = f"{what} {path} cannot be written: {problem}.".strip()
        again = f"{PROBLEMS.get(number, UNUSUAL)[1]} and start the same command again."
        super().__init__(" ".join(part for part in (failed, safe, again) if part))
        self.number, self.problem = number, problem


@contextlib.contextmanager
def writing(
    path: str | os.PathLike,
    what: str = "",
    needed_bytes: int | None = None,
    safe: str = UNCHANGED,
    part: Path | None = None,
) -> Iterator[None]:
    """Turns whatever a failing disk raises within into one line that names the file.

    Libraries raise errors of many kinds for a full disk, and not all of them tell why. So after any
    error the disk is asked: can the file that was being written grow?

    Args:
        path: the file or folder that is written.
        what: it is, such as "the state"; empty = its path says enough.
        needed_bytes: its size, where that is known.
        safe: a sentence on what is not lost.
        part: file or folder that is half written after an error, and not used as it is.

    Raises:
        DiskError: if the disk is the reason. Any other error stays as it is.
    """
    path = Path(path)
    folder = path if part is None and path.is_dir() else path.parent
    try:
        yield
    except DiskError as error:  # of a file in the folder: the folder is what the user knows
        problem = error.problem
        if needed_bytes:
            problem = _describe(error.number, folder, part, needed_bytes)
        raise DiskError(path, what, error.number, problem, safe) from error
    except Exception as error:
        number = _disk_problem(error, folder, part, needed_bytes)
        if number is None:
            raise
        problem = _describe(number, folder, part, needed_bytes)
        raise DiskError(path, what, number, problem, safe) from error


def _disk_problem(
    error: Exception, folder: Path, part: Path | None, needed: int | None
) -> int | None:
    """Returns the errno of what is wrong with the disk of a folder; None if nothing is."""
    number = error.errno if isinstance(error, OSError) else None
    named = getattr(error, "filename", None)
    ours = named is None or Path(os.fsdecode(named)).is_relative_to(folder)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS) and ours:
        return number
    try:
        written = _files(part)
        try_to_grow(_there(folder), TRIAL_BYTES if written else max(needed or 0, TRIAL_BYTES))
        if written:
            _let_grow(max(written, key=lambda file: file.stat().st_size))
    except OSError as refused:
        return None if refused.errno in NO_ANSWER else refused.errno
    return None


def try_to_grow(folder: Path, size: int = TRIAL_BYTES) -> None:
    """Gives a new file in a folder some bytes, for a moment.

    Raises:
        OSError: if there is no room, or no file may be made.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, size)


def _let_grow(path: Path) -> None:
    """Lets a half-written file grow for a moment: there may be a limit to its size."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        try:
            os.posix_fallocate(file.fileno(), size, TRIAL_BYTES)
        finally:
            file.truncate(size)


def _files(part: Path | None) -> list[Path]:
    """Returns the files that have been written: none, one, or those in a folder."""
    if part is None:
        return []
    found = part.rglob("*") if part.is_dir() else [part]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def _there(folder: Path) -> Path:
    """Returns a folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def _describe(number: int, folder: Path, part: Path | None, needed: int | None) -> str:
    """Returns what is wrong and the bytes needed and free; those of `part` are free again soon."""
    texts = [f"{_size(needed)} needed"] if needed else []
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if number == errno.EFBIG and limit != resource.RLIM_INFINITY:
        texts.append(f"{_size(limit)} allowed")
    else:
        disk = os.statvfs(_there(folder))
        written = sum(file.stat().st_blocks for file in _files(part)) * 512
        texts.append(f"{_size(disk.f_bavail * disk.f_frsize + written)} free")
    problem = PROBLEMS[number][0] if number in PROBLEMS else os.strerror(number)
    return f"{problem} ({', '.join(texts)})"


def _size(count: int) -> str:
    """Returns a number of bytes as text."""
    unit, name = next(((u, n) for u, n in ((1e9, "GB"), (1e6, "MB")) if count >= u), (1e3, "kB"))
    return f"{count / unit:.3g} {name}"


@contextlib.contextmanager
def whole_file(
    path: str | os.PathLike, what: str = "", needed_bytes: int | None = None, safe: str = UNCHANGED
) -> Iterator[Path]:
    """Lets a file take its name only when it is complete.

    Args:
        path: the file; its folder is made if it is absent.
        what, needed_bytes, safe: of `writing`.

    Yields:
        A hidden path beside it, with the same ending, to write to. It replaces `path` at the end,
        and is removed after an error.

    Raises:
        DiskError: if it cannot be written.
    """
    path = Path(path)
    part = _part_of(path)
    with _removed_afterwards(part), writing(path, what, needed_bytes, safe, part):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        yield part
        os.replace(part, path)


def to_disk(path: Path) -> None:
    """Has a file, or the names in a folder, written to the disk, against a loss of power."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        # Some file systems know no such call for folders, or for files opened to read.
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise
    finally:
        os.close(number)


def damaged_name(path: Path) -> Path:
    """Returns the first free name under which a damaged file or folder is kept beside itself."""
    aside, number = path.with_name(path.name + DAMAGED), 0
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}{DAMAGED}.{number}")
    return aside


@contextlib.contextmanager
def _removed_afterwards(part: Path) -> Iterator[None]:
    """Removes what is left of a file or folder; a disk that does not let it keeps it."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            part.unlink() if not part.is_dir() else shutil.rmtree(part)


def _part_of(path: Path) -> Path:
    """Returns a hidden name beside a path, one that no other process uses."""
    return path.with_name(f".part.{secrets.token_hex(4)}.{path.name}")


@functools.cache  # once for each folder: a folder may hold, and get, thousands of files
def _remove_abandoned(folder: Path) -> None:
    """Removes what processes that were killed have left in a folder: files after an hour.

    Folders stay for a day after the last change in them, since a large tile may take hours.
    """
    for part in folder.glob(PARTS):
        with contextlib.suppress(OSError):  # another process may be as quick
            changed = max(path.lstat().st_mtime for path in (part, *part.rglob("*")))
            if part.is_dir() and time.time() - changed > 24 * ABANDONED_SECONDS:
                shutil.rmtree(part)
            elif not part.is_dir() and time.time() - changed > ABANDONED_SECONDS:
                part.unlink()


@contextlib.contextmanager
def whole_folder(
    path: Path, what: str = "", needed_bytes: int | None = None, safe: str = UNCHANGED
) -> Iterator[Path]:
    """Lets a folder take its name only when it is complete.

    Args:
        path: the folder, which must not exist, or be empty; its parent is made if it is absent.
        what, needed_bytes, safe: of `writing`.

    Yields:
        An empty folder to fill, on the same disk. It takes the name `path` at the end, and is
        removed after an error.

    Raises:
        DiskError: if it cannot be written.
        OSError: if `path` holds something by then.
    """
    part = _part_of(path)
    with _removed_afterwards(part), writing(path, what, needed_bytes, safe, part):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        part.mkdir()
        yield part
        part.rename(path)


@contextlib.contextmanager
def replaced_folder(path: Path, outdated: Callable[[Path], Collection[Path]]) -> Iterator[Path]:
    """Replaces a folder by a complete new one; until then the earlier one stays as it is.

    Args:
        path: the folder, which may be absent, or a link to it.
        outdated: returns which files of the earlier folder, which it is given, go with it, by
            their paths relative to it. All others are carried over.

    Yields:
        An empty folder to fill, on the same disk.

    Raises:
        OSError: if the folder cannot be replaced.
    """
    path = Path(os.path.realpath(path))
    earlier = path.with_name(f".{path.name}.earlier")
    _finish_replacing(path, earlier)
    if path.exists() and not (path.is_dir() and os.access(path, os.W_OK)):
        raise PermissionError(
            f"{path} was to be replaced, but is not a folder that may be written. Move it away."
        )
    try:
        with whole_folder(path) as part:
            yield part
            if path.exists():
                _carry_over(path, part, outdated(path))
                path.rename(earlier)
    finally:
        _finish_replacing(path, earlier)


def _finish_replacing(path: Path, earlier: Path) -> None:
    """Removes the earlier folder, or puts it back where its successor did not take its place."""
    if path.exists():
        shutil.rmtree(earlier, ignore_errors=True)
    elif earlier.exists():
        earlier.rename(path)


def _carry_over(path: Path, part: Path, outdated: Collection[Path]) -> None:
    """Puts what others have written into a folder into its successor, too."""
    for old in sorted(path.rglob("*")):
        name = old.relative_to(path)
        if old.is_dir() and not old.is_symlink():
            (part / name).mkdir(parents=True, exist_ok=True)
        elif name not in outdated:
            with contextlib.suppress(FileExistsError):  # the new folder's own file stays
                _link(old, part / name)
    shutil.copymode(path, part)


def _link(old: Path, new: Path) -> None:
    """Gives a file a second name, or copies it where the disk has no such links."""
    try:
        os.link(old, new, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        shutil.copy2(old, new, follow_symlinks=False)


def check_writable(folder: Path) -> None:
    """Checks that files can be written to a folder, which need not exist yet; leaves nothing.

    Raises:
        UserError: naming what is in the way.
    """
    absolute = Path(os.path.abspath(folder))
    there = next(path for path in (absolute, *absolute.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise UserError(
            f"Nothing can be written to {folder}: {there} is not a folder. Give another folder."
        )
    try:  # permissions do not tell what a file system allows, such as /proc to root
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise UserError(
            f"Nothing can be written to {folder}: no file can be made in {there} "
            f"({error.strerror}). Give another folder, or change its permissions."
        ) from None


def has_content(folder: Path) -> bool:
    """Returns whether a folder holds more than what killed processes have left of files."""
    return folder.is_dir() and not all(path.match(PARTS) for path in folder.iterdir())


def check_replaceable_folder(folder: Path, markers: Sequence[str]) -> None:
    """Checks that a folder may be written to: it has no content, or this project wrote to it.

    Args:
        folder: whose content is to be replaced.
        markers: names of JSON files with settings; the project leaves one of them in the folder.

    Raises:
        UserError: if the folder holds anything else, or cannot be written.
    """
    check_writable(folder)
    if has_content(folder) and not any(_has_settings(folder / name) for name in markers):
        raise UserError(
            f"{folder} holds files, but no {' or '.join(markers)} that this project wrote, so "
            "nothing in it is replaced. Move the folder away, or give another one."
        )


def _has_settings(path: Path) -> bool:
    """Returns whether a file is JSON of this project: it says with which settings it was made."""
    try:
        return "settings" in read_json(path)
    except (OSError, ValueError):
        return False


def write_bytes(
    path: str | os.PathLike, data: bytes | memoryview, what: str = "", safe: str = UNCHANGED
) -> None:
    """Writes a file, completely or not at all.

    Args:
        path: the file; its folder is made if it is absent.
        data: its content.
        what, safe: of `writing`.

    Raises:
        DiskError: if it cannot be written.
    """
    with whole_file(path, what, len(data), safe) as part:
        part.write_bytes(data)


class MemoryFile(io.BytesIO):
    """A file in memory, for libraries that want a name and do not survive a full disk.

    HDF5 cannot close a file for which there is no room: the process crashes when it ends. So Keras
    saves weights here, and `write_bytes` takes `getbuffer()`.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def __str__(self) -> str:
        return self.name  # Keras looks at its ending


def write_json(path: str | os.PathLike, data: object) -> None:
    """Writes JSON, completely or not at all: UTF-8, indented; NaN and infinity become null.

    Args:
        path: the file.
        data: dict or list, also with NumPy scalars and arrays, paths and tuples in it.
    """
    text = json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: str | os.PathLike) -> dict:
    """Reads a JSON file that holds an object.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        ValueError: of `parse_json`.
    """
    return parse_json(Path(path).read_bytes())


def parse_json(data: bytes) -> dict:
    """Returns the object that JSON text in UTF-8 holds.

    Raises:
        ValueError: if it is not UTF-8, no JSON, nested too deeply, or no object in braces.
    """

    def refuse(name):
        raise ValueError(f"{name} is not a number of JSON")

    try:
        text = data.decode("utf-8-sig")
        content = json.loads(text, parse_constant=refuse)
        if "\\ud" in text.lower():  # half of a character, which cannot be written or shown
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, expected an object in braces")
    return content


def write_rows(path: str | os.PathLike, rows: Sequence[dict]) -> None:
    """Writes a CSV file, completely or not at all; None and NaN become empty cells.

    Args:
        path: the file.
        rows: the lines; the columns are their keys in the order of their first appearance.
    """
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if columns:
        writer.writeheader()
    writer.writerows([plain(row) for row in rows])
    write_bytes(path, text.getvalue().encode())


def plain(data: Any) -> Any:
    """Returns `data` in types that JSON has; NaN and infinity as None."""
    if isinstance(data, dict):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [plain(value) for value in data]
    if isinstance(data, (np.ndarray, np.generic)):
        return plain(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return str(data) if isinstance(data, Path) else data
