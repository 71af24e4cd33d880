"""What a sample and a batch hold, and how a window of a tile becomes a sample."""

from typing import TYPE_CHECKING, NotRequired, TypedDict

import numpy as np

from datasets.rasters.grids import part_of_grid
from datasets.rasters.heights import read_heights
from datasets.rasters.reading import Grid, read_info, read_labels, read_shape, read_window
from datasets.records.record import HEIGHT_LIMITS, SURFACE_LIMITS, Record
from datasets.tiles.folders import DataError, Tile
from datasets.tiles.labels import LabelError, class_indices, counted, label_bands

if TYPE_CHECKING:
    import tensorflow as tf  # takes seconds, which reading tiles does not need


class Sample(TypedDict):
    """A window of a tile, as `read_tile_window` returns it.

    Attributes:
        image: uint8 or float32 (rows, columns, 3 or 4), 0-255: red, green, blue and, if the tile
            has a radar image, radar. 0 = nodata.
        has_image: bool (rows, columns); True where the photo and the radar image have data.
        heights: float32 (rows, columns), metres above ground; NaN = nodata.
        valid: bool (rows, columns); True where image and heights have data, and the terrain if
            there is one. Heights beyond the record's height_limits count as nodata.
        classes: int32 (rows, columns), class index 0..K-1 in the order of the record's classes;
            -1 = ignore: an ignored code, no data in the image or the labels, or no labels.
    """

    image: np.ndarray
    has_image: np.ndarray
    heights: np.ndarray
    valid: np.ndarray
    classes: np.ndarray


class Batch(TypedDict):
    """Crops for one replica, as `datasets.crops.pipeline.training_dataset` feeds them.

    They come in the smallest types that hold them; `datasets.crops.targets.cast_batch` makes
    `image` float32 and `classes` int32 on the device, and adds `valid`.

    Attributes:
        image: uint8 or float32 (batch, size, size, 3 or 4), 0-255, channels as in `Sample`.
            0 = nodata.
        heights: float32 (batch, size, size, 1), metres above ground; NaN = nodata, also where the
            image has none.
        classes: int16 (batch, size, size, 1), class index; -1 = ignore.
        gsd_factor: float32 (batch,), pixel size of the crop as a multiple of the tile's.
        sample: int64 (batch,), the numbers of the crops in the endless stream.
        valid: bool (batch, size, size, 1), True where the height is known.
    """

    image: "tf.Tensor"
    heights: "tf.Tensor"
    classes: "tf.Tensor"
    gsd_factor: "tf.Tensor"
    sample: "tf.Tensor"
    valid: NotRequired["tf.Tensor"]


def read_tile_window(
    tile: Tile,
    record: Record,
    row: int,
    column: int,
    rows: int,
    columns: int,
    image_type: str = "float32",
) -> Sample:
    """Reads a window of a tile's files, in the units that networks and metrics use.

    Args:
        tile: its files.
        record: of its data set, for the scales and the classes.
        row, column: upper left pixel of the window, counted from that of `tile_grid`.
        rows, columns: its size in pixels.
        image_type: "float32"; "uint8" keeps images of 8 bits that need no scaling as they are.

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


def expected_bands(record: Record) -> dict[str, int]:
    """Returns the number of bands (alpha not counted) of the files of each kind."""
    return {"rgb": 3, "dsm": 1, "dem": 1, "sem": label_bands(record), "sar": 1}


def used_part(grid: Grid, record: Record) -> Grid:
    """Returns the part of a tile that is used: the whole tile, or the record's centre crop.

    Raises:
        DataError: if the tile is smaller than the centre crop.
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


def tile_grid(tile: Tile, record: Record) -> Grid:
    """Returns the grid of the part of a tile that is used.

    Its place is that of the best georeferenced file, the photo first.
    """
    grids = [read_info(path).grid for path in tile.files.values()]
    best = max(grids, key=lambda grid: (bool(grid.geotransform), bool(grid.projection)))
    return used_part(best, record)


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
    metres, known = read_heights(tile.dsm, window, record.height_scale)
    known = known & np.isfinite(metres)
    if tile.dem is not None:
        known = known & _is_on_earth(tile.dsm, metres, known, record)
        terrain, has_terrain = read_heights(tile.dem, window, record.height_scale)
        known = known & has_terrain & _is_on_earth(tile.dem, terrain, has_terrain, record)
        metres = np.where(known, metres - np.where(known, terrain, 0), np.float32(np.nan))
    if record.height_limits is not None:
        low, high = record.height_limits
        known = known & (metres >= low) & (metres <= high)
    return metres, known


def _is_on_earth(path, metres, known, record):
    """Returns where metres above the sea are those of land: a sentinel would cancel another.

    Raises:
        DataError: if others are known and the record has no limits that make them nodata.
    """
    low, high = SURFACE_LIMITS
    plausible = (metres >= low) & (metres <= high)
    beyond = known & ~plausible
    if record.height_limits is None and beyond.any():
        raise DataError(
            f"{path}: {counted(int(beyond.sum()), 'height')} beyond {low:g} to {high:g} m, such as "
            f"{metres[beyond][0]:g}. {limits_advice()}"
        )
    return plausible


def limits_advice() -> str:
    """Returns what to do about heights that cannot be true."""
    low, high = HEIGHT_LIMITS
    return (
        f"If they stand for nodata, add height_limits = [{low:g}, {high:g}] to dataset.toml, which "
        "makes heights above ground beyond these metres nodata; if they are not metres, "
        "height_scale."
    )


def _read_classes(tile, record, window, has_image):
    """Reads the class indices of a window, all -1 if there are no labels."""
    if tile.sem is None:
        return np.full(has_image.shape, -1, "int32")
    codes, has_label = read_labels(tile.sem, *window, record.codes)
    _check_bands(tile.sem, codes, label_bands(record))
    try:
        return class_indices(codes, has_label & has_image, record)
    except LabelError as error:
        raise LabelError(f"{tile.sem}: {error}") from None


def _read(path, window, bands):
    """Reads a window and checks the number of bands."""
    pixels, valid = read_window(path, *window)
    _check_bands(path, pixels, bands)
    return pixels, valid


def _check_bands(path, pixels, bands):
    """Raises DataError for pixels (rows, columns, bands) with another number of bands."""
    if pixels.shape[2] != bands:
        raise DataError(band_message(path, pixels.shape[2], bands))


def band_message(path: object, found: int, expected: int) -> str:
    """Returns the message for a file with the wrong number of bands."""
    return (
        f"{path}: {counted(found, 'band')}, expected {expected} (alpha not counted). "
        "Convert the file, for instance with gdal_translate -b."
    )
