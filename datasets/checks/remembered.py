"""What the check of a split found, kept until a file of the split changes."""

import dataclasses
import hashlib
import json
import os

from datasets.checks.validation import SplitSummary, check_split
from datasets.rasters.reading import GDAL_VERSION
from datasets.records.record import KINDS
from project.files import write_json

VERSION = 1  # of what is checked; a change makes earlier verdicts useless


def remembered_check(path, record, split, tiles, crop_size, progress=None, skip=False):
    """Does what `check_split` does, or repeats what that found in the same files.

    Args:
        path: `Path` of the JSON file that keeps it, outside of the data folder.
        record, split, tiles, crop_size, progress, skip: of `check_split`.

    Returns:
        `SplitSummary`.

    Raises:
        DataError: of `check_split`. Nothing is kept of it, nor of tiles that were left out: the
            fault may pass.
    """
    key = split_digest(record, split, tiles, crop_size, skip)
    if key and (summary := _read(path, key)):
        return summary
    summary = check_split(record, split, tiles, crop_size, progress, skip)
    if key and not summary.unusable:
        write_json(path, {"key": key, "summary": dataclasses.asdict(summary)})
    return summary


def split_digest(record, split, tiles, crop_size, skip=False):
    """Returns a text that changes with the files of a split, and with what is made of them.

    Sizes and times of all files in the split's folders count, side files too. None where a
    tile is a VRT, whose parts may change unseen.
    """
    if any(path.suffix.lower() == ".vrt" for tile in tiles for path in tile.files.values()):
        return None
    files = []
    for kind in KINDS:
        folder = record.folder / split / kind
        for entry in sorted(os.scandir(folder), key=lambda e: e.name) if folder.is_dir() else ():
            try:
                status = entry.stat()
            except OSError:  # a broken link, which the check names if it matters
                continue
            files.append((kind, entry.name, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    names = [tile.name for tile in tiles]
    content = (VERSION, GDAL_VERSION, record, names, tiles[0], crop_size, skip, files)
    return hashlib.blake2b(repr(content).encode(), digest_size=16).hexdigest()


def _read(path, key):
    """Returns the `SplitSummary` kept under `key`, or None."""
    try:
        kept = json.loads(path.read_text())
        if kept["key"] != key:
            return None
        return SplitSummary(**{name: _tuples(value) for name, value in kept["summary"].items()})
    except (OSError, ValueError, TypeError, KeyError):  # none, or of another version: check anew
        return None


def _tuples(value):
    """Returns a value from JSON with tuples for lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
