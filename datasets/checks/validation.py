"""Checks of input files, before anything is computed from them."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from datasets.checks.headers import GSD_TOLERANCE, check_headers
from datasets.checks.split_warnings import split_warnings
from datasets.rasters.reading import RasterError
from datasets.tiles.folders import DataError, Tile
from datasets.tiles.labels import LabelError
from datasets.tiles.samples import read_tile_window

LOWEST, HIGHEST = -100.0, 1000.0  # metres above ground, beyond which a height is doubted
ROUNDING = 1  # level by which a scaled photo may leave 0-255: 65535 / 256 is 255.996
BLOCK_PIXELS = 2_000_000  # of a large tile in memory at a time, per thread
MOST_THREADS = 16


@dataclass(frozen=True)
class SplitSummary:
    """What a split holds.

    Attributes:
        split: "train", "valid" or "test".
        tiles: number of tiles.
        gsd: metres per pixel: the record's, or else the median of the tiles'.
        mean_height: metres, over all valid pixels; NaN if there are none.
        valid_pixels: pixels with image and height.
        class_counts: pixels of each class index; () without classes.
        unusable: names of the tiles that were left out.
        warnings: texts on files that are usable but strange.
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
    shapes: tuple[tuple[int, int], ...]
    image_type: str


@dataclass
class TileReport:
    """What the check of one tile found.

    Attributes:
        tile: `datasets.tiles.folders.Tile`.
        problems: texts on files that cannot be used.
        warnings: texts on files that are usable but strange.
        infos: dict of kind to `RasterInfo`, as far as headers could be read.
        shape: (rows, columns) of the image; (0, 0) if there are problems with the headers.
        gsd: metres per pixel; None without a georeference.
        height_sum: metres, over the valid pixels.
        extremes: lowest and highest height, metres.
        valid_pixels: pixels with image and height.
        class_counts: int (classes,), pixels of each class index; 0 before any are read.
        watcher: what the function `watch` of `check_tiles` made; None without one.
    """

    tile: Tile
    problems: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
    infos: dict = field(default_factory=dict)
    shape: tuple = (0, 0)
    gsd: float | None = None
    height_sum: float = 0.0
    extremes: tuple = (math.inf, -math.inf)
    valid_pixels: int = 0
    class_counts: np.ndarray | int = 0
    watcher: object = None


def check_split(record, split, tiles, crop_size, progress=None, skip=False):
    """Reads every file of a split once and checks that it can be used.

    Args:
        record: `datasets.records.record.Record`.
        split: "train", "valid" or "test", for messages.
        tiles: sequence of `datasets.tiles.folders.Tile`, from `list_tiles`.
        crop_size: pixels; smaller tiles are an error.
        progress: function (tiles done, tiles in all), called after each tile; or None.
        skip: bool, True = tiles that cannot be used are left out, with a warning each.

    Returns:
        `SplitSummary`.

    Raises:
        DataError: if any file is not usable; lists up to 10 problems of all tiles.
    """
    reports = []
    for report in check_tiles(record, tiles, crop_size):
        reports.append(report)
        if progress:
            progress(len(reports), len(tiles))
    bad = [report for report in reports if report.problems] if skip else []
    used = [report for report in reports if not (skip and report.problems)]
    if problems := list_problems(record, used or reports):
        raise DataError(_problem_list(record, split, problems))
    return _summary(record, split, used, bad)


def check_tiles(record, tiles, crop_size, watch=None):
    """Reads every file of the tiles once, several tiles at a time.

    Args:
        record: `datasets.records.record.Record`.
        tiles: sequence of `datasets.tiles.folders.Tile`.
        crop_size: pixels; a smaller tile is a problem.
        watch: function (tile, (rows, columns)) -> object whose method `add` is called with the
            first row and the dict of `read_tile_window` of each block of whole rows, from the top.

    Yields:
        `TileReport` of each tile, in their order.
    """
    threads = min(len(os.sched_getaffinity(0)), MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda tile: _check_tile(tile, record, crop_size, watch), tiles)


def list_problems(record, reports):
    """Lists why tiles cannot be used together.

    Args:
        record: `datasets.records.record.Record`.
        reports: sequence of the `TileReport`s of a split.

    Returns:
        list of texts that name the files; empty if all can be used.
    """
    problems = [problem for report in reports for problem in report.problems]
    # A tile with problems of its own may show no gsd: judge the split once its tiles are right.
    problems = problems or _split_gsd_problems(record, reports)
    if not problems and not any(report.valid_pixels for report in reports):
        problems = ["no tile has a pixel with both image and height. See their nodata values."]
    return problems


def label_problems(record, split, class_counts):
    """Says why a split cannot be used where the semantic decoder, or mIoU, needs its labels.

    Args:
        record: `datasets.records.record.Record`.
        split: "train", "valid" or "test".
        class_counts: sequence of the pixels of each class.

    Returns:
        list of at most one text.
    """
    if sum(class_counts):
        return []
    return [
        f"{record.folder}: the record lists classes, but no pixel of the {split} split has one of "
        "them. Add the sem folder, or set sem_flag=false and eval_metric=rmse."
    ]


def _check_tile(tile, record, crop_size, watch):
    """Checks headers, then pixels, of the files of one tile."""
    report = TileReport(tile)
    report.infos, report.problems, report.warnings = check_headers(tile, record, crop_size)
    if report.problems:
        return report
    grid = report.infos["rgb"].grid
    report.shape = (grid.rows, grid.columns)
    report.gsd = next((info.gsd for info in report.infos.values() if info.gsd), None)
    report.watcher = watch(tile, report.shape) if watch else None
    try:
        _read_pixels(tile, record, report)
    except (RasterError, LabelError, DataError) as error:
        report.problems.append(str(error))
    return report


def _read_pixels(tile, record, report):
    """Reads a tile block by block into the report's sums."""
    rows, columns = report.shape
    block = max(1, BLOCK_PIXELS // columns)
    for row in range(0, rows, block):
        size = min(block, rows - row)
        sample = read_tile_window(tile, record, row, 0, size, columns)
        report.problems += _range_problems(tile, record, sample["image"])
        if report.problems:
            return
        heights = sample["heights"][sample["valid"]]
        report.valid_pixels += heights.size
        report.height_sum += float(heights.sum(dtype="float64"))
        low, high = report.extremes
        report.extremes = (heights.min(initial=low), heights.max(initial=high))
        classes = sample["classes"]
        report.class_counts += np.bincount(classes[classes >= 0], minlength=len(record.classes))
        if report.watcher:
            report.watcher.add(row, sample)
    low, high = report.extremes
    if report.valid_pixels and (low < LOWEST or high > HIGHEST):
        report.warnings.append(
            f"{tile.dsm}: heights from {low:g} to {high:g} m. Are they above ground, in metres, "
            "and is the nodata value declared?"
        )
    if not report.valid_pixels:
        report.warnings.append(
            f"{tile.dsm}: no pixel has both image and height; the tile is used for nothing."
        )


def _range_problems(tile, record, image):
    """Names photo or radar image whose values are not 0-255 after its scale."""
    problems = []
    for kind, bands in (("rgb", image[..., :3]), ("sar", image[..., 3:])):
        low, high = float(bands.min(initial=0)), float(bands.max(initial=0))
        if low > -ROUNDING and high < 255 + ROUNDING:
            continue
        key, scale = f"{kind}_scale", getattr(record, f"{kind}_scale")
        scaled = "" if scale == 1 else f" after {key} {scale:.3g}"
        problems.append(
            f"{getattr(tile, kind)}: values reach {low if low <= -ROUNDING else high:g}, expected "
            f"0-255{scaled}. Correct {key} in dataset.toml (0-255 = stored x {key}), or declare "
            "the nodata value."
        )
    return problems


def _split_gsd_problems(record, reports):
    """Checks that there is a gsd and that the tiles agree on it."""
    found = [(report.gsd, report.tile) for report in reports if report.gsd]
    if not found and not record.gsd:
        return [
            f"{record.folder}: no file has a georeference with a projection and the record no "
            "gsd. Give gsd, metres per pixel, in dataset.toml."
        ]
    if not found:
        return []
    low, high = (pick(found, key=lambda item: item[0]) for pick in (min, max))
    if high[0] / low[0] - 1 <= GSD_TOLERANCE:
        return []
    return [
        f"{high[1].rgb}: {high[0]:.3g} m per pixel, but {low[1].rgb} has {low[0]:.3g}. "
        "Resample the tiles to one gsd."
    ]


def _problem_list(record, split, problems):
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = [f"{record.folder}: {count} in the {split} split:", *problems[:10]]
    if len(problems) > 10:
        lines.append(f"... and {len(problems) - 10} more.")
    return "\n  ".join(lines)


def _summary(record, split, reports, bad):
    valid_pixels = sum(report.valid_pixels for report in reports)
    height_sum = sum(report.height_sum for report in reports)
    gsds = [report.gsd for report in reports if report.gsd]
    counts = np.sum([report.class_counts for report in reports], axis=0)
    return SplitSummary(
        split=split,
        tiles=len(reports),
        gsd=record.gsd or float(np.median(gsds)),
        mean_height=height_sum / valid_pixels if valid_pixels else float("nan"),
        valid_pixels=valid_pixels,
        class_counts=tuple(counts.tolist()) if record.classes else (),
        unusable=tuple(report.tile.name for report in bad),
        warnings=(
            *(f"left out, as bad_tiles is skip: {text}" for r in bad for text in r.problems),
            *(text for report in reports for text in report.warnings),
            *split_warnings(record, split, reports),
        ),
        shapes=tuple(report.shape for report in reports),
        image_type=_image_type(record, reports),
    )


def _image_type(record, reports):
    """Returns the smallest type that holds all images, in 0-255."""
    infos = [info for r in reports for kind, info in r.infos.items() if kind in ("rgb", "sar")]
    scales = {record.rgb_scale, record.sar_scale}
    small = scales == {1} and all(info.dtype == "uint8" for info in infos)
    return "uint8" if small else "float32"
