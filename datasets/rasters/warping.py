"""Rasters of any place, projection and resolution, brought onto one grid with GDAL."""

import math

import numpy as np
from osgeo import gdal, gdal_array, osr

from datasets.rasters.grids import (
    halves_of_grid,
    part_of_grid,
    projection_wkt,
    same_projection,
    source_window,
)
from datasets.rasters.reading import (
    BROKEN,
    Grid,
    RasterError,
    gdal_errors,
    pixel_size,
    read_info,
    read_window,
)

SNAP = 1e-6  # pixels: edges that differ by less are the same edge
MOST_PIXELS = 2**24  # read at once from a file, so that large tiles fit into memory
WARP_ERROR = 0.01  # pixels, of GDAL's interpolation between exactly transformed points
UTM_LATITUDES = (-80.0, 84.0)  # degrees


def common_grid(paths, gsd=None):
    """Finds the grid that the first raster gives and all rasters cover.

    The first raster's own pixels are kept if it is projected, north-up and has square pixels, and
    no gsd is asked for. Otherwise pixels lie on multiples of their size; a raster in degrees goes
    to the UTM zone of its centre. The grid is the rectangle common to all rasters; what they leave
    empty inside it has no data.

    Args:
        paths: files, the one that gives the projection and the resolution first.
        gsd: metres per pixel, or None for the first raster's.

    Returns:
        `datasets.rasters.reading.Grid`, north-up, in a projected CRS without vertical part.

    Raises:
        RasterError: if a file cannot be read, has no georeference or CRS, or they share no pixel.
    """
    infos = [read_info(path) for path in paths]
    for info in infos:
        _check_place(info)
    projection = _working_projection(infos[0])
    left, top, step = _lattice(infos[0], projection, gsd)
    west, south, east, north = _shared_bounds(infos, projection)
    first_column = math.ceil((west - left) / step - SNAP)
    last_column = math.floor((east - left) / step + SNAP)
    first_row = math.ceil((top - north) / step - SNAP)
    last_row = math.floor((top - south) / step + SNAP)
    if last_column <= first_column or last_row <= first_row:
        raise RasterError(
            f"{', '.join(str(path) for path in paths)} have no common area: their extents do not "
            "overlap by a pixel. Check the files and their coordinate reference systems."
        )
    corner = (left + first_column * step, step, 0.0, top - first_row * step, 0.0, -step)
    return Grid(last_row - first_row, last_column - first_column, corner, projection)


def warp(path, grid, method, bands=None):
    """Reads a photo or labels on another grid.

    A pixel has data where the source pixel below its centre has ("average": any source pixel in
    it); values beside gaps are means over the source pixels with data. What has data is decided
    by `datasets.rasters.reading.read_window` before anything is interpolated.

    Args:
        path: str or path of a file that GDAL can open.
        grid: `datasets.rasters.reading.Grid` with a projection, north-up.
        method: "nearest", "bilinear" or "average".
        bands: numbers (from 1, alpha not counted) of the bands to read; None = all but alpha.

    Returns:
        (pixels, valid): array (rows, columns, bands) in the dtype and units of the file, 0 where
        not valid; bool array (rows, columns).

    Raises:
        RasterError: if the file cannot be read.
    """

    def select(pixels, valid):
        return (pixels[..., [band - 1 for band in bands]] if bands else pixels), valid

    return _warp(read_info(path), grid, method, select)


def warp_heights(path, grid, method, usable=None):
    """Reads heights on another grid, interpolated as fractions whatever the dtype of the file.

    Args:
        path, grid, method: as of `warp`.
        usable: function (stored, valid) that takes the first band (rows, columns) and what the
            file declares valid in it, before interpolation, and returns what is to be used;
            None = all that is valid.

    Returns:
        float32 (rows, columns), units of the file; NaN where there is no data, as in `warp`.

    Raises:
        RasterError: if the file cannot be read.
    """

    def select(pixels, valid):
        stored = pixels[..., 0]
        valid = usable(stored, valid) if usable else valid
        return np.where(valid, stored, 0).astype("float32")[..., None], valid

    heights, valid = _warp(read_info(path), grid, method, select)
    return np.where(valid, heights[..., 0], np.float32(np.nan))


def smooth_method(path, grid):
    """Returns "average" where a pixel of the grid holds several of the file, else "bilinear"."""
    return "average" if pixel_size(grid) >= 2 * read_info(path).gsd else "bilinear"


def _check_place(info):
    """Raises RasterError for a raster that cannot be placed on the ground."""
    if info.grid.geotransform is None:
        raise RasterError(
            f"{info.path} has no georeference. Add one, for instance with "
            "gdal_edit.py -a_ullr <left> <top> <right> <bottom>, or a world file."
        )
    system = osr.SpatialReference(info.grid.projection)
    if not (system.IsProjected() or system.IsGeographic()):
        raise RasterError(
            f"{info.path} has no coordinate reference system of the earth. Add the one it was made "
            "in, for instance with gdal_edit.py -a_srs EPSG:<number>."
        )


def _working_projection(info):
    """Returns the WKT of the CRS to work in: the raster's, or a UTM zone if it is in degrees."""
    system = osr.SpatialReference(info.grid.projection)
    system.StripVertical()
    system.DemoteTo2D()
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


def _shared_bounds(infos, projection):
    """Returns west, south, east, north of the rectangle that all rasters reach into."""
    bounds = np.array([_bounds(info, projection) for info in infos])
    return *bounds[:, :2].max(axis=0).tolist(), *bounds[:, 2:].min(axis=0).tolist()


def _bounds(info, projection):
    """Returns west, south, east, north of a raster in a projection."""
    left, x_column, x_row, top, y_column, y_row = info.grid.geotransform
    rows, columns = info.grid.rows, info.grid.columns
    x = [left + c * x_column + r * x_row for r in (0, rows) for c in (0, columns)]
    y = [top + c * y_column + r * y_row for r in (0, rows) for c in (0, columns)]
    bounds = (min(x), min(y), max(x), max(y))
    if same_projection(info.grid.projection, projection):
        return bounds
    systems = [osr.SpatialReference(text) for text in (info.grid.projection, projection)]
    for system in systems:
        system.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)  # x is east
    with gdal_errors(info.path, "place", "Check its coordinate reference system."):
        return osr.CoordinateTransformation(*systems).TransformBounds(*bounds, 21)


def _warp(info, grid, method, select):
    """Returns (pixels, valid) of a raster on a grid.

    Only the pixels that the grid needs are read, in parts if they are many. GDAL gets them with
    one mask and without nodata values: of a band that equals nodata it would make a gap even
    where the other bands have data.

    Args:
        info: `datasets.rasters.reading.RasterInfo`.
        grid, method: as of `warp`.
        select: function (pixels, valid) of the file's pixels that returns those to interpolate.
    """
    _check_place(info)
    with gdal_errors(info.path, "warp", BROKEN):
        window = source_window(info.grid, grid)
    if window[2] * window[3] > MOST_PIXELS and max(grid.rows, grid.columns) > 1:
        halves, axis = halves_of_grid(grid)
        parts = [_warp(info, half, method, select) for half in halves]
        return tuple(np.concatenate(arrays, axis) for arrays in zip(*parts, strict=True))
    pixels, valid = select(*read_window(info.path, *window))
    with gdal_errors(info.path, "warp", BROKEN):
        source = _in_memory(pixels, valid, part_of_grid(info.grid, *window))
        warped = gdal.Warp("", source, options=_options(grid, method))
        if warped is None:  # not every failure raises in the GDAL versions in use
            raise RuntimeError(gdal.GetLastErrorMsg() or "no pixels came back")
        pixels = warped.ReadAsArray(interleave="pixel")
    valid = pixels[..., -1] > 0
    return np.where(valid[..., None], pixels[..., :-1], pixels.dtype.type(0)), valid


def _in_memory(pixels, valid, grid):
    """Returns a dataset of pixels (rows, columns, bands); gaps are one mask for all bands."""
    kind = gdal_array.NumericTypeCodeToGDALTypeCode(pixels.dtype.type)
    bands = pixels.shape[2]
    dataset = gdal.GetDriverByName("MEM").Create("", grid.columns, grid.rows, bands, kind)
    dataset.SetGeoTransform(grid.geotransform)
    dataset.SetProjection(grid.projection)
    for i in range(bands):
        band = dataset.GetRasterBand(i + 1)
        band.SetColorInterpretation(gdal.GCI_Undefined)  # of four bands the last is no alpha
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
        # GDAL would widen its kernel below twice the size, where its weights are not even: a
        # plane then comes out wavy by a tenth of a pixel.
        warp_options += ["XSCALE=1", "YSCALE=1"]
    return gdal.WarpOptions(
        options=["-novshift"],  # heights keep their reference: the difference to terrain counts
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
