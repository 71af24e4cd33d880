"""Published images whose photo, heights and labels are files with the same pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from datasets.prepare.cutting import cut_windows
from datasets.prepare.running import Job
from datasets.prepare.tile_files import Pixels, PrepareError
from datasets.rasters.grids import part_of_grid
from datasets.rasters.reading import Grid, read_info, read_window
from datasets.rasters.writing import TYPES

LIMITS = (-1000.0, 1000.0)  # metres above ground; beyond lies no data


@dataclass(frozen=True)
class Scene:
    """One image of a published data set.

    Attributes:
        name, split: as in the prepared data set.
        image, heights: paths that GDAL opens.
        labels: such a path, a function (row, column, rows, columns) that returns codes
            (rows, columns, 1), or None.
        height_scale: metres = stored x height_scale.
        geotransform: where the files do not have it.
        radar: such a path, or None.
    """

    name: str
    split: str
    image: str
    heights: str
    labels: str | Callable | None = None
    height_scale: float = 1.0
    geotransform: tuple | None = None
    radar: str | None = None


def scene_jobs(scenes, tile, overlap):
    """Returns the `Job`s of scenes.

    Args:
        scenes: `Scene`s.
        tile: rows and columns of a tile; None = one tile of each whole scene.
        overlap: share of a tile that the next one repeats.

    Raises:
        PrepareError: if the files differ in size or bands, or are smaller than a tile.
        RasterError: if a file cannot be read.
    """
    return [job for scene in scenes for job in _jobs(scene, tile, overlap)]


def read_scene(scene, grid, row, column, rows, columns):
    """Reads a rectangle of a scene.

    Args:
        scene: `Scene`.
        grid: of the whole scene.
        row, column, rows, columns: the rectangle, pixels.

    Returns:
        `Pixels`.
    """
    window = (row, column, rows, columns)
    image, has_image = read_window(scene.image, *window)
    stored, valid = read_window(scene.heights, *window)
    metres = stored[..., 0].astype("float32") * np.float32(scene.height_scale)
    valid = valid & (metres >= LIMITS[0]) & (metres <= LIMITS[1])
    labels = has_label = None
    if callable(scene.labels):
        labels = scene.labels(*window)
        has_label = np.ones((rows, columns), bool)
    elif scene.labels:
        labels, has_label = read_window(scene.labels, *window)
    heights = np.where(valid, metres, np.float32(np.nan))
    radar = read_window(scene.radar, *window) if scene.radar else (None, None)
    place = part_of_grid(grid, *window)
    return Pixels(image, has_image, heights, labels, has_label, place, *radar)


def _jobs(scene, tile, overlap):
    """Returns the `Job`s of one scene."""
    grid = _check_scene(scene)
    windows = cut_windows(grid, tile, overlap, scene.image)
    return [
        Job(
            scene.split,
            scene.name + end,
            partial(read_scene, scene, grid, *window),
            scene.labels is not None,
            scene.radar is not None,
        )
        for end, window in windows.items()
    ]


def _check_scene(scene):
    """Returns the grid of a scene, or raises PrepareError if its files do not fit."""
    infos = {"image": read_info(scene.image), "heights": read_info(scene.heights)}
    if isinstance(scene.labels, str):
        infos["labels"] = read_info(scene.labels)
    if scene.radar:
        infos["radar"] = read_info(scene.radar)
    for name, bands in {"image": (3,), "heights": (1,), "labels": (1, 3), "radar": (1,)}.items():
        if name in infos and infos[name].bands not in bands:
            raise PrepareError(
                f"{infos[name].path} has {infos[name].bands} bands, expected "
                f"{' or '.join(map(str, bands))} of {name}."
            )
    if scene.radar and infos["radar"].dtype not in TYPES:
        raise PrepareError(
            f"{scene.radar} is {infos['radar'].dtype}, expected {', '.join(TYPES)}. Convert "
            "it, for instance with gdal_translate -ot Float32."
        )
    sizes = {f"{i.path}: {i.grid.rows} x {i.grid.columns}" for i in infos.values()}
    if len({(info.grid.rows, info.grid.columns) for info in infos.values()}) > 1:
        raise PrepareError(
            f"the files of {scene.name} differ in size: {', '.join(sorted(sizes))} (rows x "
            "columns), expected the same pixels. Download them again."
        )
    grid = infos["image"].grid
    place = grid.geotransform or scene.geotransform
    return Grid(grid.rows, grid.columns, place, grid.projection)
