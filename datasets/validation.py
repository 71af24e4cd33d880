"""Checks of input files, before anything is computed from them."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from datasets.folders import DataError
from datasets.labels import LabelError
from datasets.rasters.projections import same_projection
from datasets.rasters.reading import RasterError, read_info
from datasets.samples import band_message, expected_bands, read_tile_window

GSD_TOLERANCE = 0.05  # share of the gsd
SHIFT_TOLERANCE = 0.5  # pixels
LOWEST, HIGHEST = -100.0, 1000.0  # metres above ground, beyond which a height is doubted
BLOCK_PIXELS = 2_000_000  # of a large tile in memory at a time, per thread


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
        warnings: texts on files that are usable but strange.
        shapes: (rows, columns) of each tile.
    """

    split: str
    tiles: int
    gsd: float
    mean_height: float
    valid_pixels: int
    class_counts: tuple[int, ...]
    warnings: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]


@dataclass
class _TileReport:
    """What the check of one tile found."""

    problems: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
    shape: tuple = (0, 0)
    gsd: float | None = None
    height_sum: float = 0.0  # metres
    extremes: tuple = (math.inf, -math.inf)  # lowest and highest height, metres
    valid_pixels: int = 0
    class_counts: np.ndarray | int = 0  # (classes,)


def check_split(record, split, tiles, crop_size, progress=None):
    """Reads every file of a split once and checks that it can be used.

    Args:
        record: `datasets.records.Record`.
        split: "train", "valid" or "test", for messages.
        tiles: sequence of `datasets.folders.Tile`, from `list_tiles`.
        crop_size: pixels; smaller tiles are an error.
        progress: function (tiles done, tiles in all), called after each tile; or None.

    Returns:
        `SplitSummary`.

    Raises:
        DataError: if any file is not usable; lists up to 10 problems of all tiles.
    """
    reports = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for report in pool.map(lambda tile: _check_tile(tile, record, crop_size), tiles):
            reports.append(report)
            if progress:
                progress(len(reports), len(tiles))
    problems = [problem for report in reports for problem in report.problems]
    # A tile with problems of its own may show no gsd: judge the split once its tiles are right.
    problems = problems or _split_gsd_problems(record, tiles, reports)
    if not problems and not any(report.valid_pixels for report in reports):
        problems = ["no tile has a pixel with both image and height. See their nodata values."]
    if problems:
        raise DataError(_problem_list(record, split, problems))
    return _summary(record, split, reports)


def _check_tile(tile, record, crop_size):
    """Checks headers, then pixels, of the files of one tile."""
    report = _TileReport()
    infos = {}
    for kind in ("rgb", "dsm", "sem"):
        if path := getattr(tile, kind):
            try:
                infos[kind] = read_info(path)
            except RasterError as error:
                report.problems.append(str(error))
    if not report.problems:
        report.shape = (infos["rgb"].grid.rows, infos["rgb"].grid.columns)
        report.gsd = next((info.gsd for info in infos.values() if info.gsd), None)
        report.problems = [
            *_band_problems(infos, record),
            *_image_type_problems(infos["rgb"], record),
            *_size_problems(infos, crop_size),
            *_place_problems(infos),
            *_gsd_problems(infos, record),
        ]
    if not report.problems:
        report.warnings += _place_warnings(infos)
        try:
            _read_pixels(tile, record, report)
        except (RasterError, LabelError) as error:
            report.problems.append(str(error))
    return report


def _band_problems(infos, record):
    expected = expected_bands(record)
    return [
        band_message(info.path, info.bands, expected[kind])
        for kind, info in infos.items()
        if info.bands != expected[kind]
    ]


def _image_type_problems(info, record):
    if record.rgb_scale != 1 or not info.dtype.startswith(("float", "complex")):
        return []
    return [
        f"{info.path}: pixels are {info.dtype}, so their range is not known. "
        "Give rgb_scale in dataset.toml (0-255 = stored x rgb_scale)."
    ]


def _size_problems(infos, crop_size):
    grid = infos["rgb"].grid
    problems = [
        f"{info.path}: {info.grid.rows} x {info.grid.columns} pixels (rows x columns), but "
        f"{infos['rgb'].path} has {grid.rows} x {grid.columns}. Put both on one grid."
        for info in infos.values()
        if (info.grid.rows, info.grid.columns) != (grid.rows, grid.columns)
    ]
    if min(grid.rows, grid.columns) < crop_size:
        problems.append(
            f"{infos['rgb'].path}: {grid.rows} x {grid.columns} pixels (rows x columns) is "
            f"smaller than crop_size {crop_size}. Lower crop_size or remove the tile."
        )
    return problems


def _place_problems(infos):
    """Compares the place of each file with that of rgb, where both have one."""
    image = infos["rgb"]
    placed = [info for info in infos.values() if info.grid.geotransform is not None]
    shifts = [(_shift(image.grid, info.grid), info) for info in placed if image in placed]
    return [
        f"{info.path}: its georeference is {shift:.1f} pixels off that of {image.path}, "
        f"allowed are {SHIFT_TOLERANCE}. Warp both to one grid."
        for shift, info in shifts
        if shift > SHIFT_TOLERANCE
    ]


def _place_warnings(infos):
    """Names files at the photo's coordinates whose projection is another one."""
    image = infos["rgb"]
    return [
        f"{info.path}: its projection is not that of {image.path}, though the coordinates are. "
        "Is it the same place?"
        for info in infos.values()
        if not same_projection(info.grid.projection, image.grid.projection)
    ]


def _shift(grid, other):
    """Returns how far pixels lie apart on two grids: the largest of three corners, in pixels."""
    corners = np.array([(1, 0, 0), (1, grid.columns, 0), (1, 0, grid.rows)])
    place, other_place = (np.reshape(g.geotransform, (2, 3)).T for g in (grid, other))
    offsets = corners @ (other_place - place)  # map units
    return float(np.linalg.norm(offsets @ np.linalg.inv(place[1:]), axis=1).max())


def _gsd_problems(infos, record):
    if not record.gsd:
        return []
    return [
        f"{info.path}: its georeference gives {info.gsd:.3g} m per pixel, the record of "
        f"{record.name} says gsd = {record.gsd:.3g}. Correct the gsd or the file's projection "
        "(its unit, metres, feet or degrees, is taken into account)."
        for info in infos.values()
        if info.gsd and abs(info.gsd / record.gsd - 1) > GSD_TOLERANCE
    ]


def _read_pixels(tile, record, report):
    """Reads a tile block by block into the report's sums."""
    rows, columns = report.shape
    block = max(1, BLOCK_PIXELS // columns)
    for row in range(0, rows, block):
        size = min(block, rows - row)
        sample = read_tile_window(tile, record, row, 0, size, columns)
        brightest = sample["image"].max()
        if record.rgb_scale == 1 and brightest > 255:
            report.problems.append(
                f"{tile.rgb}: values reach {brightest:g}, expected 0-255. "
                "Give rgb_scale in dataset.toml (0-255 = stored x rgb_scale)."
            )
            return
        heights = sample["heights"][sample["valid"]]
        report.valid_pixels += heights.size
        report.height_sum += float(heights.sum(dtype="float64"))
        low, high = report.extremes
        report.extremes = (heights.min(initial=low), heights.max(initial=high))
        classes = sample["classes"]
        report.class_counts += np.bincount(classes[classes >= 0], minlength=len(record.classes))
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


def _split_gsd_problems(record, tiles, reports):
    """Checks that there is a gsd and that the tiles agree on it."""
    found = [(r.gsd, tile) for r, tile in zip(reports, tiles, strict=True) if r.gsd]
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


def _summary(record, split, reports):
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
        warnings=tuple(text for report in reports for text in report.warnings),
        shapes=tuple(report.shape for report in reports),
    )
