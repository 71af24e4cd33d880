"""The gallery of a report: a card with thumbnails for each tile, drawn while the tiles pass."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex, to_rgb

from datasets.rasters.hillshade import hillshade
from datasets.tiles.samples import Sample
from evaluation.report.figures import class_maps, photo, robust_limit
from evaluation.report.html_page import html_image
from evaluation.report.tables import measure_text
from project.palette import class_colours

LONGER_SIDE = 256  # pixels
JPEG_QUALITY = 75
EXTREME_TILES = 20  # worst tiles, and as many best tiles, that are always kept
SPACED_TILES = 60  # kept whatever their error
ALL_TILES = 100  # up to this number every tile is kept: about 16 MB
UNKNOWN = 0.88  # grey of pixels without data
SORTED_BY = {"rmse": "RMSE", "mae": "MAE", "bias": "bias", "name": "name"}
MARKED_TILES = 3  # worst, and best


@dataclass(frozen=True)
class Picture:
    """One picture of a card.

    Attributes:
        title: what it shows.
        data: PNG or JPEG file.
        note: such as the range of its colours; "" = none.
    """

    title: str
    data: bytes
    note: str = ""


@dataclass(frozen=True)
class Card:
    """What the gallery shows of a tile.

    Attributes:
        name: of the tile.
        values: its measures, as in per_tile.csv.
        pictures: its thumbnails.
    """

    name: str
    values: dict
    pictures: list[Picture]


class Gallery:
    """Cards of the tiles that passed: all of up to 100, else the worst, best and evenly spaced.

    Attributes:
        tiles: number of tiles that passed.
    """

    def __init__(self, spaced: Collection[str], class_count: int, gsd: float) -> None:
        """Starts without tiles.

        Args:
            spaced: names of tiles that are kept whatever their error.
            class_count: number of classes.
            gsd: metres per pixel.
        """
        self.tiles = 0
        self._spaced, self._class_count, self._gsd = set(spaced), class_count, gsd
        self._cards: list[Card] = []

    def add(self, name: str, sample: Sample, maps: dict[str, np.ndarray], values: dict) -> None:
        """Adds a tile.

        Args:
            name: of the tile.
            sample: as of `datasets.tiles.samples.read_tile_window`.
            maps: as of `prediction.tiles.predict_maps`.
            values: the tile's measures.
        """
        self.tiles += 1
        pictures = thumbnails(sample, maps, self._class_count, self._gsd)
        self._cards.append(Card(name, values, pictures))
        if self.tiles > ALL_TILES:
            ranked = [card.name for card in self.cards() if card.values["rmse"] is not None]
            kept = {*ranked[:EXTREME_TILES], *ranked[-EXTREME_TILES:], *self._spaced}
            self._cards = [card for card in self._cards if card.name in kept]

    def cards(self) -> list[Card]:
        """Returns the cards, the largest RMSE first; tiles without valid pixels come last."""

        return sorted(
            self._cards,
            key=lambda card: (
                card.values["rmse"] is None,
                -(card.values["rmse"] or 0.0),
                card.name,
            ),
        )


def thumbnails(
    sample: Sample, maps: dict[str, np.ndarray], class_count: int, gsd: float
) -> list[Picture]:
    """Draws small pictures of a tile and its prediction.

    Heights are means over the pixels that one pixel of the picture covers. The colour scales are
    those of `evaluation.report.figures.tile_figure`, and are the tile's own.

    Args:
        sample: as of `datasets.tiles.samples.read_tile_window`.
        maps: as of `prediction.tiles.predict_maps`.
        class_count: number of classes.
        gsd: metres per pixel.
    """
    rows, columns = sample["valid"].shape
    factor = min(1.0, LONGER_SIDE / max(rows, columns))
    shape = max(1, round(columns * factor)), max(1, round(rows * factor))  # OpenCV's order
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


def shrunk(heights: np.ndarray, valid: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Shrinks a height map to the means of its valid pixels.

    Args:
        heights: float32 (rows, columns), metres; any value where not valid.
        valid: bool (rows, columns).
        shape: (columns, rows) of the result.

    Returns:
        float32, metres; NaN where no pixel is valid.
    """
    known = np.where(valid, heights, np.float32(0)).astype("float32")
    total = cv2.resize(known, shape, interpolation=cv2.INTER_AREA)
    share = cv2.resize(valid.astype("float32"), shape, interpolation=cv2.INTER_AREA)
    return np.where(share > 0, total / np.where(share > 0, share, 1), np.float32("nan"))


def _height_pictures(true: np.ndarray, predicted: np.ndarray) -> list[Picture]:
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


def _hillshades(true: np.ndarray, predicted: np.ndarray, gsd: float) -> list[Picture]:
    """Returns the shaded heights, true and predicted."""
    shaded = [
        np.where(np.isfinite(heights), hillshade(heights, gsd), round(255 * UNKNOWN))
        for heights in (true, predicted)
    ]
    return [
        Picture(f"{kind} heights, hillshade", jpeg(pixels.astype("uint8")))
        for kind, pixels in zip(("True", "Predicted"), shaded, strict=True)
    ]


def _class_pictures(
    classes: dict[str, np.ndarray], class_count: int, shape: tuple[int, int]
) -> list[Picture]:
    """Returns the pictures of classes; class indices below 0 are grey."""
    colours = np.array([(UNKNOWN,) * 3, *map(to_rgb, class_colours(class_count))])
    palette = np.rint(255 * colours).astype("uint8")
    pictures = []
    for title, indices in classes.items():
        near = cv2.resize(indices.astype("int16"), shape, interpolation=cv2.INTER_NEAREST)
        pictures.append(Picture(title, _encoded(palette[np.maximum(near, -1) + 1], ".png")))
    return pictures


def coloured(values: np.ndarray, colours: str, low: float, high: float) -> np.ndarray:
    """Colours values by a matplotlib colour map.

    Args:
        values: float (rows, columns); NaN becomes grey.
        colours: name of the colour map.
        low, high: the values of its first and last colour.

    Returns:
        uint8 (rows, columns, 3), red first.
    """
    colour_map = colormaps[colours].with_extremes(bad=str(UNKNOWN))
    scale = ScalarMappable(Normalize(low, high), colour_map)
    return scale.to_rgba(np.ma.masked_invalid(values), bytes=True)[..., :3]


def jpeg(pixels: np.ndarray) -> bytes:
    """Encodes uint8 (rows, columns) or (rows, columns, 3), red first, as a JPEG file."""
    return _encoded(pixels, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def _encoded(pixels: np.ndarray, ending: str, options: Sequence[int] = ()) -> bytes:
    """Encodes pixels, red first, as the image format of a file name's ending."""
    blue_first = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    return cv2.imencode(ending, np.ascontiguousarray(blue_first), list(options))[1].tobytes()


def html_gallery(cards: Sequence[Card], tiles: int, class_names: Sequence[str]) -> str:
    """Returns the gallery as HTML, the worst tile first, with buttons that sort it differently.

    Args:
        cards: the largest RMSE first.
        tiles: number of tiles of which these are all, or the worst, the best and evenly spaced
            ones.
        class_names: in the order of the class indices.
    """
    shown = f"All {tiles} tiles"
    if len(cards) < tiles:
        shown = f"{len(cards)} of {tiles} tiles: the worst, the best and evenly spaced ones"
    buttons = "\n".join(
        f'<button type="button" data-sort="{key}" aria-pressed="{str(key == "rmse").lower()}">'
        f"{label}</button>"
        for key, label in SORTED_BY.items()
    )
    ranked = [card.name for card in cards if card.values["rmse"] is not None]
    count = min(MARKED_TILES, len(ranked) // 2)
    marks = {name: f"worst {i + 1}" for i, name in enumerate(ranked[:count])}
    marks |= {name: f"best {i + 1}" for i, name in enumerate(ranked[::-1][:count])}
    items = "\n".join(_card_html(card, marks.get(card.name)) for card in cards)
    return f"""<p>{shown}. Each tile has its own colour scales: heights from 0 m to the 99.5th
percentile of the truth, errors to that of the absolute error. Grey: no data. Hillshades are lit
from the north-west, in truth and prediction alike.</p>
{_legend(class_names)}
<div class="sort" role="group" aria-label="Sort the tiles">Sort by
{buttons}
<span id="sorted" role="status">Sorted by RMSE, descending.</span>
</div>
<ul class="cards" id="tiles" data-descending="true">
{items}
</ul>"""


def _card_html(card: Card, mark: str | None) -> str:
    """Returns a tile's entry in the list, with a mark such as "worst 1" if there is one."""
    keys = [key for key in SORTED_BY if key != "name"]
    exact = ["" if card.values[key] is None else f"{card.values[key]:.6f}" for key in keys]
    pairs = [("name", escape(card.name)), *zip(keys, exact, strict=True)]
    data = " ".join(f'data-{key}="{value}"' for key, value in pairs)
    shown = [f"{SORTED_BY[key]} {measure_text(card.values, (key,))} m" for key in keys]
    if card.values.get("miou") is not None:
        shown.append(f"mIoU {card.values['miou']:.3f}")
    badge = f' <span class="mark">{mark}</span>' if mark else ""
    pictures = []
    for picture in card.pictures:
        caption = f"{picture.title}, {picture.note}" if picture.note else picture.title
        image = html_image(picture.data, f"{caption}; tile {card.name}")
        pictures.append(f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>")
    thumbnail_list = "\n".join(pictures)
    return f"""<li {data}>
<h3>{escape(card.name)}{badge}</h3>
<p class="values">{", ".join(shown)}</p>
<div class="pictures">
{thumbnail_list}
</div>
</li>"""


def _legend(class_names: Sequence[str]) -> str:
    """Returns what the colours mean."""
    ramp = np.tile(np.linspace(0, 1, 96), (12, 1))
    heights, errors = (jpeg(coloured(ramp, name, 0, 1)) for name in ("viridis", "RdBu_r"))
    items = [
        f"Heights: low{html_image(heights, 'dark violet to yellow')}high",
        f"Error: too low{html_image(errors, 'blue over white to red')}too high",
    ]
    for name, colour in zip(class_names, class_colours(len(class_names)), strict=True):
        items.append(
            '<svg width="14" height="14" aria-hidden="true">'
            f'<rect width="14" height="14" fill="{to_hex(colour)}"/></svg>{escape(name)}'
        )
    return f'<ul class="legend">{"".join(f"<li>{item}</li>" for item in items)}</ul>'
