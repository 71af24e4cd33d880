"""Which pixels of a raster have data: decided here, whatever the file uses to say it."""

import contextlib
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np
from osgeo import gdal

MOST_CODE = 2**32  # larger nodata values are no label codes


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
    - not-a-number and infinity: in none of the bands;
    - the sources of a VRT: one of them lies there. A VRT itself has 0 in the gaps between them.

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
        shown = _mask(band, window, size, use_nodata)
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


def declared_nodata(dataset: gdal.Dataset, numbers: Sequence[int]) -> int | tuple[int, ...] | None:
    """Returns the nodata values of bands as a label code: a number, or one for each of several.

    None = not every band has one, or they are not whole numbers.
    """
    together = dataset.GetMetadataItem("NODATA_VALUES")  # one value for all bands together
    values = [dataset.GetRasterBand(number).GetNoDataValue() for number in numbers]
    if together:
        with contextlib.suppress(ValueError, TypeError):
            values = [float(text) for text in together.split()][: len(numbers)]
    if not all(value is not None and abs(value) <= MOST_CODE for value in values):
        return None
    codes = tuple(int(value) for value in values if value == int(value))
    if len(codes) != len(numbers):
        return None
    return codes[0] if len(codes) == 1 else codes


def _mask(band, window, size, use_nodata):
    """Reads the mask of a band, or of its file: True = data. Alpha is not in it."""
    flags, shape = band.GetMaskFlags(), (size["buf_ysize"], size["buf_xsize"])
    if flags & gdal.GMF_ALL_VALID or flags & gdal.GMF_ALPHA:
        return _covered(band, window, shape)
    # With GMF_PER_DATASET the file has one nodata value for all bands together.
    if flags == gdal.GMF_NODATA or (flags & gdal.GMF_NODATA and not use_nodata):
        return _covered(band, window, shape)
    return band.GetMaskBand().ReadAsArray(*window, **size) > 0


def _covered(band, window, shape):
    """Returns where a source of a VRT lies; everywhere in other files."""
    covered = np.ones(shape, bool)
    if band.GetDataset().GetDriver().ShortName != "VRT":
        return covered
    flags, _ = band.GetDataCoverageStatus(*window)
    if not flags & gdal.GDAL_DATA_COVERAGE_STATUS_EMPTY:
        return covered
    covered[:] = False
    column, row, columns, rows = window
    x = column + (np.arange(shape[1]) + 0.5) * columns / shape[1]
    y = row + (np.arange(shape[0]) + 0.5) * rows / shape[0]
    for left, top, width, height in _sources(band):
        beside = (x >= left) & (x < left + width)
        covered |= beside & ((y >= top) & (y < top + height))[:, None]
    return covered


def _sources(band):
    """Yields (left, top, width, height) of the sources of a band of a VRT, in its pixels."""
    root = ElementTree.fromstring(band.GetDataset().GetMetadata("xml:VRT")[0])
    for place in root.findall(f"VRTRasterBand[@band='{band.GetBand()}']/*/DstRect"):
        yield tuple(float(place.get(name)) for name in ("xOff", "yOff", "xSize", "ySize"))


def _equals(values, nodata):
    """Returns where values are the nodata value, up to its rounding as GDAL allows it."""
    if nodata is None or not np.issubdtype(values.dtype, np.inexact):
        return values == nodata if nodata is not None else np.zeros(values.shape, bool)
    with np.errstate(over="ignore", invalid="ignore"):
        stored = np.asarray(nodata, values.dtype)
        return np.isclose(values, stored, rtol=4 * np.finfo(values.dtype).eps, atol=0)
