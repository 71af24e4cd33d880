"""Heights shaded like a landscape in the sun, in which the eye finds roofs and noise."""

import numpy as np
from osgeo import gdal


def hillshade(heights, gsd):
    """Shades heights by a light from the north-west, 45 degrees above the horizon.

    GDAL's `gdaldem hillshade` (slopes of Horn 1981). Level ground has the value 181, whatever
    else is on the tile, so that two shadings can be compared.

    Args:
        heights: float32 (rows, columns), metres; NaN = not known.
        gsd: float, metres per pixel.

    Returns:
        uint8 (rows, columns), 1 to 255; 0 where the height is not known.
    """
    rows, columns = heights.shape
    dataset = gdal.GetDriverByName("MEM").Create("", columns, rows, 1, gdal.GDT_Float32)
    dataset.SetGeoTransform((0.0, gsd, 0.0, 0.0, 0.0, -gsd))
    band = dataset.GetRasterBand(1)
    band.SetNoDataValue(np.nan)
    band.WriteArray(heights)
    shaded = gdal.DEMProcessing("", dataset, "hillshade", format="MEM", computeEdges=True)
    return shaded.ReadAsArray()
