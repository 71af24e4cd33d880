"""Grids without files: parts of them, their projections, and empty rasters on them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from osgeo import gdal, osr

from datasets.rasters.reading import Grid


def part_of_grid(grid: Grid, row: int, column: int, rows: int, columns: int) -> Grid:
    """Returns the grid of a rectangle of `rows` x `columns` pixels from (row, column) on."""
    part = replace(grid, rows=rows, columns=columns)
    if grid.geotransform is not None:
        left, x_column, x_row, top, y_column, y_row = grid.geotransform
        x = left + column * x_column + row * x_row
        y = top + column * y_column + row * y_row
        part = replace(part, geotransform=(x, x_column, x_row, y, y_column, y_row))
    if grid.control_points:
        points = tuple((c - column, r - row, *xyz) for c, r, *xyz in grid.control_points.points)
        part = replace(part, control_points=replace(grid.control_points, points=points))
    shifts = {"LINE_OFF": row, "SAMP_OFF": column}
    moved = {k: repr(float(v) - shifts[k]) for k, v in grid.rpcs if shifts.get(k)}
    return replace(part, rpcs=tuple((k, moved.get(k, v)) for k, v in grid.rpcs))


def is_north_up(grid: Grid) -> bool:
    """Returns whether columns count eastwards and rows southwards, as far as is known."""
    if grid.geotransform is None or not grid.projection:
        return False
    _, x_column, x_row, _, y_column, y_row = grid.geotransform
    return x_row == y_column == 0 and x_column > 0 > y_row


def missing_georeference(grid: Grid) -> str:
    """Says of a raster without a geotransform what it has instead, and what to do."""
    if grid.control_points:
        return (
            f"has {len(grid.control_points.points)} ground control points instead of a "
            "georeference. Warp it with them: gdalwarp -t_srs EPSG:<number> <file> <warped file>"
        )
    if grid.rpcs:
        return (
            "has rational polynomial coefficients (RPCs) instead of a georeference. Warp it with "
            "them: gdalwarp -rpc -t_srs EPSG:<number> <file> <warped file>"
        )
    return (
        "has no georeference with a CRS. Add them, for instance with gdal_edit.py -a_srs "
        "EPSG:<number> -a_ullr <left> <top> <right> <bottom> <file>"
    )


def horizontal_projection(wkt: str) -> str:
    """Returns the WKT of a coordinate reference system without its vertical part."""
    if not wkt or osr.SpatialReference(wkt).GetAxesCount() < 3:
        return wkt
    return horizontal_system(wkt).ExportToWkt()


def has_pixel_size(geotransform: Sequence[float]) -> bool:
    """Returns whether six numbers of a geotransform give a pixel an area, and a finite place."""
    _, x_column, x_row, _, y_column, y_row = geotransform
    area = x_column * y_row - x_row * y_column
    return all(math.isfinite(number) for number in (*geotransform, area)) and area != 0


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
    """Creates a raster on a grid, without the vertical part of its projection.

    Heights above ground have no vertical datum, and GDAL would take the unit of a vertical CRS for
    that of the pixels.

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
        dataset.SetProjection(horizontal_projection(grid.projection))
    if grid.control_points and grid.geotransform is None:  # a GeoTIFF holds one of them
        points = [gdal.GCP(x, y, z, c, r) for c, r, x, y, z in grid.control_points.points]
        dataset.SetGCPs(points, horizontal_projection(grid.control_points.projection))
    if grid.rpcs:
        dataset.SetMetadata(dict(grid.rpcs), "RPC")
    return dataset
