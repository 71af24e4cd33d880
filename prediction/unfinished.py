"""A scene while it is predicted: finished rows wait in a hidden folder beside the output."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from datasets.rasters.ownership import check_replaceable, remove_derived
from datasets.rasters.reading import Grid, RasterError
from datasets.rasters.writing import Layer, RowFile, read_tags, write_cog
from prediction.maps import map_rows
from prediction.scene_files import map_path
from project.files import read_json, write_json, writing

IDENTITY_TAG = "DSMNET_IDENTITY"
PROGRESS, LOCK = "progress.json", "lock"  # in the work folder


def work_folder(output: Path) -> Path:
    """Returns the folder in which the rows of an output wait until it is whole."""
    return output.with_name(f".{output.name}.partial")


def digest(identity: dict) -> str:
    """Returns the SHA-256 of what a prediction depends on, in types that JSON has."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def is_finished(output: Path, names: Sequence[str], identity: dict) -> bool:
    """Returns whether all maps of an output are there, with the same identity."""
    paths = [map_path(output, name) for name in names]
    try:
        return all(
            path.is_file() and read_tags(path).get(IDENTITY_TAG) == digest(identity)
            for path in paths
        )
    except RasterError:
        return False


class UnfinishedScene:
    """The finished rows of a scene's maps, on disk.

    Attributes:
        finished_rows: how many there are.
    """

    finished_rows: int

    def __init__(
        self,
        output: Path,
        layers: dict[str, Layer],
        codes: list[int],
        grid: Grid,
        identity: dict,
        resume: bool = True,
    ):
        """Continues with the rows in the work folder if they have the same identity.

        Args:
            output: of the heights.
            layers: of `prediction.maps.map_layers`.
            codes: the code of each class index.
            grid: of the maps.
            identity: what the prediction depends on.
            resume: False = start again in any case.

        Raises:
            RasterError: if a map would replace a file that is not this project's.
            BlockingIOError: if another process predicts the same output.
        """
        for name in layers:
            check_replaceable(map_path(output, name))
        self.output, self.layers, self.codes, self.grid = output, layers, codes, grid
        self.folder = work_folder(output)
        self.digest = digest(identity)
        self.lock = _locked_folder(self.folder, output)
        self.finished_rows = self._stored_rows() if resume else 0
        try:
            self.files = self._open()
        except RasterError as error:
            if not self.finished_rows:
                raise
            print(f"warning: {self.folder} is damaged ({error}); starting the scene again.")
            self.finished_rows = 0
            self.files = self._open()

    def write(self, row: int, values: dict[str, np.ndarray], valid: np.ndarray) -> None:
        """Takes the next rows, as of `prediction.streaming.stream_windows`."""
        with self._writing():
            for name, file in self.files.items():
                file.write(row, map_rows(name, file.layer, self.codes, values, valid))
                file.flush()
            self._note(row + len(valid))

    def finish(self) -> None:
        """Writes the Cloud-Optimized GeoTIFFs and takes the folder away; the heights come last.

        Raises:
            RasterError: if a file of others has come where a map belongs; the rows stay.
        """
        with self._writing():
            for name, file in self.files.items():
                file.close()
                write_cog(file.path, self._part(name, "cog"), classes=name == "classes")
        paths = {name: map_path(self.output, name) for name in self.files}
        for path in paths.values():  # again: it may be hours since the scene was begun
            check_replaceable(path)
        for name in sorted(paths, key=lambda name: name == "heights"):
            for side in remove_derived(paths[name]):
                print(f"Removed {side}, which described the earlier map.")
            os.replace(self._part(name, "cog"), paths[name])
        self.discard()

    def discard(self) -> None:
        """Takes the folder away with the rows in it.

        The note of finished rows goes first: a process that is killed in between leaves nothing
        that another would go on with. The lock goes last: until then no other process writes here.
        """
        self.files = {}
        (self.folder / PROGRESS).unlink()
        for path in self.folder.iterdir():
            if path.name != LOCK:
                path.unlink()
        (self.folder / LOCK).unlink()
        with contextlib.suppress(OSError):  # another process may have locked the folder since
            self.folder.rmdir()

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        """Names the output, not the hidden file, where the disk is full."""
        kept = f"The finished rows are in {self.folder}."
        grid, layers = self.grid, self.layers.values()
        pixel = sum(len(layer.bands) * np.dtype(layer.dtype).itemsize for layer in layers)
        return writing(self.output, "", grid.rows * grid.columns * pixel, kept, self.folder)

    def _open(self):
        """Opens the files of rows; without finished rows new ones."""
        new = None if self.finished_rows else self.grid
        if new:
            self._note(0)  # before the rows that were noted are gone
            for path in self.folder.glob("*.tif*"):
                path.unlink()
        return {
            name: RowFile(self._part(name, "rows"), layer, new)
            for name, layer in self.layers.items()
        }

    def _part(self, name: str, kind: str) -> Path:
        return self.folder / f"{name}.{kind}.tif"

    def _note(self, rows: int) -> None:
        write_json(self.folder / PROGRESS, {"identity": self.digest, "rows": rows})

    def _stored_rows(self) -> int:
        """Returns the finished rows of the same prediction in the folder, else 0."""
        path = self.folder / PROGRESS
        if not path.exists():
            return 0
        try:
            stored = read_json(path)
            rows, same = int(stored["rows"]), stored["identity"] == self.digest
        except (ValueError, KeyError, TypeError) as error:
            print(f"warning: {path} is damaged ({error}); starting the scene again.")
            return 0
        if not same:
            print(f"{self.folder} holds rows of another prediction: discarded.")
        return rows if same else 0


def _locked_folder(folder: Path, output: Path) -> IO:
    """Makes the work folder and locks it; returns the open lock file.

    Raises:
        BlockingIOError: if another process has locked it.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # A process that finishes takes folder and lock away, maybe between any two lines here.
        with contextlib.suppress(FileNotFoundError):
            file = _locked(folder / LOCK, output)
            if os.path.samestat(os.fstat(file.fileno()), (folder / LOCK).stat()):
                return file


def _locked(path: Path, output: Path) -> IO:
    """Locks a file for as long as this process has it open; returns the open file.

    Raises:
        BlockingIOError: if another process has locked it.
    """
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise BlockingIOError(
            f"{output} is being predicted by another process. Wait for it, or name another output."
        ) from None
    return file
