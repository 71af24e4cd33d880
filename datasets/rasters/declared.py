"""What large rasters say of themselves: samples of heights, units, datums, files."""

import numpy as np
from osgeo import gdal, osr

from datasets.rasters.reading import BROKEN, gdal_errors, read_info

US_FOOT = 1200 / 3937  # metres
UNITS = {
    **dict.fromkeys(["m", "metre", "meter", "metres", "meters"], 1.0),
    **dict.fromkeys(["ft", "foot", "feet", "international foot"], 0.3048),
    **dict.fromkeys(["us survey foot", "us-ft", "ftus", "foot_us"], US_FOOT),
}


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


def vertical_datum(path):
    """Returns the name of the vertical datum that the file declares, or None if it declares none.

    Heights above an ellipsoid, as of a three-dimensional CRS, are named after its datum.

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


def file_list(path):
    """Returns the paths of the files that a raster consists of: itself, parts of a VRT, side files.

    Raises:
        RasterError: if the file cannot be opened.
    """
    with gdal_errors(path, "open", BROKEN):
        return sorted({str(path), *(gdal.Open(str(path)).GetFileList() or [])})
