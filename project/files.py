"""Files and folders that are complete or not there: JSON, CSV and any other content."""

import contextlib
import csv
import functools
import io
import json
import math
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ABANDONED_SECONDS = 3600


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
    # Another process may be writing the same file.
    part = path.with_name(f".part.{secrets.token_hex(4)}.{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@functools.cache  # once for each folder: a folder may hold, and get, thousands of files
def _remove_abandoned(folder: Path) -> None:
    """Removes what processes that were killed an hour ago or earlier have left in a folder."""
    for part in folder.glob(f".part.{8 * '[0-9a-f]'}.*"):
        with contextlib.suppress(OSError):  # another process may be as quick
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
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
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as parent:
        part = Path(parent) / path.name
        part.mkdir()  # with the user's rights; those of a temporary folder are narrower
        yield part
        part.rename(path)


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
