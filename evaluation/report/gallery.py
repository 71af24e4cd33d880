"""Thumbnails of tiles, drawn while the tiles pass, so that none of them has to be kept."""

from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb

from datasets.rasters.hillshade import hillshade
from evaluation.report.figures import class_maps, photo, robust_limit
from prediction.palette import class_colours

LONGER_SIDE = 256  # pixels
JPEG_QUALITY = 75
EXTREME_TILES = 20  # of the worst and of the best, that are kept in any case
SPACED_TILES = 60  # kept whatever their error
ALL_TILES = 100  # all are kept of at most so many: some 16 MB
UNKNOWN = 0.88  # grey of pixels without data


@dataclass(frozen=True)
class Picture:
    """One picture of a page.

    Attributes:
        title: str, what it shows.
        data: bytes of a PNG or JPEG file.
        note: str, such as the range of its colours; "" = none.
    """

    title: str
    data: bytes
    note: str = ""


@dataclass(frozen=True)
class Card:
    """What the gallery shows of a tile.

    Attributes:
        name: str, the tile's name.
        values: dict of its measures, as in per_tile.csv.
        pictures: list of `Picture`.
    """

    name: str
    values: dict
    pictures: list


class Gallery:
    """Cards of the tiles that passed: all of a hundred; of more, worst, best and evenly spaced.

    Attributes:
        tiles: int, tiles that passed.
    """

    def __init__(self, spaced, class_count, gsd):
        """Starts without tiles.

        Args:
            spaced: collection of str, tiles that are kept whatever their error.
            class_count: int.
            gsd: float, metres per pixel.
        """
        self.tiles = 0
        self._spaced, self._class_count, self._gsd = set(spaced), class_count, gsd
        self._cards = []

    def add(self, name, sample, maps, values):
        """Adds a tile.

        Args:
            name: str.
            sample: dict of `datasets.tiles.samples.read_tile_window`.
            maps: dict of `prediction.tiles.predict_maps`.
            values: dict of the tile's measures.
        """
        self.tiles += 1
        pictures = thumbnails(sample, maps, self._class_count, self._gsd)
        self._cards.append(Card(name, values, pictures))
        if self.tiles > ALL_TILES:
            self._drop()

    def cards(self):
        """Returns list of `Card`, the largest RMSE first; tiles without valid pixels last."""
        return sorted(self._cards, key=_by_rmse)

    def _drop(self):
        """Keeps the worst, the best and the spaced tiles."""
        ranked = [card.name for card in self.cards() if card.values["rmse"] is not None]
        kept = {*ranked[:EXTREME_TILES], *ranked[-EXTREME_TILES:], *self._spaced}
        self._cards = [card for card in self._cards if card.name in kept]


def _by_rmse(card):
    """Returns the sort key of a card: None last."""
    rmse = card.values["rmse"]
    return (rmse is None, -(rmse or 0.0), card.name)


def thumbnails(sample, maps, class_count, gsd):
    """Draws small pictures of a tile and its prediction.

    Heights are means over the pixels that a pixel of the picture covers. Scales are those of
    `evaluation.report.figures.tile_figure`, and apply to this tile alone.

    Args:
        sample: dict of `datasets.tiles.samples.read_tile_window`.
        maps: dict of `prediction.tiles.predict_maps`.
        class_count: int.
        gsd: float, metres per pixel.

    Returns:
        list of `Picture`.
    """
    rows, columns = sample["valid"].shape
    factor = min(1.0, LONGER_SIDE / max(rows, columns))
    shape = max(1, round(columns * factor)), max(1, round(rows * factor))  # as OpenCV has it
    small = cv2.resize(photo(sample["image"]), shape, interpolation=cv2.INTER_AREA)
    true, predicted = (
        shrunk(heights, sample["valid"], shape) for heights in (sample["heights"], maps["heights"])
    )
    return [
        Picture("Photo", jpeg(small)),
        *_height_pictures(true, predicted),
        *_hillshades(true, predicted, gsd / factor),
        *_class_pictures(class_maps(sample, maps), class_count, shape),
    ]


def shrunk(heights, valid, shape):
    """Shrinks a height map to the means of what is known.

    Args:
        heights: float32 (rows, columns), metres; anything where not valid.
        valid: bool (rows, columns).
        shape: (columns, rows) of the result.

    Returns:
        float32, metres; NaN where no pixel is valid.
    """
    known = np.where(valid, heights, np.float32(0)).astype("float32")
    total = cv2.resize(known, shape, interpolation=cv2.INTER_AREA)
    share = cv2.resize(valid.astype("float32"), shape, interpolation=cv2.INTER_AREA)
    return np.where(share > 0, total / np.where(share > 0, share, 1), np.float32("nan"))


def _height_pictures(true, predicted):
    """Returns the pictures of heights and signed error."""
    error = predicted - true
    known = np.isfinite(true)
    top = max(robust_limit(true, known), 1.0)
    limit = max(robust_limit(np.abs(error), known), 0.1)
    heights, errors = f"0 to {top:.1f} m", f"-{limit:.1f} to {limit:.1f} m"
    return [
        Picture("True heights", jpeg(coloured(true, "viridis", 0.0, top)), heights),
        Picture("Predicted heights", jpeg(coloured(predicted, "viridis", 0.0, top)), heights),
        Picture("Predicted - true", jpeg(coloured(error, "RdBu_r", -limit, limit)), errors),
    ]


def _hillshades(true, predicted, gsd):
    """Returns the shaded heights, true and predicted."""
    pictures = []
    for heights, kind in ((true, "True"), (predicted, "Predicted")):
        shaded = np.where(np.isfinite(heights), hillshade(heights, gsd), round(255 * UNKNOWN))
        pictures.append(Picture(f"{kind} heights, hillshade", jpeg(shaded.astype("uint8"))))
    return pictures


def _class_pictures(classes, class_count, shape):
    """Returns the pictures of classes; below 0 is grey."""
    colours = np.array([(UNKNOWN,) * 3, *map(to_rgb, class_colours(class_count))])
    palette = np.rint(255 * colours).astype("uint8")
    pictures = []
    for title, indices in classes.items():
        near = cv2.resize(indices.astype("int16"), shape, interpolation=cv2.INTER_NEAREST)
        pictures.append(Picture(title, _encoded(palette[np.maximum(near, -1) + 1], ".png")))
    return pictures


def coloured(values, colours, low, high):
    """Colours values by a matplotlib colour map.

    Args:
        values: float (rows, columns); NaN becomes grey.
        colours: str, name of the colour map.
        low, high: float, the values of its first and last colour.

    Returns:
        uint8 (rows, columns, 3), red first.
    """
    colour_map = colormaps[colours].with_extremes(bad=str(UNKNOWN))
    scale = ScalarMappable(Normalize(low, high), colour_map)
    return scale.to_rgba(np.ma.masked_invalid(values), bytes=True)[..., :3]


def jpeg(pixels):
    """Encodes uint8 (rows, columns) or (rows, columns, 3), red first, as a JPEG file."""
    return _encoded(pixels, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def _encoded(pixels, ending, options=()):
    """Encodes pixels, red first, by the ending of a file's name."""
    blue_first = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    return cv2.imencode(ending, np.ascontiguousarray(blue_first), list(options))[1].tobytes()
