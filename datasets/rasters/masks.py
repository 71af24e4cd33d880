"""Which pixels of a raster have data: decided here, whatever the file uses to say it."""

from collections.abc import Sequence

import numpy as np
from osgeo import gdal


def valid_pixels(
    dataset: gdal.Dataset,
    window: tuple[int, int, int, int],
    numbers: Sequence[int],
    pixels: np.ndarray,
    use_nodata: bool = True,
) -> np.ndarray:
    """Decides which pixels of some bands have data; call it within `gdal_errors`.

    A pixel has data if each of these allows it:

    - alpha bands, of any type and anywhere in the file: above 0;
    - the masks that the file has, for all bands or each of its own (internal, `.msk`, of a VRT):
      above 0 in any of the bands;
    - the declared nodata values: any of the bands differs from its own. So a photo whose nodata is
      black keeps its pure red;
    - not-a-number and infinity: in none of the bands.

    GDAL's own mask uses only the first of a mask, a nodata value and an alpha band, and of alpha
    bands only those of whole numbers.

    Args:
        dataset: open file.
        window: (column, row, columns, rows).
        numbers: of the bands, from 1, without alpha.
        pixels: (rows, columns, bands) of them: the window, or fewer rows and columns that GDAL
            took from it.
        use_nodata: False = declared nodata values are data.

    Returns:
        bool (rows, columns).
    """
    rows, columns = pixels.shape[:2]
    size = {"buf_xsize": columns, "buf_ysize": rows}
    valid = np.zeros((rows, columns), bool)
    for i, number in enumerate(numbers):
        band = dataset.GetRasterBand(number)
        shown = _mask(band, window, size)
        if use_nodata:
            shown = shown & ~_equals(pixels[..., i], band.GetNoDataValue())
        valid |= shown
        if valid.all():
            break
    for number in alpha_bands(dataset):
        valid &= dataset.GetRasterBand(number).ReadAsArray(*window, **size) > 0
    if np.issubdtype(pixels.dtype, np.inexact):
        valid &= np.isfinite(pixels).all(axis=-1)
    return valid


def pixel_bands(dataset: gdal.Dataset) -> list[int]:
    """Returns the numbers (from 1) of the bands of an open dataset that are not alpha."""
    alpha = alpha_bands(dataset)
    return [number for number in range(1, dataset.RasterCount + 1) if number not in alpha]


def alpha_bands(dataset: gdal.Dataset) -> list[int]:
    """Returns the numbers (from 1) of the alpha bands of an open dataset."""
    numbers = range(1, dataset.RasterCount + 1)
    meanings = {i: dataset.GetRasterBand(i).GetColorInterpretation() for i in numbers}
    return [i for i in numbers if meanings[i] == gdal.GCI_AlphaBand]


def _mask(band, window, size):
    """Reads the mask of a band, or of its file: True = data. Alpha and nodata are not in it."""
    flags = band.GetMaskFlags()
    # GMF_NODATA with GMF_PER_DATASET: the file has one nodata value for all bands together.
    if flags & (gdal.GMF_ALL_VALID | gdal.GMF_ALPHA) or flags == gdal.GMF_NODATA:
        return np.ones((size["buf_ysize"], size["buf_xsize"]), bool)
    return band.GetMaskBand().ReadAsArray(*window, **size) > 0


def _equals(values, nodata):
    """Returns where values are the nodata value, up to its rounding as GDAL allows it."""
    if nodata is None or not np.issubdtype(values.dtype, np.inexact):
        return values == nodata if nodata is not None else np.zeros(values.shape, bool)
    with np.errstate(over="ignore", invalid="ignore"):
        stored = np.asarray(nodata, values.dtype)
        return np.isclose(values, stored, rtol=4 * np.finfo(values.dtype).eps, atol=0)
