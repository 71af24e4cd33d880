"""Crops of the tiles of a split: read from the files, or from a cache in memory or on disk."""

import contextlib
import hashlib
import os
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from datasets.rasters.reading import GDAL_VERSION, RasterError, file_list
from datasets.records.record import Record
from datasets.tiles.folders import DataError, Tile
from datasets.tiles.labels import LabelError
from datasets.tiles.samples import read_tile_window
from devices.memory import free_memory
from project.errors import UserError
from project.files import DiskError, whole_folder

UNREADABLE = (RasterError, DataError, LabelError)
BLOCK_PIXELS = 1_000_000  # of a tile that are decoded at a time
UNUSED_DAYS = 7  # after which an entry on disk is deleted
FORMAT = 2  # of the decoded arrays; a new number makes earlier entries on disk useless


class CacheError(UserError):
    """A cache that has no room, or that cannot be read or written."""


class Decoder:
    """Decodes the tiles of a split into the smallest types that hold them.

    Attributes:
        tiles: of the split.
        record: of the data set.
        shapes: (rows, columns) of each tile.
        types: channels and NumPy type of each array that `read` returns, by name.
    """

    def __init__(
        self,
        tiles: Sequence[Tile],
        record: Record,
        shapes: Sequence[tuple[int, int]],
        image_type: str = "float32",
    ):
        """Prepares reading; nothing is opened yet.

        Args:
            tiles, record, shapes: see the attributes.
            image_type: "uint8" for images stored as 8 bits of 0-255, else "float32".
        """
        self.tiles, self.record, self.shapes = tiles, record, shapes
        self.types = {
            "image": (4 if tiles[0].sar else 3, image_type),
            "heights": (1, "float32"),
            "classes": (1, "int16"),
        }

    def read(self, number: int, window: tuple[int, int, int, int]) -> dict[str, np.ndarray]:
        """Reads what training needs of a window (row, column, rows, columns) of a tile.

        Returns:
            `image`, `heights` and `classes` of `datasets.tiles.samples.Sample`, each (rows,
            columns, channels).

        Raises:
            RasterError, DataError, LabelError: if the tile cannot be read; names the file.
        """
        image_type = self.types["image"][1]
        sample = read_tile_window(self.tiles[number], self.record, *window, image_type)
        return {
            "image": sample["image"],
            "heights": sample["heights"][..., None],
            "classes": sample["classes"][..., None].astype("int16"),
        }

    @property
    def tile_bytes(self) -> list[int]:
        """Bytes of each decoded tile."""
        pixel = sum(channels * np.dtype(kind).itemsize for channels, kind in self.types.values())
        return [rows * columns * pixel for rows, columns in self.shapes]

    def blocks(self, number: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Yields (first row, arrays of `read`) of blocks of rows that cover a tile."""
        rows, columns = self.shapes[number]
        height = max(1, BLOCK_PIXELS // columns)
        for row in range(0, rows, height):
            yield row, self.read(number, (row, 0, min(height, rows - row), columns))

    def state(self, number: int) -> tuple[tuple[str, ...], tuple]:
        """Returns the paths of all files of a tile, with parts and side files, and their stamps."""
        paths = self.tiles[number].files.values()
        try:
            files = tuple(file for path in paths for file in file_list(path))
        except UNREADABLE:
            files = tuple(map(str, paths))
        return files, tuple(map(stamp, files))


def stamp(path: str) -> tuple[int, int, int] | None:
    """Returns size and times of a file, which change with it; None if it is missing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


class TileCache(ABC):
    """Decodes each tile once, and again whenever one of its files has changed.

    Why a tile could not be read is remembered in the same way.
    """

    def __init__(self, decoder: Decoder):
        self._decoder = decoder
        self._locks = [threading.Lock() for _ in decoder.tiles]
        self._known: dict[int, tuple] = {}  # number of a tile -> (its state, what is kept)

    def read(self, number: int, window: tuple[int, int, int, int]) -> dict[str, np.ndarray]:
        """Returns copies of the arrays of a window (row, column, rows, columns) of a tile.

        Raises:
            RasterError, DataError, LabelError: if the tile cannot be read.
            CacheError: if the cache cannot.
        """
        with self._locks[number]:
            state, kept = self._known.get(number, (None, None))
            if state is None or tuple(map(stamp, state[0])) != state[1]:
                state = self._decoder.state(number)
                try:
                    kept = self._keep(number, state)
                except UNREADABLE as error:
                    kept = error
                self._known[number] = state, kept
        if isinstance(kept, Exception):
            raise type(kept)(*kept.args)  # one object raised again and again collects tracebacks
        return self._cut(number, kept, window)

    @abstractmethod
    def _keep(self, number, state):
        """Decodes a tile whose files are in `state`; returns what `_cut` needs of it."""

    @abstractmethod
    def _cut(self, number, kept, window):
        """Returns copies of the arrays of a window."""


class MemoryCache(TileCache):
    """Keeps decoded tiles in memory."""

    def __init__(self, decoder: Decoder):
        """Checks that there is room.

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

    def _keep(self, number, state):
        shape, types = self._decoder.shapes[number], self._decoder.types
        arrays = {name: np.empty((*shape, n), kind) for name, (n, kind) in types.items()}
        for row, block in self._decoder.blocks(number):
            for name, rows in block.items():
                arrays[name][row : row + len(rows)] = rows
        return arrays

    def _cut(self, number, kept, window):
        return _copies(kept, window)


class DiskCache(TileCache):
    """Keeps decoded tiles as .npy files, which later runs and other processes use as well."""

    def __init__(self, decoder: Decoder, folder: Path):
        """Makes the folder, deletes entries unused for `UNUSED_DAYS`, and checks for room.

        Args:
            decoder: of the tiles.
            folder: of the entries, one folder each.

        Raises:
            CacheError: if there is too little space left for all tiles.
        """
        super().__init__(decoder)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for entry in folder.iterdir():
            with contextlib.suppress(OSError):  # another process has just deleted it
                if time.time() - entry.stat().st_mtime > UNUSED_DAYS * 86400:
                    shutil.rmtree(entry, ignore_errors=True)
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(self._find, range(len(decoder.tiles))))
        sizes = zip(decoder.tile_bytes, found, strict=True)
        missing = sum(size for size, is_there in sizes if not is_there)
        free = shutil.disk_usage(folder).free
        if missing > free:
            raise CacheError(
                f"{folder}: cache=disk needs {missing / 1e9:.1f} GB more, but {free / 1e9:.1f} GB "
                "are free. Make room, set output_dir to another disk, or set cache=none."
            )

    def read(self, number: int, window: tuple[int, int, int, int]) -> dict[str, np.ndarray]:
        try:
            return super().read(number, window)
        except OSError as error:
            problem = error.problem if isinstance(error, DiskError) else error.strerror or error
            raise CacheError(f"{self._folder}: {problem}. Make room, or set cache=none.") from None

    def _find(self, number):
        """Returns whether the entry of a tile exists, and takes it into use."""
        state = self._decoder.state(number)
        entry = self._entry(state)
        if not entry.is_dir():
            return False
        with contextlib.suppress(OSError):  # it belongs to another user, or was just deleted
            os.utime(entry)
        self._known[number] = state, entry
        return True

    def _entry(self, state):
        """Returns the folder of a tile, named by a digest of all that determines its arrays."""
        content = (FORMAT, GDAL_VERSION, *state, self._decoder.record)
        text = repr((content, self._decoder.types["image"][1]))
        return self._folder / hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _keep(self, number, state):
        entry = self._entry(state)
        if not entry.is_dir():
            self._write(number, entry)
        return entry

    def _cut(self, number, entry, window):
        with contextlib.suppress(OSError, ValueError):
            return _copies(self._open(entry), window)
        # Someone has deleted or damaged the entry, and another thread may have restored it.
        with self._locks[number]:
            with contextlib.suppress(OSError, ValueError):
                return _copies(self._open(entry), window)
            shutil.rmtree(entry, ignore_errors=True)
            self._write(number, entry)
            return _copies(self._open(entry), window)

    def _open(self, entry):
        """Maps the arrays of an entry into memory.

        This is done for each window: mapped pages count as memory of this process.
        """
        return {name: np.load(entry / f"{name}.npy", mmap_mode="r") for name in self._decoder.types}

    def _write(self, number, entry):
        """Writes the arrays of a tile into its entry, which appears only when it is complete."""
        try:
            with whole_folder(entry) as part:
                self._fill(number, part)
        except OSError:
            if not entry.is_dir():  # otherwise another process was faster
                raise

    def _fill(self, number, folder):
        """Writes the arrays of a tile, a block at a time."""
        for name, (channels, kind) in self._decoder.types.items():
            _create(folder / f"{name}.npy", (*self._decoder.shapes[number], channels), kind)
        for row, block in self._decoder.blocks(number):
            for name, rows in block.items():
                array = np.lib.format.open_memmap(folder / f"{name}.npy", "r+")
                array[row : row + len(rows)] = rows
                array.flush()


def _create(path, shape, kind):
    """Creates a .npy file and allocates its space, so that only this fails on a full disk."""
    size = np.lib.format.open_memmap(path, "w+", dtype=kind, shape=shape).nbytes
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), path.stat().st_size - size, size)


def _copies(arrays, window):
    """Copies a window (row, column, rows, columns) out of each array."""
    row, column, rows, columns = window
    place = np.s_[row : row + rows, column : column + columns]
    return {name: np.array(array[place]) for name, array in arrays.items()}


class CropReader:
    """Reads crops of the tiles of a split.

    Attributes:
        types: channels and NumPy type of each array that `read` returns, by name.
        skipped: tile name -> (crops left out, message of the first).
        errors: what `read` has raised. TensorFlow passes on only the text of an error.
    """

    def __init__(self, decoder: Decoder, cache: TileCache | None = None, skip: bool = False):
        """Prepares reading; nothing is opened yet.

        Args:
            decoder: of the tiles.
            cache: of decoded tiles; None = the files are read for every crop.
            skip: True = a tile that cannot be read gives crops without valid pixels.
        """
        self._source: Decoder | TileCache = cache or decoder
        self._tiles, self._skip, self._lock = decoder.tiles, skip, threading.Lock()
        self.types = decoder.types
        self.skipped: dict[str, tuple[int, str]] = {}
        self.errors: list[UserError] = []

    def read(self, number: int, row: int, column: int, size: int) -> dict[str, np.ndarray]:
        """Reads one crop.

        Args:
            number: of the tile.
            row, column: upper left pixel.
            size: pixels, rows and columns.

        Returns:
            Arrays (size, size, channels) as from `Decoder.read`.

        Raises:
            RasterError, DataError, LabelError: if the tile cannot be read; names the file.
        """
        try:
            window = (int(row), int(column), int(size), int(size))
            return self._source.read(int(number), window)
        except UserError as error:
            if not (self._skip and isinstance(error, UNREADABLE)):
                self.errors.append(error)
                raise
            self._count(self._tiles[number].name, error)
        nodata = {"image": 0, "heights": np.nan, "classes": -1}
        return {
            name: np.full((size, size, channels), nodata[name], kind)
            for name, (channels, kind) in self.types.items()
        }

    def _count(self, tile, error):
        """Counts a crop that is left out, and prints a warning for the first of its tile."""
        with self._lock:
            crops, message = self.skipped.get(tile, (0, str(error)))
            self.skipped[tile] = crops + 1, message
        if crops == 0:
            print(f"\nwarning: left out, as bad_tiles is skip: {message}")
