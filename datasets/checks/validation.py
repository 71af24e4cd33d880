"""The check of a split before training or testing, repeated only when its files change."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from datasets.checks.tile_check import GSD_TOLERANCE, TileReport, check_tiles, unrectified
from datasets.rasters.reading import GDAL_VERSION, RasterError, read_info, read_window
from datasets.rasters.references import check_references
from datasets.records.record import KINDS, Record
from datasets.tiles.folders import DataError, Tile, unused_labels
from project.files import read_json, write_json

VERSION = 2  # of the checks; a new number makes earlier results invalid
MOST_PROBLEMS = 10  # that an error lists
MOST_CODES = 10  # of unused labels that a warning lists
MOST_LABEL_PIXELS = 2_000_000  # that are read to find them


@dataclass(frozen=True)
class SplitSummary:
    """What a split holds.

    Attributes:
        split: "train", "valid" or "test".
        tiles: number of tiles.
        gsd: metres per pixel: of the record, or else the median of the tiles.
        mean_height: metres, over all valid pixels.
        valid_pixels: pixels with image and height.
        class_counts: pixels of each class index; () without classes.
        unusable: names of the tiles that were left out.
        warnings: texts on files that can be used but are suspicious.
        notes: texts on what is converted while files are read.
        shapes: (rows, columns) of each tile.
        image_type: "uint8" if all images are stored in 8 bits, 0-255, else "float32".
    """

    split: str
    tiles: int
    gsd: float
    mean_height: float
    valid_pixels: int
    class_counts: tuple[int, ...]
    unusable: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    image_type: str


def remembered_check(
    path: Path,
    record: Record,
    split: str,
    tiles: Sequence[Tile],
    crop_size: int,
    progress: Callable[[int, int], None] | None = None,
    skip: bool = False,
) -> SplitSummary:
    """Does what `check_split` does, or repeats what it found in the same files.

    Args:
        path: JSON file that keeps the result, outside of the data folder.
        record, split, tiles, crop_size, progress, skip: of `check_split`.

    Raises:
        DataError: of `check_split`. Neither errors nor results with tiles left out are kept, since
            their cause may be temporary.
    """
    key = _split_digest(record, split, tiles, crop_size, skip)
    if key and (summary := _read(path, key)):
        return summary
    summary = check_split(record, split, tiles, crop_size, progress, skip)
    if key and not summary.unusable:
        write_json(path, {"key": key, "summary": asdict(summary)})
    return summary


def check_split(
    record: Record,
    split: str,
    tiles: Sequence[Tile],
    crop_size: int,
    progress: Callable[[int, int], None] | None = None,
    skip: bool = False,
) -> SplitSummary:
    """Reads every file of a split once and checks that it can be used.

    Args:
        record: of the data set.
        split: "train", "valid" or "test", for messages.
        tiles: from `list_tiles`.
        crop_size: pixels; smaller tiles are an error.
        progress: function (tiles done, tiles in all), called after each tile.
        skip: True = tiles that cannot be used are left out, with a warning each.

    Raises:
        DataError: if any file cannot be used; lists up to 10 problems of all tiles.
    """
    reports = []
    for report in check_tiles(record, tiles, crop_size):
        reports.append(report)
        if progress:
            progress(len(reports), len(tiles))
    bad = [report for report in reports if report.problems] if skip else []
    used = [report for report in reports if not (skip and report.problems)]
    if problems := list_problems(record, used or reports):
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [f"{record.folder}: {count} in the {split} split:", *problems[:MOST_PROBLEMS]]
        if len(problems) > MOST_PROBLEMS:
            lines.append(f"... and {len(problems) - MOST_PROBLEMS} more.")
        raise DataError("\n  ".join(lines))
    return _summary(record, split, used, bad)


def list_problems(record: Record, reports: Sequence[TileReport]) -> list[str]:
    """Lists why the tiles of a split cannot be used together, in texts that name the files."""
    # A tile with problems of its own may show no gsd: judge the split once its tiles are right.
    problems = [problem for report in reports for problem in report.problems]
    problems = problems or _gsd_problems(record, reports)
    if not problems and not any(report.valid_pixels for report in reports):
        problems = ["no tile has a pixel with both image and height. Check their nodata values."]
    return problems


def label_problems(record: Record, split: str, class_counts: Iterable[int]) -> list[str]:
    """Says why a split cannot be used if the semantic decoder, or mIoU, needs its labels.

    Args:
        record: of the data set.
        split: "train", "valid" or "test".
        class_counts: pixels of each class.

    Returns:
        At most one text.
    """
    if sum(class_counts):
        return []
    return [
        f"{record.folder}: the record lists classes, but no pixel of the {split} split has one of "
        "them. Add the sem folder, or set sem_flag=false and eval_metric=rmse."
    ]


def split_warnings(record: Record, split: str, reports: Sequence[TileReport]) -> list[str]:
    """Lists what is suspicious about a split as a whole, in texts that name files."""
    infos = [r.infos[kind] for kind in ("dsm", "dem") for r in reports if kind in r.infos]
    scale = record.height_scale or 1.0
    scaled = [info for info in infos if info.dtype.startswith("float") and scale != 1]
    more = f" and {len(scaled) - 1} more" if len(scaled) > 1 else ""
    labels = unused_labels(record, split)
    return [
        *(
            f"{info.path}{more}: heights are {info.dtype} and height_scale is "
            f"{scale:g}. Are they not in metres already?"
            for info in scaled[:1]
        ),
        *(
            f"{path.parent}: {len(labels)} label files are not used, since no classes are listed "
            f"({_codes_text(path, record)}). List their codes as [[classes]] in dataset.toml, or "
            "remove the folder."
            for path in labels[:1]
        ),
        *(_missing_classes(record, reports) if split == "train" else []),
    ]


def _missing_classes(record, reports):
    """Names the classes that no training pixel has, if there are labels at all."""
    counts = sum((report.class_counts for report in reports), np.zeros(len(record.classes), int))
    missing = [x for x, count in zip(record.classes, counts.tolist(), strict=True) if not count]
    if not missing or len(missing) == len(record.classes):
        return []
    names = ", ".join(f"{label.name} ({label.code})" for label in missing)
    return [
        f"{record.folder}: no training pixel has the class {names}; a network cannot learn it. "
        "Correct the codes of classes in dataset.toml or the labels, or drop the class."
    ]


def conversion_notes(reports: Sequence[TileReport]) -> list[str]:
    """Lists what the files of heights declare besides plain metres, each with its first file."""
    paths: dict[str, list[Path]] = {}
    for report in reports:
        for kind, units in report.units.items():
            if units.note:
                paths.setdefault(units.note, []).append(report.infos[kind].path)
    more = {
        note: f" and {len(files) - 1} more" if len(files) > 1 else ""
        for note, files in paths.items()
    }
    return [f"{files[0]}{more[note]}: {note}" for note, files in paths.items()]


def _codes_text(path: Path, record: Record) -> str:
    """Names the first codes in the upper part of a label file."""
    try:
        check_references(path, record.folder)
        grid = read_info(path).grid
        rows = min(grid.rows, max(1, MOST_LABEL_PIXELS // grid.columns))
        pixels, valid = read_window(path, 0, 0, rows, grid.columns)
    except RasterError as error:
        return str(error)
    codes = np.unique(pixels[valid], axis=0)[:MOST_CODES].tolist()
    texts = [str(code[0] if len(code) == 1 else tuple(code)) for code in codes]
    return f"codes {', '.join(texts)} in {path.name}"


def _gsd_problems(record, reports):
    """Checks that there is a gsd and that the tiles agree on it."""
    found = sorted((report.gsd, report.tile.rgb) for report in reports if report.gsd)
    if not found:
        loose = unrectified(info for report in reports for info in report.infos.values())
        advice = (
            f"{record.folder}: no file has a georeference with a projection, and the record has no "
            f"gsd. {loose or 'Give gsd, metres per pixel, in dataset.toml.'}"
        )
        return [] if record.gsd else [advice]
    (low, first), (high, last) = found[0], found[-1]
    if high / low - 1 <= GSD_TOLERANCE:
        return []
    return [
        f"{last}: {high:.3g} m per pixel, but {first} has {low:.3g}. Resample the tiles to one gsd."
    ]


def _summary(record, split, reports, bad):
    valid_pixels = sum(report.valid_pixels for report in reports)
    counts = np.sum([report.class_counts for report in reports], axis=0)
    return SplitSummary(
        split=split,
        tiles=len(reports),
        gsd=record.gsd or float(np.median([report.gsd for report in reports if report.gsd])),
        mean_height=sum(report.height_sum for report in reports) / valid_pixels,
        valid_pixels=valid_pixels,
        class_counts=tuple(counts.tolist()) if record.classes else (),
        unusable=tuple(report.tile.name for report in bad),
        warnings=(
            *(f"left out, as bad_tiles is skip: {text}" for r in bad for text in r.problems),
            *(text for report in reports for text in report.warnings),
            *split_warnings(record, split, reports),
        ),
        notes=tuple(conversion_notes(reports)),
        shapes=tuple(report.shape for report in reports),
        image_type=_image_type(record, reports),
    )


def _image_type(record, reports):
    """Returns the smallest type that holds all images, in 0-255."""
    dtypes = {r.infos[kind].dtype for r in reports for kind in ("rgb", "sar") if kind in r.infos}
    unscaled = record.rgb_scale == record.sar_scale == 1
    return "uint8" if unscaled and dtypes == {"uint8"} else "float32"


def _split_digest(record, split, tiles, crop_size, skip):
    """Returns a text that changes with the files of a split, and with the arguments of the check.

    It covers sizes and times of all files in the split's folders, side files included. None if a
    tile is a VRT, whose parts may change unnoticed.
    """
    if any(path.suffix.lower() == ".vrt" for tile in tiles for path in tile.files.values()):
        return None
    files = []
    for kind in KINDS:
        folder = record.folder / split / kind
        for entry in sorted(os.scandir(folder), key=lambda e: e.name) if folder.is_dir() else ():
            try:
                status = entry.stat()
            except OSError:  # a broken link; the check names it if it matters
                continue
            files.append((kind, entry.name, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    names = [tile.name for tile in tiles]
    content = (VERSION, GDAL_VERSION, record, names, tiles[0], crop_size, skip, files)
    return hashlib.blake2b(repr(content).encode(), digest_size=16).hexdigest()


def _read(path, key):
    """Returns the `SplitSummary` kept under `key`, or None."""
    try:
        kept = read_json(path)
        if kept["key"] != key:
            return None
        return SplitSummary(**{name: _tuples(value) for name, value in kept["summary"].items()})
    except (OSError, ValueError, TypeError, KeyError):  # absent, damaged or of another version
        return None


def _tuples(value):
    """Returns a value from JSON with tuples for lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
