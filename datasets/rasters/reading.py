"""Reading georeferenced rasters: headers, pixels of a window, and what the file declares."""

import contextlib
import math
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from osgeo import gdal, gdal_array, osr

from datasets.rasters.masks import declared_nodata, pixel_bands, valid_pixels
from project.errors import UserError
from project.texts import is_utf8

GDAL_VERSION = gdal.__version__
gdal.UseExceptions()  # a failed call raises; by default GDAL 3 returns None

osr.UseExceptions()


def _on_unraisable(event: Any, hook: Callable[[Any], object] = sys.unraisablehook) -> None:
    """Leaves out what GDAL raises once more when a file is closed after an error."""
    if event.object is not gdal.Dataset.__swig_destroy__:
        hook(event)


sys.unraisablehook = _on_unraisable
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


class RasterError(UserError):
    """A raster file that cannot be read or written; gives the file and GDAL's own message."""


@dataclass(frozen=True)
class ControlPoints:
    """Ground control points, which place a raster that is not rectified.

    Attributes:
        points: (column, row, x, y, z) of each, in pixels and in units of the projection.
        projection: WKT; "" = unknown.
    """

    points: tuple[tuple[float, ...], ...]
    projection: str


@dataclass(frozen=True)
class Grid:
    """Size and place of a raster.

    Attributes:
        rows, columns: size in pixels.
        geotransform: GDAL's six numbers, in units of the projection; None = not georeferenced.
        projection: WKT; "" = unknown.
        control_points: of the file; None = it has none.
        rpcs: (name, text) of its rational polynomial coefficients, as GDAL names them.
    """

    rows: int
    columns: int
    geotransform: tuple[float, ...] | None
    projection: str
    control_points: ControlPoints | None = None
    rpcs: tuple[tuple[str, str], ...] = ()


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
    except (RuntimeError, UnicodeDecodeError, MemoryError) as error:
        # GDAL's messages quote the file: those that are not UTF-8 come as another exception.
        text = text_of(error.object) if isinstance(error, UnicodeDecodeError) else str(error)
        raise RasterError(
            f"{path}: GDAL cannot {action} this file ({' '.join(text.split())}). {advice}"
        ) from error
    finally:
        gdal.PopErrorHandler()


@contextlib.contextmanager
def open_raster(path: str | Path, action: str = "open") -> Iterator[gdal.Dataset]:
    """Opens a local file for the `with` block, in which GDAL's errors become `RasterError`."""
    if not is_utf8(path):
        raise RasterError(f"{str(path)!a}: the path is not UTF-8. Rename the file or its folder.")
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
    path: str | Path,
    row: int,
    column: int,
    rows: int,
    columns: int,
    bands: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a rectangle of a raster file, and nothing else of it.

    Args:
        path: of a local file that GDAL can open.
        row, column: upper left pixel of the rectangle.
        rows, columns: size of the rectangle in pixels.
        bands: numbers (from 1, alpha not counted) of the bands to read; None = all but alpha.

    Returns:
        (pixels, valid): (rows, columns, bands) in the dtype and units of the file, without alpha;
        bool (rows, columns), what `datasets.rasters.masks.valid_pixels` decides.

    Raises:
        RasterError: if the file cannot be read or the rectangle leaves the raster.
    """
    with open_raster(path, "read") as dataset:
        numbers = pixel_bands(dataset)
        chosen = [numbers[band - 1] for band in bands] if bands else numbers
        return read_bands(dataset, (column, row, columns, rows), chosen)


def read_labels(
    path: str | Path,
    row: int,
    column: int,
    rows: int,
    columns: int,
    listed: Collection[int | tuple[int, ...]],
) -> tuple[np.ndarray, np.ndarray]:
    """Does what `read_window` does, but a listed code is a label even if it is the nodata value.

    Many files declare 0, which is also the code of a class.

    Args:
        path, row, column, rows, columns: as for `read_window`.
        listed: label codes of the data set, numbers or (red, green, blue).

    Returns:
        (codes, has_label): (rows, columns, bands); bool (rows, columns).

    Raises:
        RasterError: as `read_window` does.
    """
    with open_raster(path, "read") as dataset:
        numbers = pixel_bands(dataset)
        use_nodata = declared_nodata(dataset, numbers) not in listed
        return read_bands(dataset, (column, row, columns, rows), numbers, use_nodata)


def nodata_code(path: str | Path) -> int | tuple[int, ...] | None:
    """Returns the label code that a file declares as nodata, see `declared_nodata`; None = none.

    Raises:
        RasterError: if the file cannot be opened.
    """
    with open_raster(path) as dataset:
        return declared_nodata(dataset, pixel_bands(dataset))


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
        rows, columns = dataset.RasterYSize, dataset.RasterXSize
        shape = min(count, rows), min(count, columns)
        first = pixel_bands(dataset)[:1]
        pixels, valid = read_bands(dataset, (0, 0, columns, rows), first, shape=shape)
    kept = pixels[valid][:, 0]
    return kept if nodata is None else kept[kept != nodata]


def file_list(path: str | Path) -> list[str]:
    """Returns the paths of all files of a raster: itself, the parts of a VRT, side files.

    Raises:
        RasterError: if the file cannot be opened.
    """
    with open_raster(path) as dataset:
        return sorted({str(path), *map(os.fsdecode, dataset.GetFileList() or [])})


def pixel_size(grid: Grid) -> float | None:
    """Returns the ground sampling distance, metres per pixel: the mean of `pixel_sides`."""
    sides = pixel_sides(grid)
    return sides and sum(sides) / 2


def pixel_sides(grid: Grid) -> tuple[float, float] | None:
    """Computes the ground length of a step along a row and along a column of a grid.

    Returns:
        (along a row, along a column), metres; None without geotransform or CRS.
    """
    steps = pixel_steps(grid)
    return steps and (math.hypot(*steps[0]), math.hypot(*steps[1]))


def pixel_shear(grid: Grid) -> float:
    """Returns the cosine of the angle between rows and columns on the ground: 0 = a right angle."""
    steps, sides = pixel_steps(grid), pixel_sides(grid)
    if not steps or not sides or not min(sides):
        return 0.0
    (x, y), (other_x, other_y) = steps
    return abs(x * other_x + y * other_y) / (sides[0] * sides[1])


def pixel_steps(grid: Grid) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Computes what a step along a row and along a column of a grid is on the ground.

    A CRS in degrees is measured on its ellipsoid at the latitude of the grid's centre (radii of
    curvature M and N; Snyder 1987, Map Projections, USGS PP 1395, p. 24-25). Mercator's metres
    (Web Mercator, EPSG:3857) are too long by 1 / cos(latitude) (p. 44); they are corrected at the
    centre. The scale error of other projections is not removed.

    Returns:
        (along a row, along a column), each (eastwards, northwards) in metres; None without
        geotransform or CRS.
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
    along_row = x_column * x_metres, y_column * y_metres
    return along_row, (x_row * x_metres, y_row * y_metres)


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
    points = tuple(
        (gcp.GCPPixel, gcp.GCPLine, gcp.GCPX, gcp.GCPY, gcp.GCPZ) for gcp in dataset.GetGCPs()
    )
    return Grid(
        dataset.RasterYSize,
        dataset.RasterXSize,
        dataset.GetGeoTransform(can_return_null=True),
        text_of(dataset.GetProjection()),
        ControlPoints(points, text_of(dataset.GetGCPProjection())) if points else None,
        _rpcs(dataset),
    )


def _rpcs(dataset):
    """Returns (name, text) of the RPCs of an open dataset; () if its offsets are not numbers."""
    rpcs = {name: text_of(value) for name, value in dataset.GetMetadata("RPC").items()}
    try:
        offsets = [float(rpcs[name]) for name in ("LINE_OFF", "SAMP_OFF")]
    except (KeyError, ValueError):
        return ()
    return tuple(sorted(rpcs.items())) if all(map(math.isfinite, offsets)) else ()


def text_of(value: str | bytes | None) -> str:
    """Returns a text that GDAL read from a file; "" for None.

    Texts that are not UTF-8 are taken for Latin-1. GDAL's bindings return them as bytes, or with
    surrogates, and do not accept either where a text is expected.
    """
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value or b""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_bands(
    dataset: gdal.Dataset,
    window: tuple[int, int, int, int],
    numbers: Sequence[int],
    use_nodata: bool = True,
    shape: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a window of an open dataset; call it within `gdal_errors` or `open_raster`.

    Args:
        dataset: of any format.
        window: (column, row, columns, rows).
        numbers: bands to read, from 1; not alpha.
        use_nodata: False = pixels with the declared nodata value are valid.
        shape: (rows, columns) to take from the window, evenly spread; None = all of them.

    Returns:
        (pixels, valid): (rows, columns, bands) in the dtype and units of the file;
        `datasets.rasters.masks.valid_pixels`.
    """
    rows, columns = shape or (window[3], window[2])
    pixels = check_result(
        dataset.ReadAsArray(
            *window,
            interleave="pixel",
            band_list=list(numbers),
            buf_xsize=columns,
            buf_ysize=rows,
        )
    ).reshape(rows, columns, len(numbers))
    return pixels, valid_pixels(dataset, window, numbers, pixels, use_nodata)
