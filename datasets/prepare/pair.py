"""Any pair of large rasters, a photo and heights, as tiles on one grid."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from datasets.prepare.cutting import cut_windows
from datasets.prepare.record_file import USUAL_CROP, fitting_crop
from datasets.prepare.running import Job, Plan
from datasets.prepare.splitting import split_by_area
from datasets.prepare.tile_files import Pixels, PrepareError
from datasets.rasters.grids import part_of_grid
from datasets.rasters.reading import (
    height_unit,
    pixel_size,
    read_info,
    sample_values,
    vertical_datum,
)
from datasets.rasters.warping import common_grid, smooth_method, warp, warp_heights

# Metres above any sea level or ellipsoid that land and buildings can have; beyond lies nodata.
LOWEST, HIGHEST = -1000.0, 10000.0
ABOVE_GROUND = 50.0  # metres; a median beyond that is hardly a height above ground
WHOLE_NUMBERS = ("uint8", "uint16", "uint32", "int8", "int16", "int32")


@dataclass(frozen=True)
class Rasters:
    """The files of a pair and how to read them.

    Attributes:
        image: photo; surface: heights of the top surface, or above ground if terrain is None;
            terrain: bare earth, or None; labels: codes or colours, or None.
        bands: three band numbers of the photo; None = it has three.
        height_scale: metres = stored x height_scale, of surface and terrain.
        height_nodata: stored height of surface and terrain that means no data, besides what
            they declare; or None.
        limits: lowest and highest metres of surface and terrain; what lies beyond has no data.
            None = it is an error.
        binary: codes that become 1, all others 0; () = codes stay.
    """

    image: str
    surface: str
    terrain: str | None = None
    labels: str | None = None
    bands: tuple | None = None
    height_scale: float = 1.0
    height_nodata: float | None = None
    limits: tuple | None = None
    binary: tuple = ()

    @property
    def files(self):
        """Files that are given, the photo first."""
        return [f for f in (self.image, self.surface, self.terrain, self.labels) if f]


def plan_pair(rasters, folder, identity, record, cut):
    """Plans the tiles of a pair of rasters.

    Args:
        rasters: `Rasters`.
        folder: where to.
        identity: dict of what the tiles depend on.
        record: keys of dataset.toml; gsd and, for small tiles, crop_size are added.
        cut: dict of gsd, tile, overlap, least_valid, splits and seed.

    Returns:
        `Plan`.

    Raises:
        PrepareError, RasterError: if a file cannot be used.
        ValueError: if the area is too small or the shares of the splits are wrong.
    """
    check_files(rasters)
    grid = common_grid(rasters.files, cut["gsd"])
    size = cut["tile"]
    windows = cut_windows(grid, size, cut["overlap"], "the common area of the files")
    rows, columns = (sorted({window[axis] for window in windows.values()}) for axis in (0, 1))
    split_of = split_by_area(rows, columns, size, cut["splits"], cut["seed"])
    jobs = [
        Job(
            split_of[window[:2]],
            end.strip("_"),
            partial(read_pair, rasters, part_of_grid(grid, *window)),
            rasters.labels is not None,
        )
        for end, window in windows.items()
        if window[:2] in split_of
    ]
    gaps = len(windows) - len(jobs)
    notes = [f"{gaps} tiles lie in the gaps between splits"]
    notes += datum_notes(rasters) + _height_notes(rasters)
    record = {**record, "gsd": round(pixel_size(grid), 6), **fitting_crop(size, USUAL_CROP)}
    return Plan(Path(folder), identity, jobs, record, cut["least_valid"], notes)


def read_pair(rasters, grid):
    """Reads the rasters of a pair on the grid of a tile.

    Args:
        rasters: `Rasters`.
        grid: `datasets.rasters.reading.Grid` of the tile.

    Returns:
        `Pixels`.

    Raises:
        RasterError: if a file cannot be read.
        PrepareError: if heights are impossible and the pair has no limits.
    """
    image, has_image = warp(rasters.image, grid, smooth_method(rasters.image, grid), rasters.bands)
    heights = _heights(rasters, rasters.surface, grid)
    if rasters.terrain:
        heights = heights - _heights(rasters, rasters.terrain, grid)
    labels = has_label = None
    if rasters.labels:
        labels, has_label = warp(rasters.labels, grid, "nearest")
        labels = binary_labels(labels, rasters.binary)
    return Pixels(image, has_image, heights.astype("float32"), labels, has_label, grid)


def binary_labels(labels, codes):
    """Returns 1 where a label is one of the codes and 0 elsewhere; labels as they are without.

    Args:
        labels: array (rows, columns, 1 or 3).
        codes: numbers or (red, green, blue); () = none.
    """
    if not codes:
        return labels
    wanted = [np.all(labels == np.array(code), axis=-1, keepdims=True) for code in codes]
    return np.any(wanted, axis=0).astype("uint8")


def check_files(rasters):
    """Raises PrepareError for files that are of the wrong kind."""
    _check_image(read_info(rasters.image), rasters.bands)
    for path in filter(None, (rasters.surface, rasters.terrain)):
        info = read_info(path)
        if info.bands != 1:
            raise PrepareError(f"{path}: {info.bands} bands, expected 1 of heights.")
        if rasters.limits is None:
            values = sample_values(path, rasters.height_nodata) * rasters.height_scale
            _check_heights(path, values)
    if rasters.labels:
        info = read_info(rasters.labels)
        if info.dtype not in WHOLE_NUMBERS or info.bands not in (1, 3):
            raise PrepareError(
                f"{rasters.labels}: {info.bands} bands of {info.dtype}, expected 1 band of codes "
                "or 3 of colours, whole numbers. Convert it, for instance with "
                "gdal_translate -ot Byte."
            )


def height_scale_of(paths, given):
    """Returns metres per stored height.

    Args:
        paths: files of heights.
        given: the scale that the user gives, or None.

    Raises:
        PrepareError: if the files declare units other than the metre and no scale is given, or
            units that differ.
    """
    units = {str(path): height_unit(path) for path in paths}
    said = ", ".join(f"{path}: {unit:.6g} m" for path, unit in units.items() if unit)
    declared = {unit for unit in units.values() if unit}
    if len(declared) > 1:
        raise PrepareError(
            f"the files declare different units of height ({said}). Bring them to one unit, for "
            "instance with gdal_calc.py."
        )
    if given is None and declared - {1.0}:
        raise PrepareError(
            f"the unit of height that is declared is not the metre ({said}). Give "
            f"--height_scale={declared.pop():.6g}, or --height_scale=1 if heights are metres."
        )
    return 1.0 if given is None else given


def datum_notes(rasters):
    """Compares the vertical datums of surface and terrain.

    Returns:
        list of texts for the summary.

    Raises:
        PrepareError: if both are declared and differ.
    """
    if not rasters.terrain:
        return []
    datums = {path: vertical_datum(path) for path in (rasters.surface, rasters.terrain)}
    said = ", ".join(f"{path}: {datum or 'none'}" for path, datum in datums.items())
    declared = set(datums.values()) - {None}
    if len(declared) > 1:
        raise PrepareError(
            f"surface and terrain declare different vertical datums ({said}), so their difference "
            "is no height above ground. Bring both to one, for instance with gdalwarp -t_srs."
        )
    if declared and None in datums.values():
        return [f"warning: only one file declares a vertical datum ({said}); they must be the same"]
    return []


def _check_image(info, bands):
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


def _heights(rasters, path, grid):
    """Returns float64 (rows, columns), metres; NaN = no data."""
    usable = partial(_usable, rasters, path)
    stored = warp_heights(path, grid, smooth_method(path, grid), usable)
    return stored.astype("float64") * rasters.height_scale


def _usable(rasters, path, stored, valid):
    """Returns which stored heights may be interpolated: a sentinel would reach its neighbours."""
    if rasters.height_nodata is not None:
        valid = valid & (stored != rasters.height_nodata)
    metres = stored.astype("float64") * rasters.height_scale
    if rasters.limits is None:
        _check_heights(path, metres[valid])
        return valid
    return valid & (metres >= rasters.limits[0]) & (metres <= rasters.limits[1])


def _check_heights(path, metres):
    """Raises PrepareError for metres that no place on earth has."""
    wrong = metres[(metres < LOWEST) | (metres > HIGHEST)]
    if wrong.size:
        raise PrepareError(
            f"{path} has a height of {wrong[0]:g} m, expected {LOWEST:g} to {HIGHEST:g} m. If that "
            "stands for no data, give --height_nodata=<stored value>; if heights are not metres, "
            "--height_scale."
        )


def _height_notes(rasters):
    """Returns a note if heights look like those above the sea, but no terrain is taken off."""
    if rasters.terrain:
        return []
    values = sample_values(rasters.surface, rasters.height_nodata) * rasters.height_scale
    middle = float(np.median(values)) if values.size else 0.0
    if middle <= ABOVE_GROUND:
        return []
    return [
        f"warning: half of the heights are above {middle:.0f} m, which looks like metres above the "
        "sea. Heights above ground are needed: give the bare earth as --terrain"
    ]
