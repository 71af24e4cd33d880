"""The files of one prepared tile, and what they hold."""

import math
from dataclasses import dataclass

import numpy as np

from datasets.rasters.reading import Grid, read_raster
from datasets.rasters.writing import write_raster
from project.errors import UserError

NO_LABEL = 65535  # labels are written as uint16, so that every 8-bit code can be a class
MOST_CODES = 256  # of one tile; more are no labels


class PrepareError(UserError):
    """Data that cannot be prepared; says what was found and what to do."""


@dataclass(frozen=True)
class Pixels:
    """A tile in memory, before it is written.

    Attributes:
        image: uint8 or uint16 (rows, columns, 3).
        has_image: bool (rows, columns).
        heights: float32 (rows, columns), metres above ground; NaN = no data.
        labels: whole numbers (rows, columns, 1 or 3): codes or colours; None = no labels.
        has_label: bool (rows, columns), or None.
        grid: of all of them.
        radar: numbers (rows, columns, 1); None = no radar image.
        has_radar: bool (rows, columns), or None.
    """

    image: np.ndarray
    has_image: np.ndarray
    heights: np.ndarray
    labels: np.ndarray | None
    has_label: np.ndarray | None
    grid: Grid
    radar: np.ndarray | None = None
    has_radar: np.ndarray | None = None

    @property
    def valid_share(self):
        """Share of the pixels with both image and height."""
        return float((self.has_image & np.isfinite(self.heights)).mean())


@dataclass(frozen=True)
class TileFacts:
    """What a tile holds.

    Attributes:
        valid_share: of the pixels, with image and height.
        lowest, highest: metres; NaN where there is no height.
        codes: label codes, numbers or (red, green, blue).
    """

    valid_share: float
    lowest: float
    highest: float
    codes: frozenset


def tile_paths(folder, split, name, has_labels, has_radar=False):
    """Returns dict of "rgb", "dsm" and, if there are any, "sem" and "sar" to a tile's files."""
    there = {"rgb": True, "dsm": True, "sem": has_labels, "sar": has_radar}
    return {kind: folder / split / kind / f"{name}.tif" for kind in there if there[kind]}


def write_tile(paths, pixels):
    """Writes the files of a tile; each appears under its name when it is whole.

    Args:
        paths: from `tile_paths`; folders are made.
        pixels: `Pixels`.

    Returns:
        `TileFacts`.

    Raises:
        PrepareError: if the labels are none.
    """
    facts = _facts(pixels)
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    if "sem" in paths:
        labels = pixels.labels.astype("uint16")
        codes = np.where(pixels.has_label[..., None], labels, np.uint16(NO_LABEL))
        write_raster(paths["sem"], codes, pixels.grid, NO_LABEL, description="class")
    meaning = {"unit": "metre", "description": "height above ground"}
    write_raster(paths["dsm"], pixels.heights, pixels.grid, math.nan, **meaning)
    if "sar" in paths:
        radar, nodata = _with_gaps(pixels.radar, pixels.has_radar)
        write_raster(paths["sar"], radar, pixels.grid, nodata, description="radar")
    image, nodata = _with_gaps(pixels.image, pixels.has_image)
    write_raster(paths["rgb"], image, pixels.grid, nodata, description="red, green, blue")
    return facts


def read_facts(paths):
    """Reads what the files of a tile hold.

    Args:
        paths: from `tile_paths`.

    Returns:
        `TileFacts`.

    Raises:
        RasterError: if a file cannot be read.
    """
    image, heights = read_raster(paths["rgb"]), read_raster(paths["dsm"])
    labels = read_raster(paths["sem"]) if "sem" in paths else None
    return _facts(
        Pixels(
            image.pixels,
            image.valid,
            np.where(heights.valid, heights.pixels[..., 0], np.float32(np.nan)),
            labels.pixels if labels else None,
            labels.valid if labels else None,
            image.grid,
        )
    )


def _facts(pixels):
    """Returns the `TileFacts` of pixels."""
    known = pixels.heights[np.isfinite(pixels.heights)]
    low, high = (float(known.min()), float(known.max())) if known.size else (math.nan, math.nan)
    return TileFacts(pixels.valid_share, low, high, _codes(pixels))


def _codes(pixels):
    """Returns the label codes of a tile."""
    if pixels.labels is None:
        return frozenset()
    found = np.unique(pixels.labels[pixels.has_label], axis=0)
    if len(found) > MOST_CODES:
        raise PrepareError(
            f"labels have {len(found)} codes in one tile, expected at most {MOST_CODES}. Is this a "
            "file of labels, and was it never saved as JPEG or resampled?"
        )
    if found.size and (found.min() < 0 or found.max() >= NO_LABEL):
        raise PrepareError(
            f"labels have codes from {found.min()} to {found.max()}, expected 0 to "
            f"{NO_LABEL - 1}. Declare nodata (gdal_edit.py -a_nodata) or change the codes."
        )
    return frozenset(code[0] if len(code) == 1 else tuple(code) for code in found.tolist())


def _with_gaps(image, has_data):
    """Returns an image and its nodata value; without gaps as it is, and None."""
    if has_data.all():
        return image, None
    if image.dtype.kind == "f":
        return np.where(has_data[..., None], image, np.float32(np.nan)), math.nan
    # Black stands for the gaps then, so black pixels with data become as good as black.
    brighter = np.where((image == 0).all(axis=-1, keepdims=True), 1, image)
    return np.where(has_data[..., None], brighter, 0).astype(image.dtype), 0
