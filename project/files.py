"""Files and folders that are complete or not there: JSON, CSV and any other content."""

import contextlib
import csv
import functools
import io
import json
import math
import os
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


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Lets a file take its name only when it is complete.

    Args:
        path: the file; its folder is made if it is absent.

    Yields:
        A hidden path beside it, with the same ending, to write to. It replaces `path` at the end,
        and is removed after an error.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path.parent)
    part = _part_of(path)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


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
def whole_folder(path: Path) -> Iterator[Path]:
    """Lets a folder take its name only when it is complete.

    Args:
        path: the folder, which must not exist, or be empty; its parent is made if it is absent.

    Yields:
        An empty folder to fill, on the same disk. It takes the name `path` at the end, and is
        removed after an error.

    Raises:
        OSError: if `path` holds something by then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path.parent)
    part = _part_of(path)
    part.mkdir()
    try:
        yield part
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


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


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file, completely or not at all."""
    with whole_file(path) as part:
        part.write_bytes(data)


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
