"""The files of one prepared tile, and what they hold."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.rasters.reading import Grid, read_raster
from datasets.rasters.writing import write_raster
from project.errors import UserError

NO_LABEL = 65535  # labels are written as uint16, so that every 8-bit code can be a class
MOST_CODES = 256  # in one tile; a raster with more of them holds something else than labels

# Values (rows, columns, bands), and bool (rows, columns), True where they are data.
Masked = tuple[np.ndarray, np.ndarray]


class PrepareError(UserError):
    """Data that cannot be prepared; says what was found and what to do."""


@dataclass(frozen=True)
class TilePixels:
    """A tile in memory, before it is written.

    Attributes:
        image: uint8 or uint16 values of three bands.
        heights: float32 (rows, columns), metres above ground; NaN = nodata.
        labels: codes, one band, or colours, three bands; None = the tile has no labels.
        grid: of all of them.
        radar: values of one band; None = the tile has no radar image.
    """

    image: Masked
    heights: np.ndarray
    labels: Masked | None
    grid: Grid
    radar: Masked | None = None

    @property
    def valid_share(self) -> float:
        """Share of the pixels that have both an image and a height."""
        return float((self.image[1] & np.isfinite(self.heights)).mean())


@dataclass(frozen=True)
class TileFacts:
    """What a tile holds.

    Attributes:
        valid_share: share of the pixels that have both an image and a height.
        lowest, highest: metres; NaN where no pixel has a height.
        codes: label codes, numbers or (red, green, blue).
    """

    valid_share: float
    lowest: float = math.nan
    highest: float = math.nan
    codes: frozenset = frozenset()


def tile_paths(
    folder: Path, split: str, name: str, has_labels: bool, has_radar: bool = False
) -> dict[str, Path]:
    """Returns the files of a tile: "rgb", "dsm" and, if it has them, "sem" and "sar"."""
    there = {"rgb": True, "dsm": True, "sem": has_labels, "sar": has_radar}
    return {kind: folder / split / kind / f"{name}.tif" for kind in there if there[kind]}


def write_tile(paths: dict[str, Path], pixels: TilePixels) -> TileFacts:
    """Writes the files of a tile, each whole or not at all.

    Args:
        paths: from `tile_paths`; missing folders are made.
        pixels: to write.

    Returns:
        What the tile holds.

    Raises:
        PrepareError: if the labels cannot be label codes.
    """
    facts = _facts(pixels)
    if pixels.labels:
        labels, has_label = pixels.labels
        codes = np.where(has_label[..., None], labels.astype("uint16"), np.uint16(NO_LABEL))
        write_raster(paths["sem"], codes, pixels.grid, NO_LABEL, description="class")
    write_raster(
        paths["dsm"],
        pixels.heights,
        pixels.grid,
        math.nan,
        unit="metre",
        description="height above ground",
    )
    if pixels.radar:
        radar, nodata = _with_gaps(*pixels.radar)
        write_raster(paths["sar"], radar, pixels.grid, nodata, description="radar")
    image, nodata = _with_gaps(*pixels.image)
    write_raster(paths["rgb"], image, pixels.grid, nodata, description="red, green, blue")
    return facts


def read_facts(paths: dict[str, Path]) -> TileFacts:
    """Reads what the files of a tile hold.

    Args:
        paths: from `tile_paths`.

    Raises:
        RasterError: if a file cannot be read.
    """
    found = {kind: read_raster(path) for kind, path in paths.items() if kind != "sar"}
    masked = {kind: (raster.pixels, raster.valid) for kind, raster in found.items()}
    heights, valid = masked["dsm"]
    metres = np.where(valid, heights[..., 0], np.float32(np.nan))
    return _facts(TilePixels(masked["rgb"], metres, masked.get("sem"), found["rgb"].grid))


def _facts(pixels: TilePixels) -> TileFacts:
    """Returns what the pixels of a tile hold."""
    known = pixels.heights[np.isfinite(pixels.heights)]
    low, high = (float(known.min()), float(known.max())) if known.size else (math.nan, math.nan)
    codes = _label_codes(*pixels.labels) if pixels.labels else frozenset()
    return TileFacts(pixels.valid_share, low, high, codes)


def _label_codes(labels: np.ndarray, has_label: np.ndarray) -> frozenset:
    """Returns the label codes of a tile."""
    found = np.unique(labels[has_label], axis=0)
    if len(found) > MOST_CODES:
        raise PrepareError(
            f"one tile has {len(found)} different label codes, expected at most {MOST_CODES}. "
            "Give a raster of labels that was never saved as JPEG or resampled."
        )
    if found.size and (found.min() < 0 or found.max() >= NO_LABEL):
        raise PrepareError(
            f"label codes range from {found.min()} to {found.max()}, expected 0 to "
            f"{NO_LABEL - 1}. Declare the nodata value (gdal_edit.py -a_nodata) or change the "
            "codes."
        )
    return frozenset(code[0] if len(code) == 1 else tuple(code) for code in found.tolist())


def _with_gaps(image: np.ndarray, has_data: np.ndarray) -> tuple[np.ndarray, float | None]:
    """Returns an image to write and its nodata value, or None if the image has no gaps."""
    if has_data.all():
        return image, None
    if image.dtype.kind == "f":
        return np.where(has_data[..., None], image, np.float32(np.nan)), math.nan
    # Black marks the gaps, so black pixels that are data become almost black.
    brighter = np.where((image == 0).all(axis=-1, keepdims=True), 1, image)
    return np.where(has_data[..., None], brighter, 0).astype(image.dtype), 0
