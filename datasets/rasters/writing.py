"""Writing GeoTIFFs that keep their grid, nodata value, unit and class colours."""

import numpy as np
from osgeo import gdal

from datasets.rasters.reading import gdal_errors
from project.files import whole_file

TYPES = {"uint8": gdal.GDT_Byte, "uint16": gdal.GDT_UInt16, "float32": gdal.GDT_Float32}


def write_raster(path, pixels, grid, nodata=None, unit="", description="", colours=None):
    """Writes a compressed, tiled GeoTIFF, which appears under its name when it is whole.

    Args:
        path: str or path of the file; its folder is made if it is absent, an older file replaced.
        pixels: array (rows, columns) or (rows, columns, bands); uint8, uint16 or float32.
        grid: `datasets.rasters.reading.Grid` of the pixels.
        nodata: value declared as nodata and written for NaN; None = NaN stays, none declared.
        unit: unit of the values, such as "metre".
        description: of every band.
        colours: list of (code, name, (red, green, blue)) for a single uint8 or uint16 band: its
            colour table. The names go to the band's metadata as CLASS_<code>, since GDAL keeps
            category names of a GeoTIFF in a second file only.

    Raises:
        ValueError: if the pixels are not on the grid, or of another type.
        RasterError: if the file cannot be written.
    """
    bands = _as_bands(pixels, grid)
    if nodata is not None and np.issubdtype(bands.dtype, np.floating):
        bands = np.where(np.isnan(bands), np.float32(nodata), bands)
    with whole_file(path) as part, gdal_errors(path, "write", "Its folder must have space left."):
        dataset = _create(part, bands, grid)
        for i in range(bands.shape[2]):
            describe_band(dataset.GetRasterBand(i + 1), nodata, unit, description, colours)
            dataset.GetRasterBand(i + 1).WriteArray(bands[..., i])
        dataset.FlushCache()  # errors raise here, and not when the reference goes
        dataset = None


def _as_bands(pixels, grid):
    """Returns the pixels as (rows, columns, bands), or raises ValueError."""
    if pixels.dtype.name not in TYPES:
        raise ValueError(
            f"pixels are {pixels.dtype.name}, expected one of {', '.join(TYPES)}. "
            "Convert them with .astype before writing."
        )
    if pixels.ndim not in (2, 3) or pixels.shape[:2] != (grid.rows, grid.columns):
        raise ValueError(
            f"pixels have shape {pixels.shape}, but the grid has ({grid.rows}, {grid.columns}) "
            "(rows, columns). Give (rows, columns) or (rows, columns, bands) on that grid."
        )
    return pixels.reshape(grid.rows, grid.columns, -1)


def _create(path, bands, grid):
    """Creates the empty file on its grid."""
    is_float = bands.dtype.kind == "f"
    options = ["COMPRESS=DEFLATE", "TILED=YES", "BIGTIFF=IF_SAFER"]
    options.append("PREDICTOR=3" if is_float else "PREDICTOR=2")
    # Said in full: of four bands GDAL would make the last one alpha.
    is_photo = bands.shape[2] == 3 and not is_float
    options.append("PHOTOMETRIC=RGB" if is_photo else "PHOTOMETRIC=MINISBLACK")
    dataset = gdal.GetDriverByName("GTiff").Create(
        str(path), grid.columns, grid.rows, bands.shape[2], TYPES[bands.dtype.name], options
    )
    if grid.geotransform is not None:
        dataset.SetGeoTransform(grid.geotransform)
    if grid.projection:
        dataset.SetProjection(grid.projection)
    return dataset


def describe_band(band, nodata, unit, description, colours):
    """Sets what a band means, before its pixels are written; arguments as of `write_raster`."""
    if nodata is not None:
        band.SetNoDataValue(nodata)
    if unit:
        band.SetUnitType(unit)
    if description:
        band.SetDescription(description)
    if colours:
        table = gdal.ColorTable()
        for code, name, rgb in colours:
            table.SetColorEntry(code, tuple(rgb))
            band.SetMetadataItem(f"CLASS_{code}", name)
        band.SetRasterColorTable(table)
