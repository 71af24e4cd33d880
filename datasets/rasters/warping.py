"""Rasters of any place, projection and resolution, brought onto one grid with GDAL."""

import math

import numpy as np
from osgeo import gdal, osr

from datasets.rasters.projections import projection_wkt, same_projection
from datasets.rasters.reading import BROKEN, Grid, RasterError, gdal_errors, pixel_size, read_info

SNAP = 1e-6  # pixels: edges that differ by less are the same edge
WARP_ERROR = 0.01  # pixels, of GDAL's interpolation between exactly transformed points
UTM_LATITUDES = (-80.0, 84.0)  # degrees
US_FOOT = 1200 / 3937  # metres
UNITS = {
    **dict.fromkeys(["m", "metre", "meter", "metres", "meters"], 1.0),
    **dict.fromkeys(["ft", "foot", "feet", "international foot"], 0.3048),
    **dict.fromkeys(["us survey foot", "us-ft", "ftus", "foot_us"], US_FOOT),
}


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


def warp(path, grid, method, bands=None, nodata=None):
    """Reads a raster on another grid.

    A pixel has data where the source pixel below its centre has ("average": any source pixel in
    it); values beside gaps are means over the source pixels with data. Nodata values, alpha, .msk
    files and non-finite values count as in `datasets.rasters.reading.read_window`. Overviews are
    not used, since they may be made in another way.

    Args:
        path: str or path of a file that GDAL can open.
        grid: `datasets.rasters.reading.Grid` with a projection, north-up.
        method: "nearest", "bilinear" or "average".
        bands: numbers (from 1) of the bands to read; None = all but alpha.
        nodata: value that means no data, where the file does not declare it; or None.

    Returns:
        (pixels, valid): array (rows, columns, bands) in the dtype and units of the file, 0 where
        not valid; bool array (rows, columns).

    Raises:
        RasterError: if the file cannot be read.
    """
    with gdal_errors(path, "warp", BROKEN):
        source = gdal.Open(str(path))
        if bands:
            source = _select(source, bands)
        pixels = _warp(source, grid, method, nodata)
        valid = pixels[..., -1] > 0
        if method == "bilinear" and _has_nodata_in_colours(source):
            # GDAL leaves a band that equals nodata out of the mean, also where the colour has
            # data: dark pixels would brighten. So the colours come from a warp without nodata.
            pixels = _warp(source, grid, method, "None")
    pixels = pixels[..., :-1]
    if np.issubdtype(pixels.dtype, np.inexact):
        valid = valid & np.isfinite(pixels).all(axis=-1)
    return np.where(valid[..., None], pixels, pixels.dtype.type(0)), valid


def smooth_method(path, grid):
    """Returns "average" where a pixel of the grid holds several of the file, else "bilinear"."""
    return "average" if pixel_size(grid) >= 2 * read_info(path).gsd else "bilinear"


def sample_values(path, nodata=None, count=64):
    """Reads valid values of the first band, spread evenly over a raster.

    Args:
        path: str or path of a file that GDAL can open.
        nodata: value that means no data, where the file does not declare it; or None.
        count: rows and columns of the samples, at most.

    Returns:
        1-D array in the dtype and units of the file.

    Raises:
        RasterError: if the file cannot be read.
    """
    with gdal_errors(path, "read", BROKEN):
        dataset = gdal.Open(str(path))  # its bands live as long as it does
        band = dataset.GetRasterBand(1)
        size = {"buf_xsize": min(count, band.XSize), "buf_ysize": min(count, band.YSize)}
        values, mask = band.ReadAsArray(**size), band.GetMaskBand().ReadAsArray(**size)
    kept = values[(mask > 0) & np.isfinite(values)]
    return kept if nodata is None else kept[kept != nodata]


def height_unit(path):
    """Returns the metres of a height unit that the file declares, or None if it declares none.

    The unit of a vertical CRS counts, then that of the first band.

    Raises:
        RasterError: if the file cannot be opened.
    """
    with gdal_errors(path, "open", BROKEN):
        dataset = gdal.Open(str(path))
        unit = (dataset.GetRasterBand(1).GetUnitType() or "").strip().lower()
        projection = dataset.GetProjection()
    factor = projection and osr.SpatialReference(projection).GetAttrValue("VERT_CS|UNIT", 1)
    return float(factor) if factor else UNITS.get(unit)


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


def _warp(source, grid, method, nodata):
    """Returns array (rows, columns, bands + 1) on a grid, the last band being alpha."""
    warped = gdal.Warp("", source, options=_options(grid, method, nodata))
    if warped is None:  # not every failure raises in the GDAL versions in use
        raise RuntimeError(gdal.GetLastErrorMsg() or "no pixels came back")
    return warped.ReadAsArray(interleave="pixel")


def _has_nodata_in_colours(source):
    """Says whether a raster of several bands declares a nodata value."""
    return source.RasterCount > 1 and source.GetRasterBand(1).GetNoDataValue() is not None


def _select(source, numbers):
    """Returns a view of some bands and of alpha, if there is one."""
    alphas = [
        i
        for i in range(1, source.RasterCount + 1)
        if source.GetRasterBand(i).GetColorInterpretation() == gdal.GCI_AlphaBand
    ]
    return gdal.Translate("", source, format="VRT", bandList=[*numbers, *alphas])


def _options(grid, method, nodata):
    """Returns the options of `gdal.Warp` to a raster in memory with an alpha band."""
    left, x_step, _, top, _, y_step = grid.geotransform
    warp_options = ["UNIFIED_SRC_NODATA=YES", "DST_ALPHA_MAX=255"]
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
        srcNodata=nodata,
        dstAlpha=True,
        overviewLevel="NONE",
        warpOptions=warp_options,
    )
