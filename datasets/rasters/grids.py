"""Grids without files: parts of them, their projections, and empty rasters on them."""

from collections.abc import Sequence
from pathlib import Path

from osgeo import gdal, osr

from datasets.rasters.reading import Grid


def part_of_grid(grid: Grid, row: int, column: int, rows: int, columns: int) -> Grid:
    """Returns the grid of a rectangle of `rows` x `columns` pixels from (row, column) on."""
    if grid.geotransform is None:
        return Grid(rows, columns, None, grid.projection)
    left, x_column, x_row, top, y_column, y_row = grid.geotransform
    x = left + column * x_column + row * x_row
    y = top + column * y_column + row * y_row
    return Grid(rows, columns, (x, x_column, x_row, y, y_column, y_row), grid.projection)


def projection_wkt(epsg: int) -> str:
    """Returns a coordinate reference system as well-known text, the form that raster files store.

    Args:
        epsg: number in the EPSG registry, such as 32632 (UTM zone 32 north).

    Raises:
        ValueError: if the registry has no such number.
    """
    system = osr.SpatialReference()
    try:
        system.ImportFromEPSG(epsg)
    except RuntimeError as error:
        raise ValueError(
            f"EPSG:{epsg} is not a known coordinate reference system ({error}). "
            "Look the number up at https://epsg.org."
        ) from None
    return system.ExportToWkt()


def horizontal_system(wkt: str) -> osr.SpatialReference:
    """Returns a coordinate reference system without its vertical part."""
    system = osr.SpatialReference(wkt)
    system.StripVertical()
    system.DemoteTo2D()
    return system


def same_projection(first: str, second: str) -> bool:
    """Returns whether two well-known texts place pixels alike; "" agrees with any.

    Vertical parts, such as those of lidar heights, are ignored.
    """
    if not first or not second or first == second:
        return True
    # A GeoTIFF does not store what does not place a pixel, such as the order of the axes.
    options = ["IGNORE_DATA_AXIS_TO_SRS_AXIS_MAPPING=YES", "CRITERION=EQUIVALENT"]
    return bool(horizontal_system(first).IsSame(horizontal_system(second), options))


def new_dataset(
    driver: str,
    path: str | Path,
    grid: Grid,
    bands: int = 1,
    kind: int = gdal.GDT_Byte,
    options: Sequence[str] = (),
) -> gdal.Dataset:
    """Creates a raster on a grid.

    Args:
        driver: short name of GDAL's driver.
        path: of the file; "" for a raster in memory.
        grid: size and place.
        bands: number of bands.
        kind: GDAL's number of the pixel type.
        options: creation options of the driver.
    """
    dataset = gdal.GetDriverByName(driver).Create(
        str(path), grid.columns, grid.rows, bands, kind, list(options)
    )
    if grid.geotransform is not None:
        dataset.SetGeoTransform(grid.geotransform)
    if grid.projection:
        dataset.SetProjection(grid.projection)
    return dataset
