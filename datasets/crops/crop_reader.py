"""Crops of tiles in the smallest types that hold them, from the files or from a cache."""

import threading

import numpy as np

from datasets.rasters.reading import RasterError
from datasets.tiles.folders import DataError
from datasets.tiles.labels import LabelError
from datasets.tiles.samples import read_tile_window
from project.errors import UserError

UNREADABLE = (RasterError, DataError, LabelError)


def read_compact(tile, record, window, image_type):
    """Reads what training needs of a window of a tile, in the smallest types.

    Args:
        tile: `datasets.tiles.folders.Tile`.
        record: `datasets.records.record.Record`.
        window: (row, column, rows, columns), see `datasets.tiles.samples.read_tile_window`.
        image_type: "uint8" where images are stored in 8 bits, 0-255, else "float32".

    Returns:
        dict of arrays (rows, columns, channels): `image` of that type, `heights` float32,
        NaN = not valid, `classes` int16, -1 = ignore.

    Raises:
        RasterError, DataError, LabelError: as `read_tile_window`.
    """
    sample = read_tile_window(tile, record, *window, image_type)
    return {
        "image": sample["image"],
        "heights": sample["heights"][..., None],
        "classes": sample["classes"][..., None].astype("int16"),
    }


class CropReader:
    """Reads crops of the tiles of a split.

    Attributes:
        types: dict of name to NumPy type of what `read` returns, in its order.
        channels: dict of the same names to the number of channels.
        skipped: dict of tile name to (crops left out, message of the first).
        error: the `UserError` that ended the reading, or None: TensorFlow hands on its text only.
    """

    def __init__(self, tiles, record, image_type="float32", cache=None, skip=False):
        """Prepares reading; nothing is opened yet.

        Args:
            tiles: sequence of `datasets.tiles.folders.Tile`.
            record: `datasets.records.record.Record`.
            image_type: see `read_compact`.
            cache: of `datasets.crops.tile_cache`; None = files are read for every crop.
            skip: bool, True = a tile that cannot be read gives crops without anything valid.
        """
        self._tiles, self._record, self._cache = tiles, record, cache
        self._skip, self._lock = skip, threading.Lock()
        self.types = {"image": image_type, "heights": "float32", "classes": "int16"}
        self.channels = {"image": 4 if tiles[0].sar else 3, "heights": 1, "classes": 1}
        self.skipped, self.error = {}, None

    def read(self, number, row, column, size):
        """Reads one crop.

        Args:
            number: int, of the tile.
            row, column: upper left pixel.
            size: pixels, rows and columns.

        Returns:
            dict of arrays (size, size, channels), see `read_compact`.

        Raises:
            RasterError, DataError, LabelError: if the tile cannot be read; names the file.
        """
        tile, window = self._tiles[number], (int(row), int(column), int(size), int(size))
        try:
            return self._read(int(number), tile, window)
        except UserError as error:
            if not (self._skip and isinstance(error, UNREADABLE)):
                self.error = self.error or error
                raise
            self._count(tile, error)
        nothing = {"image": 0, "heights": np.nan, "classes": -1}
        return {
            name: np.full((size, size, self.channels[name]), nothing[name], kind)
            for name, kind in self.types.items()
        }

    def _read(self, number, tile, window):
        """Returns dict of the arrays of a window (row, column, rows, columns)."""
        if self._cache is None:
            return read_compact(tile, self._record, window, self.types["image"])
        return self._cache.read(number, window)

    def _count(self, tile, error):
        with self._lock:
            crops, message = self.skipped.get(tile.name, (0, str(error)))
            self.skipped[tile.name] = crops + 1, message
        if crops == 0:
            print(f"\nwarning: left out, as bad_tiles is skip: {message}")
