"""Decoded tiles, kept in memory or on disk so that each is decoded once."""

import contextlib
import hashlib
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from datasets.crops.crop_reader import UNREADABLE, read_compact
from datasets.rasters.reading import GDAL_VERSION, file_list
from devices.memory import free_memory
from project.errors import UserError
from project.files import whole_folder

BLOCK_PIXELS = 1_000_000  # of a tile that are decoded at a time
UNUSED_DAYS = 7  # after which an entry on disk is deleted
FORMAT = 1  # of what is decoded; a change makes earlier entries on disk useless
NAMES = ("image", "heights", "classes")


class CacheError(UserError):
    """A cache that has no room, or that cannot be read or written."""


class Decoder:
    """Decodes whole tiles of a split, a block of rows at a time."""

    def __init__(self, tiles, record, shapes, image_type):
        """Takes what `datasets.crops.crop_reader.CropReader` takes, and the tiles' shapes."""
        self.tiles, self.record, self.shapes = tiles, record, shapes
        self.image_type = image_type

    @property
    def tile_bytes(self):
        """Bytes of each decoded tile."""
        channels = 4 if self.tiles[0].sar else 3
        pixel = channels * np.dtype(self.image_type).itemsize + 4 + 2  # image, heights, classes
        return [rows * columns * pixel for rows, columns in self.shapes]

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
        try:
            return tuple(file for path in paths for file in file_list(path))
        except UNREADABLE:
            return tuple(map(str, paths))


def stamps(files):
    """Returns what tells whether files have changed: size and times of each; None if it is gone."""

    def stamp(path):
        try:
            status = os.stat(path)
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns

    return tuple(map(stamp, files))


class TileCache:
    """Decodes each tile once, and again when one of its files has changed.

    What a tile's files could not be read for is remembered, too, until they change.
    """

    def __init__(self, decoder):
        self._decoder = decoder
        self._locks = [threading.Lock() for _ in decoder.tiles]
        self._known = {}

    def read(self, number, window):
        """Returns copies of the arrays of a window (row, column, rows, columns) of a tile.

        Raises:
            RasterError, DataError, LabelError: if the tile cannot be read.
            CacheError: if the cache cannot.
        """
        with self._locks[number]:
            files, stamp, kept = self._known.get(number, ((), None, None))
            if stamp is None or stamps(files) != stamp:
                files = self._decoder.files(number)
                stamp = stamps(files)
                try:
                    kept = self._keep(number, (files, stamp))
                except UNREADABLE as error:
                    kept = error
                self._known[number] = files, stamp, kept
        if isinstance(kept, Exception):
            raise type(kept)(*kept.args)  # the same one would gather tracebacks
        return self._cut(number, kept, window)


class MemoryCache(TileCache):
    """Keeps decoded tiles in memory."""

    def __init__(self, decoder):
        """Sees that there is room.

        Raises:
            CacheError: if the tiles do not fit into the free memory.
        """
        super().__init__(decoder)
        needed, free = sum(decoder.tile_bytes), free_memory()
        if needed > free:
            raise CacheError(
                f"cache=memory needs {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free. Set "
                "cache=disk or cache=none."
            )

    def _keep(self, number, _):
        arrays = {}
        rows, columns = self._decoder.shapes[number]
        for row, block in self._decoder.blocks(number):
            for name, part in block.items():
                if row == 0:
                    arrays[name] = np.empty((rows, columns, part.shape[2]), part.dtype)
                arrays[name][row : row + len(part)] = part
        return arrays

    def _cut(self, _, arrays, window):
        return _cut(arrays, window)


class DiskCache(TileCache):
    """Keeps decoded tiles as .npy files, which later runs and other processes find again."""

    def __init__(self, decoder, folder):
        """Makes the folder, clears it of what was not used for `UNUSED_DAYS`, and looks for room.

        Args:
            decoder: `Decoder`.
            folder: `Path`.

        Raises:
            CacheError: if there is too little space left for all tiles.
        """
        super().__init__(decoder)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():
            if time.time() - _changed(entry) > UNUSED_DAYS * 86400:
                shutil.rmtree(entry, ignore_errors=True)
        with ThreadPoolExecutor() as pool:
            there = list(pool.map(self._find, range(len(decoder.tiles))))
        sizes = zip(decoder.tile_bytes, there, strict=True)
        missing, free = sum(size for size, kept in sizes if not kept), _free_space(folder)
        if missing > free:
            raise CacheError(
                f"{folder}: cache=disk needs {missing / 1e9:.1f} GB more, but {free / 1e9:.1f} GB "
                "are free. Make room, set output_dir to another disk, or set cache=none."
            )

    def _find(self, number):
        """Says whether a tile is there already, and takes it into use."""
        files = self._decoder.files(number)
        stamp = stamps(files)
        entry = self._entry(files, stamp)
        if not entry.is_dir():
            return False
        with contextlib.suppress(OSError):  # of another user, or just deleted
            os.utime(entry)
        self._known[number] = files, stamp, entry
        return True

    def _entry(self, files, stamp):
        """Returns the folder of a tile, whose name is a digest of all that decides its arrays."""
        content = (FORMAT, GDAL_VERSION, files, stamp, self._decoder.record)
        content = repr((content, self._decoder.image_type)).encode()
        return self._folder / hashlib.blake2b(content, digest_size=16).hexdigest()

    def _keep(self, number, state):
        entry = self._entry(*state)
        if not entry.is_dir():
            self._write(number, entry)
        return entry

    def _cut(self, number, entry, window):
        # Opened for each window, so that the pages do not count as this process' memory.
        with contextlib.suppress(OSError, ValueError):
            return _cut(_open(entry), window)
        with self._locks[number]:  # deleted or damaged by others, or mended by another thread
            with contextlib.suppress(OSError, ValueError):
                return _cut(_open(entry), window)
            shutil.rmtree(entry, ignore_errors=True)
            self._write(number, entry)
            with self._said_clearly():
                return _cut(_open(entry), window)

    def _write(self, number, entry):
        """Writes a tile's arrays into its folder, which appears when it is whole."""
        with self._said_clearly():
            try:
                with whole_folder(entry) as part:
                    for row, block in self._decoder.blocks(number):
                        self._write_block(part, self._decoder.shapes[number], row, block)
            except OSError:
                if not entry.is_dir():  # else another process was as quick
                    raise

    def _write_block(self, folder, shape, row, block):
        for name, values in block.items():
            path = folder / f"{name}.npy"
            if row == 0:
                _create(path, (*shape, values.shape[2]), values.dtype)
            whole = np.lib.format.open_memmap(path, "r+")
            whole[row : row + len(values)] = values
            whole.flush()

    @contextlib.contextmanager
    def _said_clearly(self):
        """Turns errors of the disk into `CacheError`."""
        try:
            yield
        except OSError as error:
            raise CacheError(
                f"{self._folder}: {error.strerror or error}. Make room, or set cache=none."
            ) from None


def _create(path, shape, kind):
    """Creates a .npy file with all of its space: on a full disk this fails, and not the writing."""
    size = np.lib.format.open_memmap(path, "w+", dtype=kind, shape=shape).nbytes
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), path.stat().st_size - size, size)


def _open(entry):
    return {name: np.load(entry / f"{name}.npy", mmap_mode="r") for name in NAMES}


def _cut(arrays, window):
    """Copies a window (row, column, rows, columns) out of each array."""
    row, column, rows, columns = window
    place = np.s_[row : row + rows, column : column + columns]
    return {name: np.array(array[place]) for name, array in arrays.items()}


def _changed(entry):
    """Returns when an entry was last used; now, if another process has just taken it away."""
    try:
        return entry.stat().st_mtime
    except OSError:
        return time.time()


def _free_space(folder):
    return shutil.disk_usage(folder).free
