"""Published images, whose photo, heights and labels have the same pixels, and the plan of them."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from datasets.catalogue import CATALOGUE
from datasets.prepare.preparation import Job, PreparationPlan, fitting_crop
from datasets.prepare.sources import SourceFile, mark_files
from datasets.prepare.splitting import cut_windows
from datasets.prepare.tile_files import Masked, PrepareError, TilePixels
from datasets.rasters.grids import part_of_grid
from datasets.rasters.heights import read_heights
from datasets.rasters.reading import Grid, read_info, read_labels, read_window
from datasets.rasters.warping import oblong_pixels
from datasets.rasters.writing import TYPES
from datasets.records.record import HEIGHT_LIMITS, Code, parse_record


@dataclass(frozen=True)
class PublishedImage:
    """One image of a published data set.

    Attributes:
        name, split: as in the prepared data set.
        image, heights: paths that GDAL opens.
        labels: such a path, a function (row, column, rows, columns) that returns codes
            (rows, columns, 1), or None.
        height_scale: metres = stored x height_scale; None = as the file says.
        geotransform: for files that have none.
        radar: such a path, or None.
        listed: label codes of the data set; they are labels even where the file has them as nodata.
    """

    name: str
    split: str
    image: str
    heights: str
    labels: str | Callable[[int, int, int, int], np.ndarray] | None = None
    height_scale: float | None = None
    geotransform: tuple[float, ...] | None = None
    radar: str | None = None
    listed: frozenset[Code] = frozenset()


def plan_images(
    images: Iterable[PublishedImage],
    options: argparse.Namespace,
    like: str,
    files: Sequence[SourceFile],
    **more: object,
) -> PreparationPlan:
    """Plans the tiles of published images; arguments and errors as of `image_jobs`, `plan_jobs`."""
    listed = parse_record(CATALOGUE[like], options.folder, like).codes
    images = [replace(image, listed=listed) for image in images]
    cut = (image_jobs(image, options.tile, options.overlap) for image in images)
    return plan_jobs([job for jobs in cut for job in jobs], options, like, files, **more)


def plan_jobs(
    jobs: Sequence[Job],
    options: argparse.Namespace,
    like: str,
    files: Sequence[SourceFile],
    **more: object,
) -> PreparationPlan:
    """Plans tiles whose heights are metres, with the record of the catalogue.

    Args:
        jobs: the tiles.
        options: has folder, source, tile, overlap, least_valid and binary.
        like: name in the catalogue whose record the data set takes.
        files: what the tiles come from.
        more: further keys of dataset.toml.
    """
    kept = {k: v for k, v in vars(options).items() if k not in ("folder", "source", "plan")}
    identity = {**kept, "source_files": mark_files(files)}
    like = f"{like}_bin" if options.binary else like
    crop = fitting_crop(options.tile, usual=CATALOGUE[like]["crop_size"])
    record = {"like": like, "height_scale": 1.0, **crop, **more}
    return PreparationPlan(options.folder, identity, jobs, record, options.least_valid)


def image_jobs(image: PublishedImage, tile: int | None, overlap: float) -> list[Job]:
    """Returns the tiles of an image.

    Args:
        image: to cut.
        tile: rows and columns of a tile; None = one tile of the whole image.
        overlap: share of a tile that the next one repeats.

    Raises:
        PrepareError: if the files differ in size or bands, or are smaller than a tile.
        RasterError: if a file cannot be read.
    """
    grid = _check_image_files(image)
    return [
        Job(
            image.split,
            image.name + end,
            partial(read_image, image, grid, *window),
            image.labels is not None,
            image.radar is not None,
        )
        for end, window in cut_windows(grid, tile, overlap, image.image).items()
    ]


def read_image(
    image: PublishedImage, grid: Grid, row: int, column: int, rows: int, columns: int
) -> TilePixels:
    """Reads a window of an image.

    Args:
        image: to read.
        grid: of the whole image.
        row, column: first pixel of the window.
        rows, columns: its size.
    """
    window = (row, column, rows, columns)
    metres, valid = read_heights(image.heights, window, image.height_scale)
    valid = valid & (metres >= HEIGHT_LIMITS[0]) & (metres <= HEIGHT_LIMITS[1])
    labels: Masked | None = None
    if callable(image.labels):
        labels = image.labels(*window), np.ones((rows, columns), bool)
    elif image.labels:
        labels = read_labels(image.labels, *window, image.listed)
    return TilePixels(
        read_window(image.image, *window),
        np.where(valid, metres, np.float32(np.nan)),
        labels,
        part_of_grid(grid, *window),
        read_window(image.radar, *window) if image.radar else None,
    )


def _check_image_files(image: PublishedImage) -> Grid:
    """Returns the grid of an image, or raises PrepareError if its files do not fit."""
    files = {
        "image": image.image,
        "heights": image.heights,
        "labels": image.labels,
        "radar": image.radar,
    }
    infos = {name: read_info(path) for name, path in files.items() if isinstance(path, str)}
    expected = {"image": (3,), "heights": (1,), "labels": (1, 3), "radar": (1,)}
    for name, info in infos.items():
        if info.bands not in expected[name]:
            raise PrepareError(
                f"{info.path} has {info.bands} bands, expected "
                f"{' or '.join(map(str, expected[name]))} of {name}."
            )
    if oblong := [text for info in infos.values() if (text := oblong_pixels(info))]:
        raise PrepareError(oblong[0])
    if image.radar and infos["radar"].dtype not in TYPES:
        raise PrepareError(
            f"{image.radar} is {infos['radar'].dtype}, expected {', '.join(TYPES)}. Convert "
            "it, for instance with gdal_translate -ot Float32."
        )
    if len({(info.grid.rows, info.grid.columns) for info in infos.values()}) > 1:
        sizes = sorted(f"{i.path}: {i.grid.rows} x {i.grid.columns}" for i in infos.values())
        raise PrepareError(
            f"the files of {image.name} differ in size: {', '.join(sizes)} (rows x columns), "
            "expected the same pixels. Download them again."
        )
    grid = infos["image"].grid
    return replace(grid, geotransform=grid.geotransform or image.geotransform)
