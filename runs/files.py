"""Result files (JSON, CSV), written whole or not at all."""

import csv
import io
import json
import math
import os
from pathlib import Path

import numpy as np


def write_bytes(path, data):
    """Writes a file so that it appears only when it is whole.

    Args:
        path: str or path; its folder is made if it is absent.
        data: bytes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)


def write_json(path, data):
    """Writes JSON: UTF-8, indented, atomically; NaN and infinity become null.

    Args:
        path: str or path of the file.
        data: dict or list, also with numpy scalars and arrays, paths and tuples in it.
    """
    text = json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def write_rows(path, rows):
    """Writes a CSV file, atomically; None and NaN become empty cells.

    Args:
        path: str or path of the file.
        rows: list of dict; the columns are their keys in order of first appearance.
    """
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if columns:
        writer.writeheader()
    writer.writerows(_plain(rows))
    write_bytes(path, text.getvalue().encode())


def _plain(data):
    """Returns `data` as types that JSON has; NaN and infinity as None."""
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(value) for value in data]
    if isinstance(data, (np.ndarray, np.generic)):
        return _plain(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return str(data) if isinstance(data, Path) else data
