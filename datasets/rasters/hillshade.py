"""Heights shaded like a landscape in the sun, which makes roofs and noise easy to see."""

import numpy as np
from osgeo import gdal

from datasets.rasters.grids import new_dataset
from datasets.rasters.reading import Grid


def hillshade(heights: np.ndarray, gsd: float) -> np.ndarray:
    """Shades heights with a light from the north-west, 45 degrees above the horizon.

    Uses GDAL's `gdaldem hillshade` (slopes of Horn 1981). Level ground always has the value 181,
    so two shaded tiles can be compared.

    Args:
        heights: float32 (rows, columns), metres; NaN = unknown.
        gsd: metres per pixel.

    Returns:
        uint8 (rows, columns), 1 to 255; 0 where the height is unknown.
    """
    rows, columns = heights.shape
    grid = Grid(rows, columns, (0.0, gsd, 0.0, 0.0, 0.0, -gsd), "")
    dataset = new_dataset("MEM", "", grid, kind=gdal.GDT_Float32)
    band = dataset.GetRasterBand(1)
    band.SetNoDataValue(np.nan)
    band.WriteArray(heights)
    shaded = gdal.DEMProcessing("", dataset, "hillshade", format="MEM", computeEdges=True)
    return shaded.ReadAsArray()
