"""Decoded tiles, kept in memory or on disk so that each is decoded once."""

import hashlib
import os
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import psutil

from datasets.crop_reader import read_compact
from datasets.folders import DataError
from datasets.rasters.declared import file_list

BLOCK_PIXELS = 1_000_000  # of a tile that are decoded at a time
MEMORY_SHARE = 0.5  # of the free memory that a cache may fill unasked
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def cache_bytes(shapes, channels, image_type):
    """Returns the bytes of all decoded tiles of these (rows, columns)."""
    pixel = channels * np.dtype(image_type).itemsize + 4 + 2  # image, heights, classes
    return sum(rows * columns for rows, columns in shapes) * pixel


def free_memory():
    """Returns the bytes of memory that may be filled, within the container's limit."""
    free = psutil.virtual_memory().available
    try:
        limit = int(CONTAINER_LIMIT.read_text())
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free
    return min(free, limit - psutil.Process().memory_info().rss)


class Decoder:
    """Decodes whole tiles of a split, a block of rows at a time."""

    def __init__(self, tiles, record, shapes, image_type):
        """Takes what `datasets.crop_reader.CropReader` takes, and the tiles' (rows, columns)."""
        self.tiles, self.record, self.shapes = tiles, record, shapes
        self.image_type = image_type

    @property
    def channels(self):
        """int, of the images."""
        return 4 if self.tiles[0].sar else 3

    def blocks(self, number):
        """Yields (first row, dict of `read_compact`) of the blocks of a tile, from the top."""
        rows, columns = self.shapes[number]
        height = max(1, BLOCK_PIXELS // columns)
        for row in range(0, rows, height):
            window = (row, 0, min(height, rows - row), columns)
            yield row, read_compact(self.tiles[number], self.record, window, self.image_type)

    def files(self, number):
        """Returns the paths of all files that a tile is made of, also parts and side files."""
        paths = self.tiles[number].files.values()
        return tuple(file for path in paths for file in file_list(path))


def stamps(files):
    """Returns what tells whether files have changed: size and time of each; None if it is gone."""

    def stamp(path):
        try:
            status = os.stat(path)
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    return tuple(map(stamp, files))


class MemoryCache:
    """Keeps decoded tiles in memory."""

    def __init__(self, decoder):
        self._decoder = decoder
        self._locks = [threading.Lock() for _ in decoder.tiles]
        self._kept = {}

    def read(self, number, window):
        """Returns copies of the arrays of a window (row, column, rows, columns) of a tile."""
        with self._locks[number]:
            files, stamp, arrays = self._kept.get(number, ((), None, {}))
            if stamp is None or stamps(files) != stamp:
                files, stamp, arrays = self._kept[number] = self._decode(number)
        return _cut(arrays, window)

    def _decode(self, number):
        files = self._decoder.files(number)
        stamp, arrays = stamps(files), {}
        rows, columns = self._decoder.shapes[number]
        for row, block in self._decoder.blocks(number):
            for name, part in block.items():
                shape = (rows, columns, part.shape[2])
                whole = arrays.setdefault(name, np.empty(shape, part.dtype))
                whole[row : row + len(part)] = part
        return files, stamp, arrays


class DiskCache:
    """Keeps decoded tiles as .npy files, which later runs find again."""

    def __init__(self, decoder, folder):
        """Makes the folder and sees that there is room.

        Args:
            decoder: `Decoder`.
            folder: `Path`.

        Raises:
            DataError: if there is too little space left for all tiles.
        """
        self._decoder, self._folder = decoder, folder
        self._locks = [threading.Lock() for _ in decoder.tiles]
        self._known = {}
        folder.mkdir(parents=True, exist_ok=True)
        there = sum(path.stat().st_size for path in folder.glob("*/*.npy"))
        missing = cache_bytes(decoder.shapes, decoder.channels, decoder.image_type) - there
        free = shutil.disk_usage(folder).free
        if missing > free:
            raise DataError(
                f"{folder}: cache=disk needs {missing / 1e9:.1f} GB more, but {free / 1e9:.1f} GB "
                "are free. Make room, set output_dir to another disk, or set cache=none."
            )

    def read(self, number, window):
        """Returns the arrays of a window (row, column, rows, columns) of a tile."""
        with self._locks[number]:
            entry = self._entry(number)
            if not entry.is_dir():
                self._decode(number, entry)
        # Opened for each window, so that the pages do not count as this process' memory.
        paths = {name: entry / f"{name}.npy" for name in ("image", "heights", "classes")}
        return _cut({name: np.load(path, mmap_mode="r") for name, path in paths.items()}, window)

    def _entry(self, number):
        """Returns the folder of a tile as it is now: <digest of its path>-<of its content>."""
        files, stamp, entry = self._known.get(number, ((), None, None))
        if stamp is None or stamps(files) != stamp:
            files = self._decoder.files(number)
            stamp = stamps(files)
            content = (files, stamp, self._decoder.record, self._decoder.image_type)
            path = self._decoder.tiles[number].rgb
            entry = self._folder / f"{_digest(path)}-{_digest(content)}"
            self._known[number] = files, stamp, entry
        return entry

    def _decode(self, number, entry):
        """Writes a tile's arrays into its folder, which appears when it is whole."""
        rows, columns = self._decoder.shapes[number]
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".") as folder:
            for row, block in self._decoder.blocks(number):
                for name, part in block.items():
                    path, shape = Path(folder) / f"{name}.npy", (rows, columns, part.shape[2])
                    mode = "r+" if row else "w+"
                    options = {} if row else {"dtype": part.dtype, "shape": shape}
                    whole = np.lib.format.open_memmap(path, mode, **options)
                    whole[row : row + len(part)] = part
            whole = Path(folder) / "tile"
            whole.mkdir()
            for path in Path(folder).glob("*.npy"):
                path.rename(whole / path.name)
            for old in self._folder.glob(f"{entry.name.split('-')[0]}-*"):
                shutil.rmtree(old, ignore_errors=True)
            try:
                whole.rename(entry)
            except OSError:
                if not entry.is_dir():  # else another process was as quick
                    raise


def _digest(content):
    return hashlib.blake2b(repr(content).encode(), digest_size=8).hexdigest()


def _cut(arrays, window):
    """Copies a window (row, column, rows, columns) out of each array."""
    row, column, rows, columns = window
    place = np.s_[row : row + rows, column : column + columns]
    return {name: np.array(array[place]) for name, array in arrays.items()}
