"""Reading georeferenced rasters, whole or in windows."""

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal, gdal_array, osr

from project.errors import UserError

GDAL_VERSION = gdal.__version__
gdal.UseExceptions()  # a failed call raises; without this GDAL 3 returns None
osr.UseExceptions()
# A cut-off JPEG is an error; by default libjpeg fills the rest with grey.
gdal.SetConfigOption("GDAL_ERROR_ON_LIBJPEG_WARNING", "TRUE")
# Side files are asked for by name. In a folder's list GDAL would also take A.TIF.MSK for a.tif's.
gdal.SetConfigOption("GDAL_DISABLE_READDIR_ON_OPEN", "TRUE")

# Other formats may name files anywhere, and GDAL opens the sources of a VRT, masks and overviews by
# itself: only a driver that is not there is safe. MEM is for rasters in memory, COG is GeoTIFF.
DRIVERS = "GTiff COG PNG JPEG JP2OpenJPEG BMP AAIGrid VRT MEM".split()
for _driver in [gdal.GetDriver(i) for i in range(gdal.GetDriverCount())]:
    if _driver.ShortName not in DRIVERS:
        _driver.Deregister()

BROKEN = (
    "It may be missing, damaged, incomplete or of another format than GeoTIFF, PNG, JPEG, "
    "JPEG 2000, BMP, ASCII grid or VRT: replace it."
)


class RasterError(UserError):
    """A raster file that cannot be read or written; names the file and what GDAL said."""


@dataclass(frozen=True)
class Grid:
    """Size and place of a raster.

    Attributes:
        rows, columns: size in pixels.
        geotransform: GDAL's six numbers, in units of the projection; None where there are none.
        projection: WKT string; "" where there is none.
    """

    rows: int
    columns: int
    geotransform: tuple | None
    projection: str


@dataclass(frozen=True)
class RasterInfo:
    """What the header of a raster file says.

    Attributes:
        path: the file.
        grid: `Grid`.
        bands: number of bands without alpha.
        dtype: NumPy name of the pixel type, such as "uint8".
        gsd: metres per pixel; None where the file has no georeference or no CRS.
        palette: True where the pixels are numbers of colours in a table.
    """

    path: Path
    grid: Grid
    bands: int
    dtype: str
    gsd: float | None
    palette: bool = False


@dataclass(frozen=True)
class Raster:
    """A raster file in memory.

    Attributes:
        pixels: array (rows, columns, bands) without alpha, dtype and units of the file.
        valid: bool array (rows, columns); False where the file has no data.
        grid: `Grid`.
    """

    pixels: np.ndarray
    valid: np.ndarray
    grid: Grid


@contextlib.contextmanager
def gdal_errors(path, action, advice):
    """Keeps GDAL off the terminal and turns its errors into `RasterError`.

    Args:
        path: the file that is worked on, for the message.
        action: what is done with it, such as "read".
        advice: sentence that says what to do.
    """
    gdal.PushErrorHandler("CPLQuietErrorHandler")  # of this thread only
    try:
        yield
    except RuntimeError as error:
        raise RasterError(
            f"{path}: GDAL cannot {action} this file ({' '.join(str(error).split())}). {advice}"
        ) from error
    finally:
        gdal.PopErrorHandler()


def read_info(path):
    """Reads the header of a raster file.

    Args:
        path: str or path of a local file that GDAL can open.

    Returns:
        `RasterInfo`.

    Raises:
        RasterError: if GDAL cannot open the file.
    """
    with gdal_errors(path, "open", BROKEN):
        dataset = gdal.Open(str(path))
        grid = grid_of(dataset)
        bands = pixel_bands(dataset)
        band = dataset.GetRasterBand(1)
        kind = np.dtype(gdal_array.GDALTypeCodeToNumericTypeCode(band.DataType)).name
        palette = band.GetColorInterpretation() == gdal.GCI_PaletteIndex
        return RasterInfo(Path(path), grid, len(bands), kind, pixel_size(grid), palette)


def read_window(path, row, column, rows, columns):
    """Reads a rectangle of a raster file, and nothing else of it.

    A pixel is valid where the file's mask (nodata value, alpha band or .msk file) says so
    and all bands are finite. A nodata value hides a pixel that has it in every band, so a
    black-is-nodata photo keeps its pure red.

    Args:
        path: str or path of a local file that GDAL can open.
        row, column: upper left pixel of the rectangle.
        rows, columns: size of the rectangle in pixels.

    Returns:
        (pixels, valid): array (rows, columns, bands) in the dtype and units of the file, without
        alpha; bool array (rows, columns).

    Raises:
        RasterError: if the file cannot be read or the rectangle leaves the raster.
    """
    with gdal_errors(path, "read", BROKEN):
        dataset = gdal.Open(str(path))
        return read_bands(dataset, (column, row, columns, rows), pixel_bands(dataset))


def read_raster(path):
    """Reads all of a raster file.

    Args:
        path: str or path of a local file that GDAL can open.

    Returns:
        `Raster`; valid as in `read_window`.

    Raises:
        RasterError: if the file cannot be read.
    """
    with gdal_errors(path, "read", BROKEN):
        dataset = gdal.Open(str(path))
        grid = grid_of(dataset)
        window = (0, 0, grid.columns, grid.rows)
        return Raster(*read_bands(dataset, window, pixel_bands(dataset)), grid)


def pixel_size(grid):
    """Computes the ground sampling distance of a grid, the mean of its `pixel_sides`.

    Args:
        grid: `Grid`.

    Returns:
        Metres per pixel; None without geotransform or CRS.
    """
    sides = pixel_sides(grid)
    return sides and sum(sides) / 2


def pixel_sides(grid):
    """Computes the length of a step along a row and along a column of a grid.

    A CRS in degrees is measured on its ellipsoid at the latitude of the grid's centre (radii of
    curvature M and N; Snyder 1987, Map Projections, USGS PP 1395, p. 24-25). Mercator's metres
    (Web Mercator, EPSG:3857) are too long by 1 / cos(latitude) (p. 44), and shortened by that at
    the centre. The scale error of other projections is not removed.

    Args:
        grid: `Grid`.

    Returns:
        (along a row, along a column), metres; None without geotransform or CRS.
    """
    if grid.geotransform is None or not grid.projection:
        return None
    _, x_column, x_row, top, y_column, y_row = grid.geotransform
    srs = osr.SpatialReference(grid.projection)
    x_metres = y_metres = srs.GetLinearUnits()
    centre = top + y_column * grid.columns / 2 + y_row * grid.rows / 2
    if srs.IsGeographic():
        x_metres, y_metres = _metres_per_angle(srs, centre)
    if srs.GetAttrValue("PROJECTION") == "Mercator_1SP":
        # y / radius = arsinh(tan(latitude)), and 1 / cosh of that is cos(latitude)
        x_metres = y_metres = x_metres / math.cosh(centre * x_metres / srs.GetSemiMajor())
    along_row = math.hypot(x_column * x_metres, y_column * y_metres)
    along_column = math.hypot(x_row * x_metres, y_row * y_metres)
    return along_row, along_column


def describe_projection(wkt):
    """Returns authority and code (if any), name and unit of a projection, without vertical parts.

    Args:
        wkt: well-known text, not "".

    Returns:
        str such as "EPSG:32632, WGS 84 / UTM zone 32N, metre".
    """
    srs = osr.SpatialReference(wkt)
    srs.StripVertical()
    code = srs.GetAuthorityCode(None)
    unit = srs.GetAngularUnitsName() if srs.IsGeographic() else srs.GetLinearUnitsName()
    number = [f"{srs.GetAuthorityName(None)}:{code}"] if code else []
    return ", ".join([*number, srs.GetName() or "unnamed", unit])


def _metres_per_angle(srs, latitude):
    """Returns metres per angular unit of a geographic CRS, to the east and to the north."""
    radian = srs.GetAngularUnits()
    flattening = 1 / srs.GetInvFlattening() if srs.GetInvFlattening() else 0.0
    e2 = flattening * (2 - flattening)  # eccentricity squared
    w2 = 1 - e2 * math.sin(latitude * radian) ** 2
    normal = srs.GetSemiMajor() / math.sqrt(w2)
    return normal * math.cos(latitude * radian) * radian, normal * (1 - e2) / w2 * radian


def grid_of(dataset):
    """Returns the `Grid` of an open GDAL dataset."""
    geotransform = dataset.GetGeoTransform(can_return_null=True)
    return Grid(
        dataset.RasterYSize, dataset.RasterXSize, geotransform, dataset.GetProjection() or ""
    )


def pixel_bands(dataset):
    """Returns the numbers (from 1) of the bands of a GDAL dataset that are not alpha."""
    numbers = range(1, dataset.RasterCount + 1)
    return [
        i
        for i in numbers
        if dataset.GetRasterBand(i).GetColorInterpretation() != gdal.GCI_AlphaBand
    ]


def read_bands(dataset, window, numbers):
    """Reads a window of an open GDAL dataset; its errors are for `gdal_errors` around the call.

    Args:
        dataset: GDAL dataset.
        window: (column, row, columns, rows).
        numbers: of the bands to read, from 1.

    Returns:
        (pixels, valid) as of `read_window`.
    """
    pixels = dataset.ReadAsArray(*window, interleave="pixel", band_list=numbers)
    if pixels is None:  # not every failure raises in the GDAL versions in use
        raise RuntimeError(gdal.GetLastErrorMsg() or "no pixels came back")
    pixels = pixels.reshape(window[3], window[2], len(numbers))
    valid = _mask(dataset, numbers, window)
    if np.issubdtype(pixels.dtype, np.inexact):
        valid &= np.isfinite(pixels).all(axis=-1)
    return pixels, valid


def _mask(dataset, numbers, window):
    """Returns the mask of a window: True where any band has data."""
    valid = np.zeros((window[3], window[2]), bool)
    for number in numbers:
        band = dataset.GetRasterBand(number)
        flags = band.GetMaskFlags()
        if flags & gdal.GMF_ALL_VALID:
            return np.ones_like(valid)
        valid |= band.GetMaskBand().ReadAsArray(*window) > 0
        if flags & gdal.GMF_PER_DATASET:
            break  # alpha or .msk: the same for every band
    return valid
