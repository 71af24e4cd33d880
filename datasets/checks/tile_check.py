"""Checks of the files of one tile: what their headers say, then every pixel."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from datasets.checks.tile_statistics import TileStatistics
from datasets.rasters.grids import missing_georeference, same_projection
from datasets.rasters.heights import HeightUnits, height_units
from datasets.rasters.reading import RasterError, RasterInfo, read_info
from datasets.rasters.references import check_references
from datasets.rasters.warping import oblong_pixels
from datasets.records.record import HEIGHT_LIMITS, Record
from datasets.tiles.folders import DataError, Tile
from datasets.tiles.labels import LabelError, counted
from datasets.tiles.samples import (
    band_message,
    expected_bands,
    limits_advice,
    read_tile_window,
    used_part,
)

GSD_TOLERANCE = 0.05  # share of the gsd
SHIFT_TOLERANCE = 0.5  # pixels
ROUNDING = 1  # level by which a scaled photo may leave 0-255: 65535 / 256 is 255.996
BLOCK_PIXELS = 2_000_000  # of a large tile in memory at a time, per thread
MOST_THREADS = 16


@dataclass
class TileReport:
    """What the check of one tile found.

    Attributes:
        tile: that was checked.
        problems: texts on files that cannot be used.
        warnings: texts on files that can be used but are suspicious.
        infos: header by kind, of the files whose header could be read.
        units: how heights are stored, by kind ("dsm", "dem"), of the files that can be used.
        shape: (rows, columns) of the image; (0, 0) if there are problems with the headers.
        gsd: metres per pixel; None without a georeference.
        height_sum: metres, over the valid pixels.
        extremes: lowest and highest height, metres.
        valid_pixels: pixels with image and height.
        class_counts: int (classes,), pixels of each class index; 0 before any are read.
        statistics: if `check_tiles` was asked for them and the headers have no problems.
    """

    tile: Tile
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    infos: dict[str, RasterInfo] = field(default_factory=dict)
    units: dict[str, HeightUnits] = field(default_factory=dict)
    shape: tuple[int, int] = (0, 0)
    gsd: float | None = None
    height_sum: float = 0.0
    extremes: tuple[float, float] = (math.inf, -math.inf)
    valid_pixels: int = 0
    class_counts: np.ndarray | int = 0
    statistics: TileStatistics | None = None


def check_tiles(
    record: Record, tiles: Sequence[Tile], crop_size: int, statistics: bool = False
) -> Iterator[TileReport]:
    """Reads every file of the tiles once, several tiles at a time.

    Args:
        record: of the data set.
        tiles: to check.
        crop_size: pixels; a smaller tile is a problem.
        statistics: whether the reports get `TileStatistics`.

    Yields:
        The report of each tile, in their order.
    """
    threads = min(len(os.sched_getaffinity(0)), MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda tile: _check_tile(tile, record, crop_size, statistics), tiles)


def _check_tile(tile, record, crop_size, statistics):
    """Checks the headers, then the pixels, of the files of one tile."""
    report = TileReport(tile)
    report.infos, report.problems, report.warnings = _check_headers(tile, record, crop_size)
    report.units, problems = _height_units(report.infos, record)
    report.problems += problems
    if report.problems:
        return report
    grid = report.infos["rgb"].grid
    report.shape = (grid.rows, grid.columns)
    report.gsd = next((info.gsd for info in report.infos.values() if info.gsd), None)
    report.statistics = TileStatistics(report.shape) if statistics else None
    try:
        _read_pixels(record, report)
    except (RasterError, LabelError, DataError) as error:
        report.problems.append(str(error))
    return report


def _height_units(infos, record):
    """Returns the `HeightUnits` by kind of file, and the problems with them."""
    units, problems = {}, []
    for kind in [kind for kind in ("dsm", "dem") if kind in infos]:
        try:
            units[kind] = height_units(infos[kind].path, record.height_scale)
        except RasterError as error:
            problems.append(str(error))
    return units, problems


def _check_headers(tile, record, crop_size):
    """Reads the headers of a tile's files and checks that they match each other and the record.

    Returns:
        (infos, problems, warnings), as in `TileReport`; the infos have the grid of the part that is
        used, if there are no problems.
    """
    infos, problems = {}, []
    for kind, path in tile.files.items():
        try:
            check_references(path, record.folder)
            infos[kind] = read_info(path)
        except RasterError as error:
            problems.append(str(error))
    problems = problems or [
        *_band_problems(infos, record),
        *_type_problems(infos, record),
        *_size_problems(infos, record, crop_size),
        *_place_problems(infos),
        *_gsd_problems(infos, record),
    ]
    if problems:
        return infos, problems, []
    used = {kind: replace(info, grid=used_part(info.grid, record)) for kind, info in infos.items()}
    return used, [], _place_warnings(infos)


def _band_problems(infos, record):
    expected = expected_bands(record)
    return [
        f"{info.path}: a palette image, expected {expected[kind]} bands of colours. Convert "
        "the file, for instance with gdal_translate -expand rgb."
        if info.palette and expected[kind] == 3
        else band_message(info.path, info.bands, expected[kind])
        for kind, info in infos.items()
        if info.bands != expected[kind]
    ]


def _type_problems(infos, record):
    """Refuses complex numbers, and images whose type does not match the record's scale."""
    problems = [
        f"{info.path}: pixels are {info.dtype}, expected real numbers. Convert the file."
        for info in infos.values()
        if info.dtype.startswith("complex")
    ]
    for kind in [kind for kind in ("rgb", "sar") if kind in infos]:
        info, key = infos[kind], f"{kind}_scale"
        scale = getattr(record, key)
        if info.dtype.startswith("float") and scale == 1:
            problems.append(
                f"{info.path}: pixels are {info.dtype}, so their range is not known. "
                f"Give {key} in dataset.toml (0-255 = stored x {key})."
            )
        if info.dtype in ("uint8", "int8") and scale < 1:
            problems.append(
                f"{info.path}: pixels are {info.dtype}, but {key} {scale:.3g} makes "
                f"0-{255 * scale:.3g} of 0-255. Set {key} = 1 in dataset.toml, or use "
                "the files with more bits that the scale is for."
            )
    return problems


def _size_problems(infos, record, crop_size):
    image = infos["rgb"]
    problems = [
        f"{info.path}: {_size(info.grid)}, but {image.path} has {image.grid.rows} x "
        f"{image.grid.columns}. Put both on one grid."
        for info in infos.values()
        if (info.grid.rows, info.grid.columns) != (image.grid.rows, image.grid.columns)
    ]
    try:
        grid = used_part(image.grid, record)
    except DataError as error:
        return [*problems, f"{image.path}: {error}"]
    if min(grid.rows, grid.columns) < crop_size:
        part = " in the middle (centre_crop)" if record.centre_crop else ""
        problems.append(
            f"{image.path}: {_size(grid)}{part} is smaller than crop_size {crop_size}. "
            "Lower crop_size or remove the tile."
        )
    return problems


def _size(grid):
    return f"{grid.rows} x {grid.columns} pixels (rows x columns)"


def _place_problems(infos):
    """Compares the georeference of each file with that of the photo, if both have one."""
    image = infos["rgb"]
    placed = [info for info in infos.values() if info.grid.geotransform is not None]
    if oblong := [text for info in placed if (text := oblong_pixels(info))]:
        return oblong[:1]  # of one tile, whose files are alike
    shifts = [(_shift(image.grid, info.grid), info) for info in placed if image in placed]
    return [
        f"{info.path}: its georeference is {shift:.1f} pixels off that of {image.path}; "
        f"{SHIFT_TOLERANCE} are allowed. Warp both to one grid."
        for shift, info in shifts
        if shift > SHIFT_TOLERANCE
    ]


def _place_warnings(infos):
    """Names files that are not rectified, or at the photo's coordinates in another projection."""
    image = infos["rgb"]
    loose = unrectified(infos.values())
    return [*([loose] if loose else []), *_other_projections(infos, image)]


def unrectified(infos: Iterable[RasterInfo]) -> str:
    """Names the first file that control points or RPCs place, and what to do; "" = none does."""
    for info in infos:
        grid = info.grid
        if grid.geotransform is None and (grid.control_points or grid.rpcs):
            return f"{info.path} {missing_georeference(grid)}."
    return ""


def _other_projections(infos, image):
    return [
        f"{info.path}: its projection differs from that of {image.path}, but its coordinates are "
        "the same. Is it the same place?"
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
    return [
        f"{info.path}: its georeference gives {info.gsd:.3g} m per pixel, but the record of "
        f"{record.name} says gsd = {record.gsd:.3g}. Correct the gsd, or the projection of the "
        "file (its unit, metres, feet or degrees, is taken into account)."
        for info in infos.values()
        if info.gsd and record.gsd and abs(info.gsd / record.gsd - 1) > GSD_TOLERANCE
    ]


def _read_pixels(record, report):
    """Reads a tile block by block into the report's sums."""
    tile, (rows, columns) = report.tile, report.shape
    block = max(1, BLOCK_PIXELS // columns)
    beyond = 0
    for row in range(0, rows, block):
        sample = read_tile_window(tile, record, row, 0, min(block, rows - row), columns)
        report.problems += _range_problems(tile, record, sample["image"])
        if report.problems:
            return
        heights = sample["heights"][sample["valid"]]
        report.valid_pixels += heights.size
        report.height_sum += float(heights.sum(dtype="float64"))
        low, high = report.extremes
        report.extremes = (heights.min(initial=low), heights.max(initial=high))
        beyond += _count_beyond(heights, record)
        classes = sample["classes"]
        report.class_counts += np.bincount(classes[classes >= 0], minlength=len(record.classes))
        if report.statistics:
            report.statistics.add(row, sample)
    low, high = report.extremes
    if not report.valid_pixels:
        report.warnings.append(
            f"{tile.dsm}: no pixel has both image and height; the tile is not used at all."
        )
    if beyond:
        report.problems.append(
            f"{tile.dsm}: {counted(beyond, 'height')} of {report.valid_pixels} beyond "
            f"{HEIGHT_LIMITS[0]:g} to {HEIGHT_LIMITS[1]:g} m above ground; they range from {low:g} "
            f"to {high:g} m. {limits_advice()}"
        )


def _count_beyond(heights, record):
    """Returns how many valid heights cannot be true; none if the record has limits of its own."""
    if record.height_limits is not None:
        return 0
    low, high = HEIGHT_LIMITS
    return int(((heights < low) | (heights > high)).sum())


def _range_problems(tile, record, image):
    """Names the photo or radar image if its values are not 0-255 after scaling."""
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
