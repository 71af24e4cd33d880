"""Any pair of large rasters, a photo and heights, as tiles on one grid."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from datasets.prepare.preparation import Job, PreparationPlan, fitting_crop
from datasets.prepare.sources import SourceFile, mark_files
from datasets.prepare.splitting import Window, cut_windows, split_by_area
from datasets.prepare.tile_files import MOST_CODES, NO_LABEL, PrepareError, TilePixels
from datasets.rasters.grids import part_of_grid
from datasets.rasters.heights import HeightUnits, height_units, vertical_datum
from datasets.rasters.reading import (
    Grid,
    RasterInfo,
    file_list,
    nodata_code,
    pixel_size,
    read_info,
    read_labels,
    sample_values,
)
from datasets.rasters.references import check_references
from datasets.rasters.vectors import (
    Polygons,
    burn_polygons,
    is_vector,
    read_polygons,
    vector_files,
)
from datasets.rasters.warping import common_grid, smooth_method, warp, warp_heights, warp_labels
from datasets.records.record import HEIGHT_LIMITS, SURFACE_LIMITS
from datasets.tiles.labels import counted

SAMPLED_ROWS = 64  # of labels, to estimate how many have the nodata value
ABOVE_GROUND = 50.0  # metres; a higher median is hardly one of heights above ground
WHOLE_NUMBERS = ("uint8", "uint16", "uint32", "int8", "int16", "int32")
# Options that the tiles depend on; the files are noted apart.
SETTINGS = (
    "gsd bands rgb_scale tile overlap least_valid splits seed building height_scale height_nodata "
    "height_limits label_layer label_attribute"
).split()


@dataclass(frozen=True)
class Rasters:
    """The files of a pair and how to read them.

    Attributes:
        image: photo; surface: heights of the top surface, or above ground if terrain is None;
            terrain: bare earth, or None; labels: codes, colours or polygons, or None.
        bands: three band numbers of the photo; None = it has three.
        height_scale: metres = stored x height_scale, of surface and terrain; None = as each of
            them says.
        height_nodata: stored height of surface and terrain that means nodata, besides what they
            declare; or None.
        limits: lowest and highest metres above ground; what lies beyond is nodata. None = it is an
            error beyond HEIGHT_LIMITS.
        binary: codes that become 1, all others 0; () = codes stay.
        polygons: what labels hold if they are a vector file, in the CRS of the tiles; else None.
    """

    image: str
    surface: str
    terrain: str | None = None
    labels: str | None = None
    bands: tuple[int, ...] | None = None
    height_scale: float | None = None
    height_nodata: float | None = None
    limits: tuple[float, float] | None = None
    binary: tuple = ()
    polygons: Polygons | None = None

    @property
    def heights(self) -> list[str]:
        """The files of heights that are given, the surface first."""
        return [self.surface, self.terrain] if self.terrain else [self.surface]

    @property
    def listed(self) -> frozenset:
        """Label codes that classes are known of: 0 is the others, beside those of buildings."""
        return frozenset({*self.binary, 0}) if self.binary else frozenset()

    @property
    def stored_limits(self) -> tuple[float, float]:
        """Lowest and highest metres in the files of heights."""
        return SURFACE_LIMITS if self.terrain else self.limits or HEIGHT_LIMITS


def plan_pair(options: argparse.Namespace) -> PreparationPlan:
    """Plans the tiles of the rasters that a user names.

    Args:
        options: has the options of the command pair.

    Raises:
        PrepareError, RasterError: if a file cannot be used, the area is too small or the shares of
            the splits are impossible.
    """
    files = {name: getattr(options, name) for name in ("image", "surface", "terrain", "labels")}
    check_label_options(options)
    given = {name: path for name, path in files.items() if path}
    for name, path in given.items():
        check_file(Path(path), may_be_vector=name == "labels")
    rasters = Rasters(
        **files,
        bands=options.bands,
        height_scale=options.height_scale,
        height_nodata=options.height_nodata,
        limits=options.height_limits,
        binary=options.building,
    )
    settings = {name: getattr(options, name) for name in SETTINGS}
    record = _record_keys(options, [Path(path).name for path in given.values()])
    check_pair(rasters)
    covering = [p for n, p in given.items() if n != "labels" or not _has_polygons(options)]
    grid = common_grid(covering, options.gsd)
    if _has_polygons(options):
        rasters = replace(rasters, polygons=label_polygons(options, grid))
    jobs, notes = _jobs_by_area(rasters, grid, options)
    gsd = cast(float, pixel_size(grid))  # a common grid is projected
    return PreparationPlan(
        options.folder,
        {"command": "pair", **{n: file_mark(path) for n, path in given.items()}, **settings},
        jobs,
        {**record, "gsd": round(gsd, 6), **fitting_crop(options.tile)},
        options.least_valid,
        [*notes, *_file_notes(rasters)],
    )


def _file_notes(rasters: Rasters) -> list[str]:
    """Returns what the summary says of the files."""
    heights = [*unit_notes(rasters), *datum_notes(rasters), *_height_notes(rasters)]
    return [*polygon_notes(rasters), *label_notes(rasters), *heights]


def _has_polygons(options: argparse.Namespace) -> bool:
    """Returns whether the labels are a vector file."""
    return bool(options.labels) and is_vector(options.labels)


def check_label_options(options: argparse.Namespace) -> None:
    """Raises PrepareError for options of labels that do not fit what is given as labels."""
    vector = _has_polygons(options)
    if options.building and not options.labels:
        raise PrepareError("building is given without labels. Give --labels, or leave it out.")
    if options.building and vector and not options.label_attribute:
        raise PrepareError(
            f"building is given, but every polygon of {options.labels} is a building without "
            "--label_attribute. Name the attribute that holds the codes, or leave building out."
        )
    for name in ("label_attribute", "label_layer"):
        if getattr(options, name) and not vector:
            raise PrepareError(
                f"{name} is given, but labels is {options.labels or 'not given'}, expected a "
                "vector file (GeoJSON, GeoPackage or Shapefile). Give one, or leave it out."
            )


def check_file(path: Path, may_be_vector: bool = False) -> None:
    """Checks that a file that the user names is there, and that GDAL may open it.

    What a VRT names may lie anywhere on this machine: the user names it, and large mosaics are
    kept where there is space. Networks and formats that name files in other ways are refused.

    Raises:
        PrepareError: if it is missing.
        RasterError: if it is no raster, or names something else than local files.
    """
    if not path.is_file():
        raise PrepareError(f"{path} is not a file. Check the path.")
    if not (may_be_vector and is_vector(path)):
        check_references(path, path.resolve().anchor)


def file_mark(path: str | Path) -> dict[str, object]:
    """Returns what identifies a raster or vector file from run to run, wherever it lies."""
    paths = vector_files(path) if is_vector(path) else file_list(path)
    parts = [SourceFile(Path(part).name, part) for part in paths]
    stat = Path(path).stat()
    mark = {"file": Path(path).name, "bytes": stat.st_size, "modified": stat.st_mtime_ns}
    return mark | ({"parts": mark_files(parts)} if len(parts) > 1 else {})


def _record_keys(options: argparse.Namespace, names: Iterable[str]) -> dict[str, object]:
    """Returns the keys of dataset.toml that options and file names give."""
    source = f"prepared from {', '.join(names)}"
    keys = {"name": options.folder.resolve().name, "source": source}
    if options.rgb_scale:
        keys["rgb_scale"] = options.rgb_scale
    elif read_info(options.image).dtype == "uint16":
        raise PrepareError(
            f"{options.image} is 16-bit. Give --rgb_scale, so that stored x rgb_scale is 0-255: "
            "0.00390625 if it uses all 16 bits."
        )
    if options.building or (_has_polygons(options) and not options.label_attribute):
        keys["building_code"] = 1
        keys["classes"] = [{"code": 0, "name": "other"}, {"code": 1, "name": "building"}]
    return keys


def label_polygons(options: argparse.Namespace, grid: Grid) -> Polygons:
    """Reads the polygons of the labels that overlap a grid.

    Args:
        options: with labels, label_layer, label_attribute and building.
        grid: of all tiles.

    Raises:
        PrepareError, VectorError, RasterError: if they cannot be label codes.
    """
    path, attribute = options.labels, options.label_attribute
    polygons = read_polygons(path, grid, options.label_layer, attribute, NO_LABEL - 1)
    codes = set(polygons.codes.tolist())
    if len(codes) > MOST_CODES:
        raise PrepareError(
            f"{path}: the attribute {attribute} has {len(codes)} different values, expected at "
            f"most {MOST_CODES} classes. Name the attribute that holds the class."
        )
    if options.building and not codes & set(options.building):
        raise PrepareError(
            f"building is {', '.join(map(str, options.building))}, but the attribute {attribute} "
            f"of {path} is {', '.join(map(str, sorted(codes)))} in the common area. Choose from "
            "these codes."
        )
    return polygons


def polygon_notes(rasters: Rasters) -> list[str]:
    """Returns what the summary says of labels that are polygons."""
    if rasters.polygons is None:
        return []
    codes = ", ".join(str(code) for code in sorted(set(rasters.polygons.codes.tolist())))
    count = counted(len(rasters.polygons.codes), "polygon")
    burnt = f"{count} of {rasters.labels} burnt in as code {codes}; 0 outside"
    return [burnt, *rasters.polygons.notes]


def label_notes(rasters: Rasters) -> list[str]:
    """Returns a note on the pixels of a raster of labels that have its declared nodata value.

    It is often 0, which is also the code of a class in many files.
    """
    if not rasters.labels or rasters.polygons:
        return []
    path, grid = rasters.labels, read_info(rasters.labels).grid
    nodata = nodata_code(path)
    if nodata is None or nodata in rasters.listed:
        return []
    rows = np.unique(np.linspace(0, grid.rows - 1, SAMPLED_ROWS).astype(int)).tolist()
    read = [read_labels(path, row, 0, 1, grid.columns, [nodata]) for row in rows]
    share = np.mean([np.all(codes == nodata, axis=-1) & valid for codes, valid in read])
    if share == 0:
        return []
    return [
        f"about {share:.1%} of {path} has its nodata value {nodata} and gets no label; if that is "
        f"the code of a class, run gdal_edit.py -unsetnodata {path} and prepare a new folder"
    ]


def _jobs_by_area(
    rasters: Rasters, grid: Grid, options: argparse.Namespace
) -> tuple[list[Job], list[str]]:
    """Returns the tiles of a grid in splits by area, and a note on the tiles between splits."""
    size = options.tile
    windows = cut_windows(grid, size, options.overlap, "the common area of the files")
    rows, columns = (sorted({window[axis] for window in windows.values()}) for axis in (0, 1))
    split_of = split_by_area(rows, columns, size, options.splits, options.seed)
    jobs = [
        pair_job(rasters, grid, window, split_of[window[:2]], end.strip("_"))
        for end, window in windows.items()
        if window[:2] in split_of
    ]
    return jobs, [f"{len(windows) - len(jobs)} tiles lie in the gaps between splits"]


def pair_job(rasters: Rasters, grid: Grid, window: Window, split: str, name: str) -> Job:
    """Returns the tile in a window of the grid."""
    return Job(
        split,
        name,
        partial(read_pair, rasters, part_of_grid(grid, *window)),
        has_labels=rasters.labels is not None,
    )


def read_pair(rasters: Rasters, grid: Grid) -> TilePixels:
    """Reads the rasters of a pair on the grid of a tile.

    Raises:
        RasterError: if a file cannot be read.
        PrepareError: if heights are impossible and the pair has no limits.
    """
    image = warp(rasters.image, grid, smooth_method(rasters.image, grid), rasters.bands)
    heights = _metres(rasters, rasters.surface, grid)
    if rasters.terrain:
        heights = heights - _metres(rasters, rasters.terrain, grid)
        heights = _within_limits(rasters, heights)
    labels = None
    if rasters.polygons:
        codes, has_label = burn_polygons(rasters.polygons, grid), np.ones(heights.shape, bool)
        labels = binary_labels(codes, rasters.binary), has_label
    elif rasters.labels:
        codes, has_label = warp_labels(rasters.labels, grid, rasters.listed)
        labels = binary_labels(codes, rasters.binary), has_label
    return TilePixels(image, heights.astype("float32"), labels, grid)


def binary_labels(labels: np.ndarray, codes: Sequence) -> np.ndarray:
    """Returns 1 where a label is one of the codes, else 0; without codes the labels as they are.

    Args:
        labels: (rows, columns, 1 or 3).
        codes: numbers or (red, green, blue).
    """
    if not codes:
        return labels
    wanted = [np.all(labels == np.array(code), axis=-1, keepdims=True) for code in codes]
    return np.any(wanted, axis=0).astype("uint8")


def check_pair(rasters: Rasters) -> None:
    """Raises PrepareError for files that are of the wrong kind."""
    _check_photo(read_info(rasters.image), rasters.bands)
    for path in rasters.heights:
        info = read_info(path)
        if info.bands != 1:
            raise PrepareError(f"{path}: {info.bands} bands, expected 1 of heights.")
        if rasters.limits is None:
            _check_metres(path, _sample_metres(rasters, path), rasters.stored_limits)
    if rasters.labels and not is_vector(rasters.labels):
        info = read_info(rasters.labels)
        if info.dtype not in WHOLE_NUMBERS or info.bands not in (1, 3):
            raise PrepareError(
                f"{rasters.labels}: {info.bands} bands of {info.dtype}, expected 1 band of codes "
                "or 3 of colours, whole numbers. Convert it, for instance with "
                "gdal_translate -ot Byte."
            )


def unit_notes(rasters: Rasters) -> list[str]:
    """Returns a text for each file of heights that declares something else than plain metres.

    Raises:
        RasterError: of `datasets.rasters.heights.height_units`.
    """
    notes = {path: height_units(path, rasters.height_scale).note for path in rasters.heights}
    return [f"{path}: {note}" for path, note in notes.items() if note]


def datum_notes(rasters: Rasters) -> list[str]:
    """Compares the vertical datums of surface and terrain; returns texts for the summary.

    Raises:
        PrepareError: if both are declared and differ.
    """
    datums = {path: vertical_datum(path) for path in rasters.heights if rasters.terrain}
    shown = ", ".join(f"{path}: {datum or 'none'}" for path, datum in datums.items())
    declared = set(datums.values()) - {None}
    if len(declared) > 1:
        raise PrepareError(
            f"surface and terrain declare different vertical datums ({shown}), so their difference "
            "is no height above ground. Bring both to one, for instance with gdalwarp -t_srs."
        )
    if declared and None in datums.values():
        return [
            f"warning: only one file declares a vertical datum ({shown}); they must be the same"
        ]
    return []


def _check_photo(info: RasterInfo, bands: Sequence[int] | None) -> None:
    """Raises PrepareError unless three 8-bit or 16-bit bands can be read."""
    if info.dtype not in ("uint8", "uint16"):
        raise PrepareError(
            f"{info.path} is {info.dtype}, expected uint8 or uint16. Convert it, for instance with "
            "gdal_translate -ot Byte -scale."
        )
    if bands is None and info.bands != 3:
        raise PrepareError(
            f"{info.path} has {info.bands} bands (alpha not counted), expected 3. Give those of "
            "red, green and blue, such as --bands=1,2,3."
        )
    if bands and not all(1 <= band <= info.bands for band in bands):
        raise PrepareError(
            f"bands is {', '.join(map(str, bands))}, expected three numbers from 1 to "
            f"{info.bands}, the bands of {info.path}."
        )


def _metres(rasters: Rasters, path: str, grid: Grid) -> np.ndarray:
    """Returns float64 (rows, columns), metres; NaN = nodata."""
    units = height_units(path, rasters.height_scale)
    usable = partial(_usable, rasters, path, units)
    stored = warp_heights(path, grid, smooth_method(path, grid), usable)
    return units.metres(stored)


def _usable(
    rasters: Rasters, path: str, units: HeightUnits, stored: np.ndarray, valid: np.ndarray
) -> np.ndarray:
    """Returns which stored heights may be interpolated: a sentinel would spoil its neighbours."""
    if rasters.height_nodata is not None:
        valid = valid & (stored != rasters.height_nodata)
    metres = units.metres(stored)
    if rasters.limits is None:
        _check_metres(path, metres[valid], rasters.stored_limits)
        return valid
    low, high = rasters.stored_limits
    return valid & (metres >= low) & (metres <= high)


def _within_limits(rasters: Rasters, heights: np.ndarray) -> np.ndarray:
    """Returns metres above ground, NaN beyond the limits of the pair.

    Raises:
        PrepareError: if the pair has none and some are impossible.
    """
    if rasters.limits is None:
        subject = f"the difference of {rasters.surface} and {rasters.terrain}"
        _check_metres(subject, heights[np.isfinite(heights)], HEIGHT_LIMITS)
        return heights
    low, high = rasters.limits
    return np.where((heights >= low) & (heights <= high), heights, np.nan)


def _sample_metres(rasters: Rasters, path: str) -> np.ndarray:
    """Returns some valid heights of a file, metres."""
    units = height_units(path, rasters.height_scale)
    return units.metres(sample_values(path, rasters.height_nodata))


def _check_metres(subject: str, metres: np.ndarray, limits: tuple[float, float]) -> None:
    """Raises PrepareError for valid heights that cannot be true."""
    low, high = limits
    wrong = metres[(metres < low) | (metres > high)]
    if wrong.size:
        raise PrepareError(
            f"{subject} has {counted(wrong.size, 'height')} of {metres.size} beyond {low:g} to "
            f"{high:g} m, such as {wrong[0]:g} m. If they stand for nodata, give --height_nodata="
            f"<stored value>, or --height_limits={HEIGHT_LIMITS[0]:g},{HEIGHT_LIMITS[1]:g}, beyond "
            "which heights above ground are nodata; if they are above the sea, --terrain; if they "
            "are not metres, --height_scale."
        )


def _height_notes(rasters: Rasters) -> list[str]:
    """Returns a note if heights look like those above the sea, but no terrain is subtracted."""
    values = np.zeros(0) if rasters.terrain else _sample_metres(rasters, rasters.surface)
    middle = float(np.median(values)) if values.size else 0.0
    if middle <= ABOVE_GROUND:
        return []
    return [
        f"warning: half of the heights are above {middle:.0f} m, which looks like metres above the "
        "sea. Heights above ground are needed: give the bare earth as --terrain"
    ]
