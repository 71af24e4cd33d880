"""Reading georeferenced rasters: headers, pixels of a window, and what the file declares."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from osgeo import gdal, gdal_array, osr

from project.errors import UserError

GDAL_VERSION = gdal.__version__
gdal.UseExceptions()  # a failed call raises; by default GDAL 3 returns None
osr.UseExceptions()
# Makes a truncated JPEG an error; by default libjpeg fills the rest with grey.
gdal.SetConfigOption("GDAL_ERROR_ON_LIBJPEG_WARNING", "TRUE")
# Makes GDAL ask for side files by name. From a listing of the folder it would also take A.TIF.MSK
# for the mask of a.tif.
gdal.SetConfigOption("GDAL_DISABLE_READDIR_ON_OPEN", "TRUE")

# Other formats can name any file, and GDAL opens the sources of a VRT, masks and overviews without
# asking: only a driver that is not registered is safe. MEM is for rasters in memory, COG is a
# GeoTIFF.
DRIVERS = "GTiff COG PNG JPEG JP2OpenJPEG BMP AAIGrid VRT MEM".split()
VECTOR_DRIVERS = ["GeoJSON", "GPKG", "ESRI Shapefile", "Memory"]  # for datasets/rasters/vectors.py
for _driver in [gdal.GetDriver(i) for i in range(gdal.GetDriverCount())]:
    if _driver.ShortName not in (*DRIVERS, *VECTOR_DRIVERS):
        _driver.Deregister()
    elif _driver.ShortName in VECTOR_DRIVERS:
        _driver.SetMetadataItem("DCAP_RASTER", None)  # a GeoPackage may hold rasters, too

BROKEN = (
    "It may be missing, damaged, incomplete or of a format other than GeoTIFF, PNG, JPEG, "
    "JPEG 2000, BMP, ASCII grid or VRT: replace it."
)
METRES = {  # in a unit of height, by the unit's name in lower case
    **dict.fromkeys(["m", "metre", "meter", "metres", "meters"], 1.0),
    **dict.fromkeys(["ft", "foot", "feet", "international foot"], 0.3048),
    **dict.fromkeys(["us survey foot", "us-ft", "ftus", "foot_us"], 1200 / 3937),
}


class RasterError(UserError):
    """A raster file that cannot be read or written; gives the file and GDAL's own message."""


@dataclass(frozen=True)
class Grid:
    """Size and place of a raster.

    Attributes:
        rows, columns: size in pixels.
        geotransform: GDAL's six numbers, in units of the projection; None = not georeferenced.
        projection: WKT; "" = unknown.
    """

    rows: int
    columns: int
    geotransform: tuple[float, ...] | None
    projection: str


@dataclass(frozen=True)
class RasterInfo:
    """The header of a raster file.

    Attributes:
        path: the file.
        grid: its size and place.
        bands: number of bands, alpha not counted.
        dtype: NumPy name of the pixel type, such as "uint8".
        gsd: metres per pixel; None if the file has no georeference or no CRS.
        palette: whether pixels are indices into a colour table.
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
        pixels: (rows, columns, bands) without alpha, dtype and units of the file.
        valid: bool (rows, columns); False = nodata.
        grid: its size and place.
    """

    pixels: np.ndarray
    valid: np.ndarray
    grid: Grid


@contextlib.contextmanager
def gdal_errors(path: str | Path, action: str, advice: str) -> Iterator[None]:
    """Silences GDAL on the terminal and turns its errors into `RasterError`.

    Args:
        path: the file in use, for the message.
        action: what is done with it, such as "read".
        advice: a sentence that tells the user what to do.
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


@contextlib.contextmanager
def open_raster(path: str | Path, action: str = "open") -> Iterator[gdal.Dataset]:
    """Opens a local file for the `with` block, in which GDAL's errors become `RasterError`."""
    with gdal_errors(path, action, BROKEN):
        yield gdal.Open(str(path))


def check_result(result: Any) -> Any:
    """Returns what GDAL returned; raises RuntimeError if it is None.

    Some versions of GDAL do not raise for every failure.
    """
    if result is None:
        raise RuntimeError(gdal.GetLastErrorMsg() or "GDAL returned nothing")
    return result


def read_info(path: str | Path) -> RasterInfo:
    """Reads the header of a raster file.

    Raises:
        RasterError: if GDAL cannot open the file.
    """
    with open_raster(path) as dataset:
        grid, bands, band = grid_of(dataset), pixel_bands(dataset), dataset.GetRasterBand(1)
        kind = np.dtype(gdal_array.GDALTypeCodeToNumericTypeCode(band.DataType)).name
        palette = band.GetColorInterpretation() == gdal.GCI_PaletteIndex
        return RasterInfo(Path(path), grid, len(bands), kind, pixel_size(grid), palette)


def read_shape(path: str | Path) -> tuple[int, int]:
    """Returns (rows, columns) of a raster file; cheaper than `read_info`.

    Raises:
        RasterError: if GDAL cannot open the file.
    """
    with open_raster(path) as dataset:
        return dataset.RasterYSize, dataset.RasterXSize


def read_window(
    path: str | Path, row: int, column: int, rows: int, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a rectangle of a raster file, and nothing else of it.

    A pixel is valid if the file's mask (nodata value, alpha band or .msk file) says so and all
    bands are finite. A nodata value hides only pixels that have it in every band, so a photo whose
    nodata is black keeps its pure red.

    Args:
        path: of a local file that GDAL can open.
        row, column: upper left pixel of the rectangle.
        rows, columns: size of the rectangle in pixels.

    Returns:
        (pixels, valid): (rows, columns, bands) in the dtype and units of the file, without alpha;
        bool (rows, columns).

    Raises:
        RasterError: if the file cannot be read or the rectangle leaves the raster.
    """
    with open_raster(path, "read") as dataset:
        return read_bands(dataset, (column, row, columns, rows), pixel_bands(dataset))


def read_raster(path: str | Path) -> Raster:
    """Reads a whole raster file; valid pixels are those of `read_window`.

    Raises:
        RasterError: if the file cannot be read.
    """
    with open_raster(path, "read") as dataset:
        grid = grid_of(dataset)
        window = (0, 0, grid.columns, grid.rows)
        return Raster(*read_bands(dataset, window, pixel_bands(dataset)), grid)


def sample_values(path: str | Path, nodata: float | None = None, count: int = 64) -> np.ndarray:
    """Reads valid values of the first band, spread evenly over a raster.

    Args:
        path: of a local file that GDAL can open.
        nodata: value that means nodata although the file does not declare it.
        count: largest number of rows and of columns to sample.

    Returns:
        (values,), dtype and units of the file.

    Raises:
        RasterError: if the file cannot be read.
    """
    with open_raster(path, "read") as dataset:
        band = dataset.GetRasterBand(1)
        size = {"buf_xsize": min(count, band.XSize), "buf_ysize": min(count, band.YSize)}
        values, mask = band.ReadAsArray(**size), band.GetMaskBand().ReadAsArray(**size)
    kept = values[(mask > 0) & np.isfinite(values)]
    return kept if nodata is None else kept[kept != nodata]


def height_unit(path: str | Path) -> float | None:
    """Returns the declared unit of heights in metres, or None if none is declared.

    The unit of a vertical CRS takes precedence over that of the first band.

    Raises:
        RasterError: if the file cannot be opened.
    """
    with open_raster(path) as dataset:
        unit = (dataset.GetRasterBand(1).GetUnitType() or "").strip().lower()
        projection = dataset.GetProjection()
    factor = projection and osr.SpatialReference(projection).GetAttrValue("VERT_CS|UNIT", 1)
    return float(factor) if factor else METRES.get(unit)


def vertical_datum(path: str | Path) -> str | None:
    """Returns the name of the declared vertical datum, or None if none is declared.

    Heights above an ellipsoid, as in a three-dimensional CRS, are named after its datum.

    Raises:
        RasterError: if the file cannot be opened.
    """
    projection = read_info(path).grid.projection
    if not projection:
        return None
    system = osr.SpatialReference(projection)
    if system.GetAxesCount() == 3 and not system.IsCompound():
        return f"ellipsoid of {system.GetAttrValue('DATUM')}"
    return system.GetAttrValue("VERT_CS|VERT_DATUM") or system.GetAttrValue("VERT_CS")


def file_list(path: str | Path) -> list[str]:
    """Returns the paths of all files of a raster: itself, the parts of a VRT, side files.

    Raises:
        RasterError: if the file cannot be opened.
    """
    with open_raster(path) as dataset:
        return sorted({str(path), *(dataset.GetFileList() or [])})


def pixel_size(grid: Grid) -> float | None:
    """Returns the ground sampling distance, metres per pixel: the mean of `pixel_sides`."""
    sides = pixel_sides(grid)
    return sides and sum(sides) / 2


def pixel_sides(grid: Grid) -> tuple[float, float] | None:
    """Computes the ground length of a step along a row and along a column of a grid.

    A CRS in degrees is measured on its ellipsoid at the latitude of the grid's centre (radii of
    curvature M and N; Snyder 1987, Map Projections, USGS PP 1395, p. 24-25). Mercator's metres
    (Web Mercator, EPSG:3857) are too long by 1 / cos(latitude) (p. 44); they are corrected at the
    centre. The scale error of other projections is not removed.

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
        # y / radius = arsinh(tan(latitude)), and 1 / cosh of that is cos(latitude).
        x_metres = y_metres = x_metres / math.cosh(centre * x_metres / srs.GetSemiMajor())
    along_row = math.hypot(x_column * x_metres, y_column * y_metres)
    return along_row, math.hypot(x_row * x_metres, y_row * y_metres)


def _metres_per_angle(srs, latitude):
    """Returns metres per angular unit of a geographic CRS, eastwards and northwards."""
    radian = srs.GetAngularUnits()
    flattening = 1 / srs.GetInvFlattening() if srs.GetInvFlattening() else 0.0
    e2 = flattening * (2 - flattening)  # eccentricity squared
    w2 = 1 - e2 * math.sin(latitude * radian) ** 2
    normal = srs.GetSemiMajor() / math.sqrt(w2)
    return normal * math.cos(latitude * radian) * radian, normal * (1 - e2) / w2 * radian


def describe_projection(wkt: str) -> str:
    """Describes a CRS without its vertical part.

    Args:
        wkt: well-known text, not "".

    Returns:
        Authority and code (if any), name and unit: "EPSG:32632, WGS 84 / UTM zone 32N, metre".
    """
    srs = osr.SpatialReference(wkt)
    srs.StripVertical()
    code = srs.GetAuthorityCode(None)
    unit = srs.GetAngularUnitsName() if srs.IsGeographic() else srs.GetLinearUnitsName()
    number = [f"{srs.GetAuthorityName(None)}:{code}"] if code else []
    return ", ".join([*number, srs.GetName() or "unnamed", unit])


def grid_of(dataset: gdal.Dataset) -> Grid:
    """Returns the grid of an open dataset."""
    place = dataset.GetGeoTransform(can_return_null=True), dataset.GetProjection() or ""
    return Grid(dataset.RasterYSize, dataset.RasterXSize, *place)


def pixel_bands(dataset: gdal.Dataset) -> list[int]:
    """Returns the numbers (from 1) of the bands of an open dataset that are not alpha."""
    bands = {i: dataset.GetRasterBand(i) for i in range(1, dataset.RasterCount + 1)}
    return [i for i in bands if bands[i].GetColorInterpretation() != gdal.GCI_AlphaBand]


def read_bands(
    dataset: gdal.Dataset, window: tuple[int, int, int, int], numbers: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a window of an open dataset; call it within `gdal_errors` or `open_raster`.

    Args:
        dataset: of any format.
        window: (column, row, columns, rows).
        numbers: bands to read, from 1.

    Returns:
        (pixels, valid) as for `read_window`.
    """
    pixels = check_result(dataset.ReadAsArray(*window, interleave="pixel", band_list=numbers))
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
