"""Parts of grids, and where a grid lies in a raster of another place and projection."""

import math

import numpy as np
from osgeo import gdal, osr

from datasets.rasters.reading import BROKEN, Grid, gdal_errors

PROBES = 21  # points along each side of a grid whose places in the raster are computed
MARGIN = 4  # pixels around those places, for interpolation
CURVATURE = 0.01  # share of the window around those places, for what lies between the points


def read_shape(path):
    """Returns (rows, columns) of a raster file; unlike `read_info` it costs no more than opening.

    Raises:
        RasterError: if GDAL cannot open the file.
    """
    with gdal_errors(path, "open", BROKEN):
        dataset = gdal.Open(str(path))
        return dataset.RasterYSize, dataset.RasterXSize


def part_of_grid(grid, row, column, rows, columns):
    """Returns the `Grid` of a rectangle of a grid whose upper left pixel is (row, column)."""
    if grid.geotransform is None:
        return Grid(rows, columns, None, grid.projection)
    left, x_column, x_row, top, y_column, y_row = grid.geotransform
    corner = (
        left + column * x_column + row * x_row,
        x_column,
        x_row,
        top + column * y_column + row * y_row,
        y_column,
        y_row,
    )
    return Grid(rows, columns, corner, grid.projection)


def halves_of_grid(grid):
    """Returns the two halves of a grid along its longer side, and the axis that joins them."""
    if grid.rows >= grid.columns:
        cut = grid.rows // 2
        first = part_of_grid(grid, 0, 0, cut, grid.columns)
        return (first, part_of_grid(grid, cut, 0, grid.rows - cut, grid.columns)), 0
    cut = grid.columns // 2
    first = part_of_grid(grid, 0, 0, grid.rows, cut)
    return (first, part_of_grid(grid, 0, cut, grid.rows, grid.columns - cut)), 1


def source_window(source, grid):
    """Finds the pixels of a raster that a grid needs, with a margin for interpolation.

    Args:
        source: `Grid` of the raster, with a geotransform and a projection.
        grid: `Grid` to fill, with both as well.

    Returns:
        (row, column, rows, columns) within the raster; of one pixel where the grid lies outside.
    """
    transformer = gdal.Transformer(_empty(source), _empty(grid), [])
    x, y = np.meshgrid(
        np.linspace(0, grid.columns, PROBES),  # the grid's pixels, corner to corner
        np.linspace(0, grid.rows, PROBES),
    )
    points, known = transformer.TransformPoints(1, np.stack([x.ravel(), y.ravel()], 1).tolist())
    places = np.array(points)[np.array(known, bool), :2].reshape(-1, 2)
    places = places[np.isfinite(places).all(axis=1)]
    if not len(places):
        return 0, 0, 1, 1
    column, columns = _span(places[:, 0], source.columns)
    row, rows = _span(places[:, 1], source.rows)
    return row, column, rows, columns


def _empty(grid):
    """Returns a dataset that has a place, but no pixels of its own."""
    dataset = gdal.GetDriverByName("VRT").Create("", grid.columns, grid.rows, 1)
    dataset.SetGeoTransform(grid.geotransform)
    dataset.SetProjection(grid.projection)
    return dataset


def _span(places, length):
    """Returns first pixel and count of the pixels around places on an axis of some length."""
    margin = MARGIN + CURVATURE * (places.max() - places.min())
    first = min(max(math.floor(places.min() - margin), 0), length - 1)
    last = min(math.ceil(places.max() + margin), length)
    return first, max(1, last - first)


def projection_wkt(epsg):
    """Returns a coordinate reference system in the form that raster files store.

    Args:
        epsg: number in the EPSG registry, such as 32632 (UTM zone 32 north).

    Returns:
        Well-known text.

    Raises:
        ValueError: if the registry has no such number.
    """
    system = osr.SpatialReference()
    try:
        system.ImportFromEPSG(epsg)
    except RuntimeError as error:
        raise ValueError(
            f"EPSG:{epsg} is no known coordinate reference system ({error}). "
            "Look the number up at https://epsg.org."
        ) from None
    return system.ExportToWkt()


def same_projection(first, second):
    """Says whether two well-known texts place pixels alike; one that is "" agrees with any.

    Vertical parts, of lidar heights for instance, do not count.
    """
    if not first or not second or first == second:
        return True
    systems = [osr.SpatialReference(text) for text in (first, second)]
    for system in systems:
        system.StripVertical()
        system.DemoteTo2D()
    # GeoTIFF drops what does not place a pixel, such as the order of the axes.
    options = ["IGNORE_DATA_AXIS_TO_SRS_AXIS_MAPPING=YES", "CRITERION=EQUIVALENT"]
    return bool(systems[0].IsSame(systems[1], options))
