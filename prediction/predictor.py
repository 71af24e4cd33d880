"""One trained network and the scenes that it predicts, one after the other."""

import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows

# isort: split
import json
import resource
import statistics
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from datasets.rasters.photos import Photo, cache_limit, file_state, open_photo, open_radar
from datasets.rasters.reading import Grid, pixel_shear, read_info
from devices.memory import free_memory
from models.height_network import Extras, make_height_network
from prediction.maps import SOURCES, class_codes, map_layers
from prediction.requests import check_options, requested_maps
from prediction.scene_files import map_path
from prediction.streaming import Reader, Windows, band_bytes, stream_windows
from prediction.tiles import make_predictor
from prediction.unfinished import (
    IDENTITY_TAG,
    UnfinishedScene,
    digest,
    is_finished,
    scene_lease,
)
from project.version import SOFTWARE, checkout
from runs.folders import weights_file
from runs.networks import load_identified
from runs.start import computed_settings, start_strategy
from runs.stored import stored_stage, with_trained_dropout
from settings.loading import Settings
from settings.table import NETWORK, SettingsError

TIMED_BATCHES = 3
GSD_TOLERANCE = 0.05  # share of the training's gsd
# The settings that decide the heights, besides the weights.
DECISIVE = (
    *NETWORK,
    *("window_size", "overlap", "batch_windows", "tta", "match_gsd"),
    *("precision", "dropout", "seed"),
)


class Predictor:
    """A trained network on its devices, and how it predicts scenes."""

    def __init__(self, settings: Settings):
        """Builds the network and loads its weights.

        Args:
            settings: of `runs.stored.adopt_stored_network`; its `options` have `outputs` and
                `sar`.

        Raises:
            SettingsError: if the network cannot give what is asked for.
        """
        settings = with_trained_dropout(settings, "mtl")
        self.settings, self.record = settings, settings.record
        self.names = ("heights", *requested_maps(settings))
        check_options(settings)
        self.gsd = stored_stage(settings, "mtl").gsd
        strategy = start_strategy(settings)
        self.batch = settings.batch_windows * strategy.num_replicas_in_sync
        mtl, dae, self.network_identity = load_identified(settings, strategy)
        self.devices = {
            "replicas": strategy.num_replicas_in_sync,
            "device": "GPU" if tf.config.list_logical_devices("GPU") else "CPU",
        }
        self.codes = class_codes(self.record) if self.record.classes else []
        extras = Extras(
            settings.normal_coding if "normals" in self.names else None,
            settings.tta,
            "uncertainty" in self.names,
        )
        wanted = {SOURCES[name] for name in self.names}
        channels = {"heights": 1, "semantics": len(self.codes), "normals": 3, "uncertainty": 1}
        self.depth = sum(channels[name] for name in wanted)
        height_network = make_height_network(mtl, dae, extras)

        def network(image: tf.Tensor) -> dict[str, tf.Tensor]:
            return {k: v for k, v in height_network(image).items() if k in wanted}

        self.predict_batch = make_predictor(strategy, network)

    def predict(self, scene: Path, output: Path, wait: bool = True) -> None:
        """Predicts a scene into a file, or continues where an earlier process was interrupted.

        Args:
            scene: a raster.
            output: of the heights; other maps get their names from it.
            wait: as of `project.lease.acquire`.

        Raises:
            RasterError: if the scene cannot be read or a map cannot be written.
            SettingsError: if the scene is too wide for the memory.
            HeldError: if another process predicts the same output.
            LeaseError: if another process has taken over.
            OSError: if a file is missing or cannot be written.
        """
        photo, radar = self._open(scene)
        identity = self._identity(scene)
        if self._finished(output, identity):
            return
        windows = self._windows(photo)
        with scene_lease(output, wait) as lease:
            if self._finished(output, identity):  # by another process, before the lease was taken
                return
            tags = self._tags(scene, identity)
            layers = map_layers(self.names, photo.grid, self.codes, self.record.class_names, tags)
            resume = self.settings.resume == "auto"
            unfinished = UnfinishedScene(
                output, layers, self.codes, photo.grid, identity, resume, lease.check
            )
            try:
                self._stream(windows, image_reader(photo, radar), unfinished, scene.name)
                unfinished.finish()
            except KeyboardInterrupt:
                folder = unfinished.folder
                print(f"\nThe finished rows are in {folder}; the same command continues there.")
                raise
        for image in filter(None, (photo, radar)):
            if image.clipped:
                print(
                    f"warning: {image.clipped} pixels of {image.path} were beyond 0-255 and have "
                    "been clipped, as cubic resampling makes some at sharp edges."
                )
        print("\n".join(f"Written {map_path(output, name)}" for name in self.names))

    def estimate(self, scene: Path) -> None:
        """Prints the time and memory that a scene will take, from batches of random pixels."""
        photo, _ = self._open(scene)
        windows = self._windows(photo)
        noise = np.random.default_rng(0).uniform(
            0, 255, (self.batch, *2 * [windows.size], self.channels)
        )
        noise = noise.astype("float32")
        self.predict_batch(noise)  # compiles
        seconds = statistics.median(self._seconds(noise) for _ in range(TIMED_BATCHES))
        batches = len(windows.row_origins) * -(-len(windows.column_origins) // self.batch)
        process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # its peak
        parts = process, band_bytes(windows, self.channels, self.depth), cache_limit()
        sizes = [f"{part / 2**20:.0f} MiB" for part in (sum(parts), *parts)]
        print(
            f"{windows.count} windows of {windows.size} px every {windows.step} px, in {batches} "
            f"batches of at most {self.batch}; those without data are left out.\n"
            f"About {sizes[0]} of memory: {sizes[1]} with the network and a batch (without that of "
            f"GPUs), {sizes[2]} for a row of windows, at most {sizes[3]} for GDAL's cache.\n"
            f"At most about {duration(batches * seconds)}: {seconds:.3g} s per batch here."
        )

    @property
    def channels(self) -> int:
        """Of the images."""
        return 4 if self.settings.sar_mode == "fusion" else 3

    def _finished(self, output: Path, identity: dict) -> bool:
        """Returns whether an output is complete and must be kept, and prints a line if so."""
        whole = self.settings.resume == "auto" and is_finished(output, self.names, identity)
        if whole:
            print(f"{output} is finished. --resume=never predicts it again.")
        return whole

    def _open(self, scene: Path) -> tuple[Photo, Photo | None]:
        """Opens photo and radar and prints what a user should know about them."""
        gsd = self.gsd if self.settings.match_gsd else None
        photo = open_photo(scene, self.record.rgb_scale, gsd)
        grid = read_info(scene).grid
        size = describe_sides(photo.sides)
        print(f"{scene}: {grid.rows} x {grid.columns} pixels (rows x columns), {size}")
        notes = gsd_notes(photo, self.gsd, self.settings.match_gsd)
        for note in (*photo.notes, *notes):
            print(f"  {note}")
        sar = self.settings.options.sar
        radar = open_radar(sar, photo.grid, self.record.sar_scale, gsd) if sar else None
        for note in radar.notes if radar else ():
            print(f"  radar image: {note}")
        return photo, radar

    def _windows(self, photo: Photo) -> Windows:
        """Returns the `Windows` of a scene.

        Raises:
            SettingsError: if a row of them does not fit into the memory.
        """
        grid, settings = photo.grid, self.settings
        windows = Windows(grid.rows, grid.columns, settings.window_size, settings.overlap)
        needed, free = band_bytes(windows, self.channels, self.depth), free_memory()
        if needed > free:
            raise SettingsError(
                f"{photo.path} is {grid.columns} px wide: a row of windows of {windows.size} px, "
                f"with {self.depth} values per pixel, takes {needed / 2**30:.3g} GiB of memory, "
                f"but {free / 2**30:.3g} GiB are free. Set a smaller window_size, ask for fewer "
                "maps (--outputs), or cut the scene into narrower parts (gdal_translate -srcwin)."
            )
        return windows

    def _stream(
        self, windows: Windows, read: Reader, unfinished: UnfinishedScene, title: str
    ) -> None:
        """Predicts what is missing, with a progress bar."""
        done = unfinished.finished_rows
        before = windows.first_number(done) if done < windows.rows else len(windows.row_origins)
        before *= len(windows.column_origins)
        with tqdm(
            desc=title, total=windows.count, initial=before, unit="window", dynamic_ncols=True
        ) as bar:
            stream_windows(
                windows,
                read,
                self.predict_batch,
                unfinished.write,
                self.batch,
                done,
                bar.update,
            )

    def _identity(self, scene: Path) -> dict:
        """Returns what the maps of a scene depend on, as JSON can hold it.

        The version of the code is not in it: few changes of the code change heights.
        """
        values = computed_settings(self.settings)
        sar = self.settings.options.sar
        return {
            "scene": file_state(scene),
            "sar": file_state(sar) if sar else None,
            "weights": self.network_identity,
            "settings": {name: values[name] for name in DECISIVE} | self.devices,
            "maps": list(self.names),
        }

    def _tags(self, scene: Path, identity: dict) -> dict[str, str]:
        """Returns the metadata of the maps."""
        return {
            "TIFFTAG_SOFTWARE": f"{SOFTWARE} {checkout()}",
            "DSMNET_SCENE": scene.name,
            "DSMNET_MODEL": str(weights_file(self.settings, "mtl")),
            **{f"DSMNET_{k.upper()}_SHA256": v for k, v in identity["weights"].items()},
            "DSMNET_SETTINGS": json.dumps(identity["settings"]),
            IDENTITY_TAG: digest(identity),
        }

    def _seconds(self, batch: np.ndarray) -> float:
        """Times one batch."""
        start = time.perf_counter()
        self.predict_batch(batch)
        return time.perf_counter() - start


def image_reader(photo: Photo, radar: Photo | None = None) -> Reader:
    """Returns the function with which `stream_windows` reads, of photo and radar as one image."""
    if radar is None:
        return photo.read

    def read(row: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        (image, valid), (echo, heard) = photo.read(row, rows), radar.read(row, rows)
        both = valid & heard
        return np.where(both[..., None], np.concatenate([image, echo], axis=-1), 0), both

    return read


def gsd_notes(photo: Photo, gsd: float, match_gsd: bool) -> list[str]:
    """Returns notes on the place and the pixel size of a photo.

    Args:
        photo: resampled if `match_gsd`.
        gsd: metres per pixel of the training.
        match_gsd: whether the photo was resampled to it.
    """
    grid = photo.grid
    notes = place_notes(grid)
    if pixel_shear(photo.grid) > GSD_TOLERANCE:
        notes.append(
            "warning: rows and columns are not at a right angle on the ground. Heights may be "
            "wrong; --match_gsd=true resamples the scene."
        )
    if photo.sides is None:
        return [*notes, f"the network was trained at {gsd:.3g} m per pixel"]
    if match_gsd:
        return [
            f"resampled to {gsd:.3g} m per pixel, {grid.rows} x {grid.columns} pixels; the heights "
            "are on that grid"
        ]
    if any(abs(side / gsd - 1) > GSD_TOLERANCE for side in photo.sides):
        notes.append(
            f"warning: the network was trained at {gsd:.3g} m per pixel. Heights may be wrong by "
            "that ratio; --match_gsd=true resamples the scene."
        )
    return notes


def place_notes(grid: Grid) -> list[str]:
    """Returns notes on a scene that has no CRS, or is placed by something else."""
    notes = []
    if grid.control_points:
        count = len(grid.control_points.points)
        of = "" if grid.control_points.projection else " without a CRS"
        notes.append(f"placed by {count} ground control points{of}, which the maps get as well")
    if grid.rpcs:
        notes.append("placed by polynomial coefficients (RPCs), which the maps get as well")
    return notes if notes or grid.projection else ["no CRS; the heights will have none either"]


def describe_sides(sides: tuple[float, float] | None) -> str:
    """Returns the size of a pixel as text: both sides if it is not square."""
    if sides is None:
        return "gsd not known"
    if abs(sides[0] / sides[1] - 1) > GSD_TOLERANCE:
        return f"{sides[0]:.3g} m (along a row) x {sides[1]:.3g} m per pixel"
    return f"{sum(sides) / 2:.3g} m per pixel"


def duration(seconds: float) -> str:
    """Returns a duration as text, in hours, minutes or seconds."""
    units = ((5400, 3600, "hours"), (90, 60, "minutes"), (0, 1, "seconds"))
    size, unit = next((size, unit) for least, size, unit in units if seconds >= least)
    return f"{seconds / size:.1f} {unit}"
