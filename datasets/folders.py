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
    folder = Path(record.folder) / split
    images, heights = _files(folder / "rgb"), _files(folder / "dsm")
    if not images and not heights:
        raise DataError(
            f"{folder} has no tiles: rgb and dsm are missing or empty. "
            f"Expected {record.folder}/{LAYOUT}, with the same stem in rgb and dsm."
        )
    _check_partners(folder, "rgb", images, "dsm", heights)
    _check_partners(folder, "dsm", heights, "rgb", images)
    labels = {}
    if record.classes and (folder / "sem").is_dir():
        labels = _files(folder / "sem")
        _check_partners(folder, "rgb", images, "sem", labels)
    return tuple(
        Tile(name, images[name], heights[name], labels.get(name)) for name in sorted(images)
    )


def _files(folder):
    """Returns dict of stem to path of the raster files in a folder; {} if there is none."""
    if not folder.is_dir():
        return {}
    files = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.name.startswith(".") or _is_side_file(path):
            continue
        if path.stem in files:
            raise DataError(
                f"{folder} has {files[path.stem].name} and {path.name}, which name the same "
                "tile. Keep one of them."
            )
        files[path.stem] = path
    return files


def _is_side_file(path):
    return path.name.lower().endswith(tuple(SIDE_FILES))


def _check_partners(folder, have, files, need, partners):
    """Raises DataError if a file in folder/have has no partner in folder/need."""
    alone = sorted(set(files) - set(partners))
    if alone:
        more = ", ..." if len(alone) > 5 else ""
        raise DataError(
            f"{folder}: {len(alone)} of {len(files)} tiles in {have} have no {need} file of the "
            f"same stem: {', '.join(alone[:5])}{more}. Add the missing {need} files or remove "
            f"these {have} files."
        )
