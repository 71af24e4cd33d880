"""The tiles of a split: pairs of files with the same stem in the standard layout."""

from dataclasses import dataclass
from pathlib import Path

from datasets.records import LAYOUT

# Files that GDAL, GIS programs and desktops leave beside a raster.
SIDE_FILES = (
    ".xml .msk .ovr .rrd .aux .tfw .tifw .jgw .jpgw .pgw .pngw .j2w .wld .prj .hdr "
    "thumbs.db desktop.ini"
).split()


class DataError(ValueError):
    """Files of a data set that cannot be used; says which ones and why."""


@dataclass(frozen=True)
class Tile:
    """The files of one tile; `name` is their stem, `sem` is None where there are no labels."""

    name: str
    rgb: Path
    dsm: Path
    sem: Path | None


def list_tiles(record, split):
    """Lists the tiles of a split.

    Args:
        record: `datasets.records.Record`.
        split: "train", "valid" or "test".

    Returns:
        Tuple of `Tile`, sorted by name. `sem` is None for all tiles if the record has no
        classes or the split no folder `sem`.

    Raises:
        DataError: if the split is missing or empty, or a file has no partner.
    """
    tiles, problems = pair_files(record, split, most_names=5)
    if problems:
        raise DataError("\n  ".join(problems))
    return tiles


def pair_files(record, split, most_names=None):
    """Pairs the files of a split and lists what does not fit.

    Args:
        record: `datasets.records.Record`.
        split: "train", "valid" or "test".
        most_names: names that one text lists at most; None = all.

    Returns:
        (tiles, problems): as `list_tiles` returns, of the complete pairs only; list of texts
        that name the files which cannot be used.
    """
    folder = Path(record.folder) / split
    problems = []
    images, heights = (_files(folder / kind, problems) for kind in ("rgb", "dsm"))
    if not images and not heights:
        empty = (
            f"{folder} has no tiles: rgb and dsm are missing or empty. "
            f"Expected {record.folder}/{LAYOUT}, with the same stem in rgb and dsm."
        )
        return (), problems or [empty]
    pairs = [("rgb", images, "dsm", heights), ("dsm", heights, "rgb", images)]
    labels = {}
    sem = folder / "sem"
    has_labels = bool(record.classes) and (sem.is_dir() or sem.is_symlink())
    if has_labels:
        labels = _files(sem, problems)
        pairs.append(("rgb", images, "sem", labels))
    for have, files, need, partners in pairs:
        alone = sorted(set(files) - set(partners))
        if alone:
            names = _joined(alone, most_names)
            problems.append(
                f"{folder}: {len(alone)} of {len(files)} tiles in {have} have no {need} file of "
                f"the same stem: {names}. Add the missing {need} files or remove these {have} "
                "files."
            )
    names = set(images) & set(heights) & (set(labels) if has_labels else set(images))
    tiles = (Tile(name, images[name], heights[name], labels.get(name)) for name in sorted(names))
    return tuple(tiles), problems


def unused_labels(record, split):
    """Returns the paths of label files that count for nothing, as the record lists no classes."""
    sem = Path(record.folder) / split / "sem"
    return () if record.classes else tuple(_files(sem, []).values())


def _files(folder, problems):
    """Returns dict of stem to path of the raster files in a folder; {} if there is none.

    Adds to `problems` what cannot be used.
    """
    files = {}
    try:
        paths = sorted(folder.iterdir()) if folder.is_dir() or folder.is_symlink() else []
        paths = [path for path in paths if _is_raster_file(path)]
    except OSError as error:
        problems.append(
            f"{folder}: the folder cannot be read ({error.strerror}). Correct its permissions or "
            "its link."
        )
        return {}
    for path in paths:
        if not _is_unicode(path.name):
            problems.append(f"{folder}: the file name {path.name!a} is not UTF-8. Rename the file.")
        elif path.stem in files:
            problems.append(
                f"{folder} has {files[path.stem].name} and {path.name}, which name the same "
                "tile. Keep one of them."
            )
        else:
            files[path.stem] = path
    return files


def _is_raster_file(path):
    """Says whether a path is neither folder nor hidden nor one of `SIDE_FILES`."""
    is_side_file = path.name.lower().endswith(tuple(SIDE_FILES))
    return not (path.is_dir() or path.name.startswith(".") or is_side_file)


def _is_unicode(name):
    """Says whether a name can be shown, and given to GDAL: other bytes come as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _joined(names, most):
    """Joins names with commas, the first `most` of them."""
    more = ", ..." if most and len(names) > most else ""
    return ", ".join(names[:most]) + more
