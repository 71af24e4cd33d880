"""The demo data set: made-up scenes as GeoTIFFs in the standard layout, made once, on demand."""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from datasets.demo.canvas import BUILDING, GROUND, VEGETATION
from datasets.demo.scene import KINDS, make_scene
from datasets.rasters.grids import projection_wkt
from datasets.rasters.reading import Grid
from datasets.rasters.writing import write_raster
from datasets.records.record import SPLITS
from datasets.tiles.folders import DataError
from project.files import check_writable, read_json, whole_folder

GSD = 0.5  # metres per pixel
EPSG = 32632  # UTM zone 32 north
CORNER = (690000.0, 5336000.0)  # easting and northing of the first tile's upper left corner
TILES_ABREAST = 10  # of each split, from west to east
MARKER = "demo.json"
VERSION = 1  # raise it when scenes change, so that an older folder is refused
COLOURS = [
    (GROUND, "ground", (190, 180, 160)),
    (VEGETATION, "vegetation", (60, 140, 60)),
    (BUILDING, "building", (200, 60, 50)),
]


@dataclass(frozen=True)
class DemoPlan:
    """What a demo data set consists of.

    Attributes:
        tile_size: rows and columns of each tile, pixels.
        counts: tiles of train, valid and test.
        seed: of the scenes.
    """

    tile_size: int
    counts: tuple[int, ...]
    seed: int

    def __post_init__(self) -> None:
        if self.tile_size < 16:
            raise ValueError(f"tile_size is {self.tile_size}, expected at least 16 pixels.")
        if len(self.counts) != len(SPLITS) or min(self.counts) < 0 or sum(self.counts) == 0:
            raise ValueError(
                f"counts is {self.counts}, expected three numbers of tiles for train, valid "
                "and test, none negative and not all 0, such as (64, 8, 8)."
            )
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected 0 or more.")

    def tiles(self) -> list[tuple[str, int]]:
        """Returns every (split, number) of the data set."""
        return [(s, n) for s, count in zip(SPLITS, self.counts, strict=True) for n in range(count)]

    def files(self) -> list[str]:
        """Returns the relative path of every raster."""
        return [tile_file(layer, *tile) for tile in self.tiles() for layer in LAYERS]

    def marker(self) -> str:
        """Returns the text that a complete folder holds under the name `MARKER`."""
        return json.dumps({"version": VERSION, **asdict(self)}) + "\n"


# What each folder of a split holds: field of `Scene`, and how it is described in the file.
LAYERS: dict[str, tuple[str, dict]] = {
    "rgb": ("image", {"description": "red, green, blue"}),
    "dsm": ("heights", {"unit": "metre", "description": "height above ground"}),
    "sem": ("labels", {"description": "class", "colours": COLOURS}),
}


def make_demo(
    folder: str | Path,
    tile_size: int = 256,
    counts: Sequence[int] = (64, 8, 8),
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Makes the demo data set, unless the folder holds it already.

    The folder takes its name only when all is in it; an interrupted run leaves nothing there.

    Args:
        folder: of the data set; its parents are made.
        tile_size: rows and columns of each tile, pixels.
        counts: tiles of train, valid and test.
        seed: of the scenes; a tile depends on seed, split and number, and on nothing else.
        progress: function (tiles done, tiles in all), called after each tile.

    Raises:
        ValueError: if the folder holds something else or cannot be made, or a number is out of
            range.
    """
    folder, plan = Path(folder), DemoPlan(int(tile_size), tuple(counts), int(seed))
    if holds_demo(folder, plan):
        return
    check_writable(folder.parent)
    try:
        with whole_folder(folder) as part:
            fill_folder(part, plan, progress)
    except OSError:
        # Another process may have made the same data set in the meantime.
        if not holds_demo(folder, plan):
            raise


def ensure_demo(folder: str | Path, progress: Callable[[int, int], object] | None = None) -> None:
    """Makes the demo data set of default size, unless the folder holds one of any size.

    Raises:
        DataError: if the folder holds something else, or scenes of an older version.
    """
    marker = Path(folder) / MARKER
    try:
        if marker.is_file() and read_json(marker)["version"] == VERSION:
            return
        make_demo(folder, progress=progress)
    except (ValueError, KeyError) as error:
        raise DataError(f"{folder}: {error}") from None


def holds_demo(folder: Path, plan: DemoPlan) -> bool:
    """Returns whether a folder holds this data set; False if it is absent or empty.

    Raises:
        ValueError: if it holds anything else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    advice = "Remove it, so that the demo data set is made again, or choose another folder."
    marker = folder / MARKER
    found = marker.read_text() if marker.is_file() else f"no {MARKER}"
    if found != plan.marker():
        raise ValueError(
            f"{folder} exists, but does not hold this demo data set: expected "
            f"{plan.marker().strip()}, found {found.strip()}. {advice}"
        )
    missing = [name for name in plan.files() if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{folder} lacks {len(missing)} of its {len(plan.files())} files, such as "
            f"{missing[0]}. {advice}"
        )
    return True


def fill_folder(
    folder: Path, plan: DemoPlan, progress: Callable[[int, int], object] | None
) -> None:
    """Writes all tiles, and last the marker."""
    tiles = plan.tiles()
    # Threads are enough: NumPy, OpenCV and GDAL release Python's lock while they work.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        written = pool.map(lambda tile: write_demo_tile(folder, plan, *tile), tiles)
        for done, _ in enumerate(written, 1):
            if progress:
                progress(done, len(tiles))
    (folder / MARKER).write_text(plan.marker())


def write_demo_tile(folder: Path, plan: DemoPlan, split: str, number: int) -> None:
    """Makes one scene and writes its three rasters."""
    rng = np.random.default_rng([plan.seed, SPLITS.index(split), number])
    scene = make_scene(rng, plan.tile_size, GSD, number % len(KINDS))
    grid = demo_grid(split, number, plan.tile_size)
    for layer, (name, meaning) in LAYERS.items():
        write_raster(
            folder / tile_file(layer, split, number), getattr(scene, name), grid, **meaning
        )


def tile_file(layer: str, split: str, number: int) -> str:
    """Returns the path of a raster of a tile, relative to the data set."""
    return f"{split}/{layer}/{split}_{number:03d}.tif"


def demo_grid(split: str, number: int, size: int) -> Grid:
    """Returns the grid of a tile; tiles and splits lie side by side without overlap."""
    row, column = divmod(number, TILES_ABREAST)
    column += SPLITS.index(split) * TILES_ABREAST
    left, top = CORNER[0] + column * size * GSD, CORNER[1] - row * size * GSD
    return Grid(size, size, (left, GSD, 0.0, top, 0.0, -GSD), projection_wkt(EPSG))
