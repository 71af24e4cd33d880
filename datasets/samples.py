"""One window of a tile as arrays: image, heights, validity and class indices."""

import numpy as np

from datasets.folders import DataError
from datasets.labels import LabelError, class_indices, label_bands
from datasets.rasters.reading import read_window


def expected_bands(record):
    """Returns dict of the number of bands (without alpha) of rgb, dsm and sem files."""
    return {"rgb": 3, "dsm": 1, "sem": label_bands(record)}


def read_tile_window(tile, record, row, column, rows, columns):
    """Reads a window of a tile's files, in the units that networks and metrics use.

    Args:
        tile: `datasets.folders.Tile`.
        record: `datasets.records.Record`, for the scales and the classes.
        row, column: upper left pixel of the window.
        rows, columns: its size in pixels.

    Returns:
        dict of arrays:
            image: float32 (rows, columns, 3), 0-255; 0 where the photo has no data.
            has_image: bool (rows, columns), True where the photo has data.
            heights: float32 (rows, columns), metres; NaN where not valid.
            valid: bool (rows, columns), True where image and heights have data; heights beyond
                the record's height_limits have none.
            classes: int32 (rows, columns), class index; -1 = ignore, also where the photo or
                the labels have no data; all -1 without labels.

    Raises:
        RasterError: if a file cannot be read or the window leaves the raster.
        DataError: if a file has the wrong number of bands.
        LabelError: if a label code is not in the record. All three name the file.
    """
    window = (row, column, rows, columns)
    bands = expected_bands(record)
    image, has_image = _read(tile.rgb, window, bands["rgb"])
    heights, has_height = _read(tile.dsm, window, bands["dsm"])
    metres, is_plausible = _metres(heights[..., 0], record)
    valid = has_image & has_height & is_plausible
    image = image.astype("float32") * np.float32(record.rgb_scale)
    return {
        "image": np.where(has_image[..., None], image, np.float32(0)),
        "has_image": has_image,
        "heights": np.where(valid, metres, np.float32(np.nan)),
        "valid": valid,
        "classes": _read_classes(tile, record, window, has_image),
    }


def _metres(stored, record):
    """Scales stored heights; returns float32 metres and where these lie within the limits."""
    with np.errstate(over="ignore"):  # a nodata value may be too large for float32
        metres = stored.astype("float32") * np.float32(record.height_scale)
    if record.height_limits is None:
        return metres, np.isfinite(metres)
    low, high = record.height_limits
    return metres, (metres >= low) & (metres <= high)


def _read(path, window, bands):
    """Reads a window and checks the number of bands."""
    pixels, valid = read_window(path, *window)
    if pixels.shape[2] != bands:
        raise DataError(band_message(path, pixels.shape[2], bands))
    return pixels, valid


def band_message(path, found, expected):
    """Returns the message for a file with the wrong number of bands."""
    plural = "" if found == 1 else "s"
    return (
        f"{path}: {found} band{plural}, expected {expected} (alpha not counted). "
        "Convert the file, for instance with gdal_translate -b."
    )


def _read_classes(tile, record, window, has_image):
    """Reads the class indices of a window, -1 where there are none."""
    if tile.sem is None:
        return np.full(has_image.shape, -1, "int32")
    codes, has_label = _read(tile.sem, window, expected_bands(record)["sem"])
    try:
        return class_indices(codes, has_label & has_image, record)
    except LabelError as error:
        raise LabelError(f"{tile.sem}: {error}") from None
