"""Rasters of any place, projection and resolution, brought onto one grid with GDAL."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from osgeo import gdal, gdal_array, osr

from datasets.rasters.grids import (
    horizontal_system,
    missing_georeference,
    new_dataset,
    part_of_grid,
    projection_wkt,
    same_projection,
)
from datasets.rasters.reading import (
    BROKEN,
    Grid,
    RasterError,
    RasterInfo,
    check_result,
    gdal_errors,
    grid_of,
    pixel_shear,
    pixel_sides,
    pixel_size,
    read_bands,
    read_info,
    read_labels,
    read_window,
)

MOST_COUNT = 2**31  # of rows or columns that GDAL can have
SNAP = 1e-6  # pixels: edges that differ by less are the same edge
MOST_PIXELS = 2**24  # read at once from a file, so that large tiles fit into memory
WARP_ERROR = 0.01  # pixels, of GDAL's interpolation between exactly transformed points
OBLONG = 0.01  # share by which the sides of a pixel may differ on the ground
UTM_LATITUDES = (-80.0, 84.0)  # degrees
PROBES = 21  # points along each side of a grid that are transformed to find its source pixels
MARGIN = 4  # pixels around those points, for interpolation
CURVATURE = 0.01  # fraction of the extent of those points, for edges that curve between them


def common_grid(paths: Sequence[str | Path], gsd: float | None = None) -> Grid:
    """Finds the grid that the first raster defines and all rasters cover.

    The first raster's own pixels are kept if it is projected and north-up with square pixels, and
    no `gsd` is given. Otherwise pixel edges lie on multiples of the pixel size, and a raster in
    degrees is taken to the UTM zone of its centre. The grid is the rectangle that all rasters
    share; where a raster is empty inside it, there is no data.

    Args:
        paths: files; the first one defines projection and resolution.
        gsd: metres per pixel; None = that of the first raster.

    Returns:
        A north-up grid in a projected CRS without vertical part.

    Raises:
        RasterError: if a file cannot be read or has no georeference or CRS, or if they share no
            pixel.
    """
    infos = [read_info(path) for path in paths]
    for info in infos:
        _check_place(info)
    projection = _working_projection(infos[0])
    left, top, step = _lattice(infos[0], projection, gsd)
    bounds = np.array([_bounds(info, projection) for info in infos])
    west, south = bounds[:, :2].max(axis=0).tolist()
    east, north = bounds[:, 2:].min(axis=0).tolist()
    edges = [(west - left) / step, (east - left) / step, (top - north) / step, (top - south) / step]
    if not all(abs(edge) < MOST_COUNT for edge in edges):
        raise RasterError(
            f"{', '.join(str(path) for path in paths)}: in pixels of {step:.3g}, their extents in "
            f"the CRS of the first one are {bounds.tolist()} (west, south, east, north). Check "
            "their georeferences, and the gsd."
        )
    first_column, last_column = math.ceil(edges[0] - SNAP), math.floor(edges[1] + SNAP)
    first_row, last_row = math.ceil(edges[2] - SNAP), math.floor(edges[3] + SNAP)
    if last_column <= first_column or last_row <= first_row:
        raise RasterError(
            f"{', '.join(str(path) for path in paths)} have no common area: their extents do not "
            "overlap by a pixel. Check the files and their coordinate reference systems."
        )
    corner = (left + first_column * step, step, 0.0, top - first_row * step, 0.0, -step)
    return Grid(last_row - first_row, last_column - first_column, corner, projection)


def warp(
    path: str | Path, grid: Grid, method: str, bands: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a photo or labels on another grid.

    A pixel has data if the source pixel below its centre has data ("average": any source pixel in
    it); values beside gaps are means over the source pixels with data. Which pixels have data is
    decided by `datasets.rasters.masks.valid_pixels` before anything is interpolated.

    Args:
        path: of a local file that GDAL can open.
        grid: north-up, with a projection.
        method: "nearest", "bilinear" or "average".
        bands: numbers (from 1, alpha not counted) of the bands to read; None = all but alpha.

    Returns:
        (pixels, valid): (rows, columns, bands) in the dtype and units of the file, 0 where not
        valid; bool (rows, columns).

    Raises:
        RasterError: if the file cannot be read.
    """
    return _warp(read_info(path), grid, method, partial(read_window, path, bands=bands))


def warp_labels(
    path: str | Path, grid: Grid, listed: Collection[int | tuple[int, ...]]
) -> tuple[np.ndarray, np.ndarray]:
    """Reads labels on another grid, each from the nearest pixel.

    Args:
        path, grid: as for `warp`.
        listed: as for `datasets.rasters.reading.read_labels`.

    Returns:
        (codes, has_label), as for `warp`.
    """
    return _warp(read_info(path), grid, "nearest", partial(read_labels, path, listed=listed))


def warp_dataset(
    dataset: gdal.Dataset, info: RasterInfo, grid: Grid, method: str, numbers: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Does what `warp` does, with an open file, whose decoded blocks stay in GDAL's cache.

    Args:
        dataset: the file; info: its header.
        grid: as for `warp`.
        method: "nearest", "bilinear", "cubic" or "average".
        numbers: of the bands to read, from 1; not alpha.
    """

    def read(row, column, rows, columns):
        return read_bands(dataset, (column, row, columns, rows), numbers)

    return _warp(info, grid, method, read)


def warp_heights(
    path: str | Path,
    grid: Grid,
    method: str,
    usable: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Reads heights on another grid, interpolated as fractions whatever the dtype of the file.

    Args:
        path, grid, method: as for `warp`.
        usable: function (stored, valid), both (rows, columns): the first band before
            interpolation, and what the file declares valid in it. Returns the pixels to use;
            None = all valid ones.

    Returns:
        float32 (rows, columns), units of the file; NaN where `warp` finds no data.

    Raises:
        RasterError: if the file cannot be read.
    """

    def read(*window):
        pixels, valid = read_window(path, *window)
        stored = pixels[..., 0]
        valid = usable(stored, valid) if usable else valid
        return np.where(valid, stored, 0).astype("float32")[..., None], valid

    heights, valid = _warp(read_info(path), grid, method, read)
    return np.where(valid, heights[..., 0], np.float32(np.nan))


def smooth_method(path: str | Path, grid: Grid) -> str:
    """Returns "average" if a pixel of the grid holds several of the file, else "bilinear"."""
    own, wanted = read_info(path).gsd, pixel_size(grid)
    return "average" if own and wanted and wanted >= 2 * own else "bilinear"


def square_grid(dataset: gdal.Dataset, gsd: float) -> Grid:
    """Returns a grid of pixels that are square on the ground over the extent of an open raster.

    Args:
        dataset: has a geotransform and a CRS, in which the grid is.
        gsd: metres per pixel; the extent changes it by up to half a pixel over all.
    """
    straight = grid_of(gdal.AutoCreateWarpedVRT(dataset))  # north is up
    along_row, along_column = cast(tuple[float, float], pixel_sides(straight))
    sizes = straight.columns * along_row / gsd, straight.rows * along_column / gsd
    if not all(size < MOST_COUNT for size in sizes):
        raise RasterError(
            f"{dataset.GetDescription()} would have {sizes[1]:.3g} x {sizes[0]:.3g} pixels (rows x "
            f"columns) of {gsd:g} m. Check its georeference."
        )
    columns, rows = (max(1, round(size)) for size in sizes)
    left, x_step, _, top, _, y_step = cast(tuple[float, ...], straight.geotransform)
    x_step, y_step = x_step * straight.columns / columns, y_step * straight.rows / rows
    place = (left, x_step, 0.0, top, 0.0, y_step)
    return replace(straight, rows=rows, columns=columns, geotransform=place)


def _check_place(info):
    """Raises RasterError for a raster whose place on the ground is unknown."""
    if info.grid.geotransform is None:
        raise RasterError(f"{info.path} {missing_georeference(info.grid)}.")
    system = osr.SpatialReference(info.grid.projection)
    if not (system.IsProjected() or system.IsGeographic()):
        raise RasterError(
            f"{info.path} has no coordinate reference system of the earth. Add the one it was "
            "made in, for instance with gdal_edit.py -a_srs EPSG:<number>."
        )


def oblong_pixels(info: RasterInfo) -> str:
    """Says of a raster whose pixels are not square on the ground what they are and what to do.

    Returns:
        "" if their sides and angles are those of squares up to `OBLONG`, or not known.
    """
    sides, shear = pixel_sides(info.grid), pixel_shear(info.grid)
    if sides is None or (max(sides) <= min(sides) * (1 + OBLONG) and shear <= OBLONG):
        return ""
    angle = math.degrees(math.acos(min(shear, 1.0)))
    sheared = f", at an angle of {angle:.3g} degrees," if shear > OBLONG else ""
    system = osr.SpatialReference(_working_projection(info))
    code = (
        ""
        if horizontal_system(info.grid.projection).IsProjected()
        else system.GetAuthorityCode(None)
    )
    target = f"-t_srs EPSG:{code} " if code else ""
    step = float(f"{sum(sides) / 2 / system.GetLinearUnits():.3g}")
    return (
        f"{info.path}: its pixels are {sides[0]:.3g} m (along a row) x {sides[1]:.3g} m{sheared} "
        "on the ground, expected squares. Warp it, and the other files of the tile to the same "
        f"grid: gdalwarp {target}-tr {step:g} {step:g} -r average {info.path.name} <warped file>, "
        "with -r near for labels."
    )


def _working_projection(info):
    """Returns the WKT of the CRS to work in: the raster's, or a UTM zone if it is in degrees."""
    system = horizontal_system(info.grid.projection)
    if system.IsProjected():
        return system.ExportToWkt()
    west, south, east, north = _bounds(info, projection_wkt(4326))
    longitude, latitude = (west + east) / 2, (south + north) / 2
    if not UTM_LATITUDES[0] <= latitude <= UTM_LATITUDES[1]:
        raise RasterError(
            f"{info.path} is in degrees at latitude {latitude:.1f}, where there is no UTM zone. "
            "Warp it to a projected CRS first, for instance with gdalwarp -t_srs."
        )
    zone = int((longitude + 180) // 6) % 60 + 1
    return projection_wkt((32600 if latitude >= 0 else 32700) + zone)


def _lattice(info, projection, gsd):
    """Returns left, top and size of the pixels, in units of the projection."""
    left, x_step, x_row, top, y_column, y_step = info.grid.geotransform
    is_square = x_row == y_column == 0 and x_step > 0 and abs(x_step + y_step) < SNAP * x_step
    if gsd is None and is_square and same_projection(info.grid.projection, projection):
        return left, top, x_step
    metres = info.gsd if gsd is None else gsd
    return 0.0, 0.0, metres / osr.SpatialReference(projection).GetLinearUnits()


def _bounds(info, projection):
    """Returns west, south, east, north of a raster in a projection."""
    corners = [(c, r) for c in (0, info.grid.columns) for r in (0, info.grid.rows)]
    points = [gdal.ApplyGeoTransform(info.grid.geotransform, *corner) for corner in corners]
    x, y = zip(*points, strict=True)
    bounds = (min(x), min(y), max(x), max(y))
    if same_projection(info.grid.projection, projection):
        return bounds
    systems = [osr.SpatialReference(text) for text in (info.grid.projection, projection)]
    for system in systems:
        system.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)  # x is east
    with gdal_errors(info.path, "place", "Check its coordinate reference system."):
        return osr.CoordinateTransformation(*systems).TransformBounds(*bounds, 21)


def _warp(info, grid, method, read):
    """Returns (pixels, valid) of a raster on a grid.

    Only the pixels that the grid needs are read, in parts if they are many. GDAL gets them with
    one mask instead of nodata values: with these it would make a gap in each band that equals
    nodata, even if the other bands of the pixel have data.

    Args:
        info: `datasets.rasters.reading.RasterInfo`.
        grid, method: as for `warp`.
        read: function (row, column, rows, columns) that returns the (pixels, valid) of the file
            to interpolate.
    """
    _check_place(info)
    place = replace(info.grid, control_points=None, rpcs=())  # the geotransform counts
    with gdal_errors(info.path, "warp", BROKEN):
        window = _source_window(place, grid)
    if window[2] * window[3] > MOST_PIXELS and max(grid.rows, grid.columns) > 1:
        halves, axis = _halves(grid)
        parts = [_warp(info, half, method, read) for half in halves]
        return tuple(np.concatenate(arrays, axis) for arrays in zip(*parts, strict=True))
    pixels, valid = read(*window)
    with gdal_errors(info.path, "warp", BROKEN):
        source = _in_memory(pixels, valid, part_of_grid(place, *window))
        warped = check_result(gdal.Warp("", source, options=_options(grid, method)))
        pixels = warped.ReadAsArray(interleave="pixel")
    valid = pixels[..., -1] > 0
    return np.where(valid[..., None], pixels[..., :-1], pixels.dtype.type(0)), valid


def _source_window(source, grid):
    """Finds the pixels of a raster that a grid needs, with a margin for interpolation.

    Args:
        source: `Grid` of the raster, with a geotransform and a projection.
        grid: `Grid` to fill, with both as well.

    Returns:
        (row, column, rows, columns) within the raster; one pixel if the grid lies outside.
    """
    ends = new_dataset("VRT", "", source), new_dataset("VRT", "", grid)
    x, y = np.meshgrid(
        np.linspace(0, grid.columns, PROBES),  # from corner to corner of the grid
        np.linspace(0, grid.rows, PROBES),
    )
    points, known = gdal.Transformer(*ends, []).TransformPoints(
        1, np.stack([x.ravel(), y.ravel()], 1).tolist()
    )
    places = np.array(points)[np.array(known, bool), :2].reshape(-1, 2)
    places = places[np.isfinite(places).all(axis=1)]
    if not len(places):
        return 0, 0, 1, 1
    column, columns = _span(places[:, 0], source.columns)
    row, rows = _span(places[:, 1], source.rows)
    return row, column, rows, columns


def _span(places, length):
    """Returns first pixel and number of the pixels around places on an axis of some length."""
    margin = MARGIN + CURVATURE * (places.max() - places.min())
    first = min(max(math.floor(places.min() - margin), 0), length - 1)
    last = min(math.ceil(places.max() + margin), length)
    return first, max(1, last - first)


def _halves(grid):
    """Returns the two halves of a grid along its longer side, and the axis that joins them."""
    rows, columns = grid.rows, grid.columns
    if rows >= columns:
        windows = (0, 0, rows // 2, columns), (rows // 2, 0, rows - rows // 2, columns)
    else:
        windows = (0, 0, rows, columns // 2), (0, columns // 2, rows, columns - columns // 2)
    return [part_of_grid(grid, *window) for window in windows], int(columns > rows)


def _in_memory(pixels, valid, grid):
    """Returns a dataset of pixels (rows, columns, bands); gaps are one mask for all bands."""
    kind = gdal_array.NumericTypeCodeToGDALTypeCode(pixels.dtype.type)
    dataset = new_dataset("MEM", "", grid, pixels.shape[2], kind)
    for i in range(pixels.shape[2]):
        band = dataset.GetRasterBand(i + 1)
        band.SetColorInterpretation(gdal.GCI_Undefined)  # or the last of four would be alpha
        band.WriteArray(pixels[..., i])
    if not valid.all():
        dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
        dataset.GetRasterBand(1).GetMaskBand().WriteArray(valid.astype("uint8") * 255)
    return dataset


def _options(grid, method):
    """Returns the options of `gdal.Warp` to a raster in memory with an alpha band."""
    left, x_step, _, top, _, y_step = grid.geotransform
    warp_options = ["DST_ALPHA_MAX=255"]
    if method == "bilinear":
        # For shrinking by less than half GDAL would widen its kernel, with weights that are not
        # even: a plane then comes out wavy by a tenth of a pixel.
        warp_options += ["XSCALE=1", "YSCALE=1"]
    return gdal.WarpOptions(
        options=["-novshift"],  # no vertical shift: only the difference to the terrain counts
        format="MEM",
        outputBounds=(left, top + grid.rows * y_step, left + grid.columns * x_step, top),
        width=grid.columns,
        height=grid.rows,
        dstSRS=grid.projection,
        resampleAlg="near" if method == "nearest" else method,
        errorThreshold=WARP_ERROR,
        dstAlpha=True,
        warpOptions=warp_options,
    )
