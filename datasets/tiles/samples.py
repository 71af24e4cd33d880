"""One window of a tile as arrays: image, heights, validity and class indices."""

import numpy as np

from datasets.rasters.grids import part_of_grid
from datasets.rasters.reading import read_info, read_shape, read_window
from datasets.tiles.folders import DataError
from datasets.tiles.labels import LabelError, class_indices, label_bands


def expected_bands(record):
    """Returns dict of the number of bands (without alpha) of the files of each kind."""
    return {"rgb": 3, "dsm": 1, "dem": 1, "sem": label_bands(record), "sar": 1}


def used_part(grid, record):
    """Returns the `Grid` of the part of a tile that is used: all, or the record's centre crop.

    Raises:
        DataError: if the grid is smaller than that.
    """
    size = record.centre_crop
    if size is None:
        return grid
    row, column = (grid.rows - size) // 2, (grid.columns - size) // 2
    if min(row, column) < 0:
        raise DataError(
            f"{grid.rows} x {grid.columns} pixels (rows x columns) is smaller than centre_crop "
            f"{size}. Lower centre_crop in dataset.toml or remove the tile."
        )
    return part_of_grid(grid, row, column, size, size)


def tile_grid(tile, record):
    """Returns the `Grid` of the part of a tile that is used.

    Its place is that of the file which knows best where it lies, the photo first.
    """
    grids = [read_info(path).grid for path in tile.files.values()]
    best = max(grids, key=lambda grid: (bool(grid.geotransform), bool(grid.projection)))
    return used_part(best, record)


def read_tile_window(tile, record, row, column, rows, columns, image_type="float32"):
    """Reads a window of a tile's files, in the units that networks and metrics use.

    Args:
        tile: `datasets.tiles.folders.Tile`.
        record: `datasets.records.record.Record`, for the scales and the classes.
        row, column: upper left pixel of the window, counted from that of `tile_grid`.
        rows, columns: its size in pixels.
        image_type: "uint8" keeps images of 8 bits that need no scaling as they are stored.

    Returns:
        dict of arrays:
            image: of that type, (rows, columns, 3 or 4), red, green, blue and, if the tile has a
                radar image, radar, 0-255; 0 where photo or radar has no data.
            has_image: bool (rows, columns), True where photo and radar have data.
            heights: float32 (rows, columns), metres above ground; NaN where not valid.
            valid: bool (rows, columns), True where image and heights have data, and the terrain
                where there is one; what lies beyond the record's height_limits has none.
            classes: int32 (rows, columns), class index; -1 = ignore, also where the image or
                the labels have no data; all -1 without labels.

    Raises:
        RasterError: if a file cannot be read or the window leaves the raster.
        DataError: if a file has the wrong number of bands, or the window leaves the centre crop.
        LabelError: if a label code is not in the record. All three name the file.
    """
    window = _place(tile, record, (row, column, rows, columns))
    image, has_image = _read_image(tile, record, window, image_type)
    metres, has_height = _read_heights(tile, record, window)
    valid = has_image & has_height
    return {
        "image": image,
        "has_image": has_image,
        "heights": np.where(valid, metres, np.float32(np.nan)),
        "valid": valid,
        "classes": _read_classes(tile, record, window, has_image),
    }


def _place(tile, record, window):
    """Returns a window (row, column, rows, columns) of the used part as one of the whole files."""
    size = record.centre_crop
    if size is None:
        return window
    row, column, rows, columns = window
    if min(row, column) < 0 or max(row + rows, column + columns) > size:
        raise DataError(
            f"{tile.rgb}: the window of {rows} x {columns} pixels at row {row}, column {column} "
            f"leaves the middle {size} x {size}. Take one within."
        )
    all_rows, all_columns = read_shape(tile.rgb)
    return row + (all_rows - size) // 2, column + (all_columns - size) // 2, rows, columns


def _read_image(tile, record, window, image_type):
    """Reads (rows, columns, 3 or 4) of 0-255, and where photo and radar have data."""
    image, has_image = _read(tile.rgb, window, 3)
    image = _scaled(image, record.rgb_scale, image_type)
    if tile.sar:
        radar, has_radar = _read(tile.sar, window, 1)
        radar = _scaled(radar, record.sar_scale, image_type)
        image, has_image = np.concatenate([image, radar], axis=-1), has_image & has_radar
    image[~has_image] = 0
    return image, has_image


def _scaled(pixels, scale, image_type):
    """Returns pixels x scale as `image_type`."""
    pixels = pixels.astype(image_type, copy=False)
    return pixels if scale == 1 else pixels * np.float32(scale)


def _read_heights(tile, record, window):
    """Reads float32 metres above ground (rows, columns), and where these are known."""
    metres, known = _read_metres(tile.dsm, record, window)
    if tile.dem is None:
        return metres, known
    terrain, has_terrain = _read_metres(tile.dem, record, window)
    with np.errstate(over="ignore", invalid="ignore"):  # of what is not known
        metres = metres - terrain
    return metres, known & has_terrain & _is_plausible(metres, record)


def _read_metres(path, record, window):
    """Reads a file of heights: float32 metres (rows, columns), and where these are plausible."""
    stored, valid = _read(path, window, 1)
    with np.errstate(over="ignore"):  # a nodata value may be too large for float32
        metres = stored[..., 0].astype("float32") * np.float32(record.height_scale)
    return metres, valid & _is_plausible(metres, record)


def _is_plausible(metres, record):
    """Says where heights are numbers within the limits."""
    if record.height_limits is None:
        return np.isfinite(metres)
    low, high = record.height_limits
    return (metres >= low) & (metres <= high)


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
