"""A scene while it is predicted: finished rows wait in a hidden folder beside the output."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from datasets.rasters.ownership import check_replaceable, remove_derived
from datasets.rasters.reading import Grid, RasterError
from datasets.rasters.writing import Layer, RowFile, read_tags, write_cog
from prediction.maps import map_rows
from prediction.scene_files import being_predicted, map_path
from project.errors import UserError
from project.files import read_json, write_json, writing
from project.lease import Lease, acquire, beside

IDENTITY_TAG = "DSMNET_IDENTITY"
PROGRESS = "progress.json"  # in the work folder


def work_folder(output: Path) -> Path:
    """Returns the folder in which the rows of an output wait until it is whole."""
    return output.with_name(f".{output.name}.partial")


def scene_lease(output: Path, wait: bool = True) -> Lease:
    """Keeps other processes away from an output, until the lease is released.

    Args:
        output: of the heights.
        wait: as of `project.lease.acquire`.

    Raises:
        HeldError: naming the process that predicts the same output.
        LeaseError: if no file can be written beside the output.
    """
    return acquire(beside(output), being_predicted(output), wait)


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
    """The finished rows of a scene's maps, on disk, while this process holds `scene_lease`.

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
        check: Callable[[], object] = lambda: None,
    ):
        """Continues with the rows in the work folder if they have the same identity.

        Args:
            output: of the heights.
            layers: of `prediction.maps.map_layers`.
            codes: the code of each class index.
            grid: of the maps.
            identity: what the prediction depends on.
            resume: False = start again in any case.
            check: is called before something is written; raises an error if another process has
                taken over.

        Raises:
            RasterError: if a map would replace a file that is not this project's.
            UserError: if the work folder cannot be made.
        """
        for name in layers:
            check_replaceable(map_path(output, name))
        self.output, self.layers, self.codes, self.grid = output, layers, codes, grid
        self.check, self.digest = check, digest(identity)
        self.folder = _made_folder(work_folder(output))
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
        self.check()
        with self._writing():
            for name, file in self.files.items():
                file.write(row, map_rows(name, file.layer, self.codes, values, valid))
                file.flush()
            self.check()
            self._note(row + len(valid))

    def finish(self) -> None:
        """Writes the Cloud-Optimized GeoTIFFs and takes the folder away; the heights come last.

        Raises:
            RasterError: if a file of others has come where a map belongs; the rows stay.
        """
        # A process that was suspended here may wake when another does the same: each has its names.
        kind = f"cog.{secrets.token_hex(4)}"
        with self._writing():
            for name, file in self.files.items():
                file.close()
                write_cog(file.path, self._part(name, kind), classes=name == "classes")
        paths = {name: map_path(self.output, name) for name in self.files}
        self.check()
        for path in paths.values():  # again: it may be hours since the scene was begun
            check_replaceable(path)
        for name in sorted(paths, key=lambda name: name == "heights"):
            for side in remove_derived(paths[name]):
                print(f"Removed {side}, which described the earlier map.")
            os.replace(self._part(name, kind), paths[name])
        self.discard()

    def discard(self) -> None:
        """Takes the folder away with the rows in it.

        The note of finished rows goes first: a process that is killed in between leaves nothing
        that another would go on with.
        """
        self.files = {}
        (self.folder / PROGRESS).unlink()
        shutil.rmtree(self.folder)

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
        for path in self.folder.glob("*.tif*" if new else "*.cog.*"):
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


def _made_folder(folder: Path) -> Path:
    """Makes the work folder if it is absent, and returns it.

    Raises:
        UserError: saying what is in the way.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UserError(
            f"{folder} is a file, but finished rows are kept in a folder of that name. Remove it, "
            "or give another output."
        ) from None
    except OSError as error:
        raise UserError(
            f"{folder}, where finished rows are kept, cannot be made ({error.strerror}). Give "
            "another output, make room, or change the permissions."
        ) from None
    return folder
