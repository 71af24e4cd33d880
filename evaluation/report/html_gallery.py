"""The gallery of a report as HTML: a card for each tile, in an order that a click changes."""

from html import escape

import numpy as np
from matplotlib.colors import to_hex

from evaluation.report.gallery import coloured, jpeg
from evaluation.report.html_page import html_image
from evaluation.report.tables import measure_text
from prediction.palette import class_colours

SORTED_BY = {"rmse": "RMSE", "mae": "MAE", "bias": "bias", "name": "name"}
MARKED_TILES = 3  # worst, and best


def html_gallery(cards, tiles, class_names):
    """Returns the gallery, the worst tile first.

    Args:
        cards: list of `evaluation.report.gallery.Card`, the largest RMSE first.
        tiles: int, tiles of which these are all, or the worst, the best and evenly spaced ones.
        class_names: sequence of str.

    Returns:
        str.
    """
    shown = f"All {tiles} tiles"
    if len(cards) < tiles:
        shown = f"{len(cards)} of {tiles} tiles: the worst, the best and evenly spaced ones"
    buttons = "\n".join(
        f'<button type="button" data-sort="{key}" aria-pressed="{str(key == "rmse").lower()}">'
        f"{label}</button>"
        for key, label in SORTED_BY.items()
    )
    marks = _marks(cards)
    items = "\n".join(_card(card, marks.get(card.name)) for card in cards)
    return f"""<p>{shown}. Colours are scaled to each tile: heights from 0 m to the 99.5th
percentile of the truth, errors to that of the absolute error. Grey: no data. Hillshades have their
light in the north-west, in truth and prediction alike.</p>
{_legend(class_names)}
<div class="sort" role="group" aria-label="Sort the tiles">Sort by
{buttons}
<span id="sorted" role="status">Sorted by RMSE, falling.</span>
</div>
<ul class="cards" id="tiles" data-falling="true">
{items}
</ul>"""


def _marks(cards):
    """Returns dict of a tile's name to what it is: the worst and the best by RMSE."""
    ranked = [card.name for card in cards if card.values["rmse"] is not None]
    count = min(MARKED_TILES, len(ranked) // 2)
    worst = {name: f"worst {i + 1}" for i, name in enumerate(ranked[:count])}
    return worst | {name: f"best {i + 1}" for i, name in enumerate(ranked[::-1][:count])}


def _card(card, mark):
    """Returns a tile's entry in the list."""
    keys = [key for key in SORTED_BY if key != "name"]
    exact = ["" if card.values[key] is None else f"{card.values[key]:.6f}" for key in keys]
    pairs = [("name", escape(card.name)), *zip(keys, exact, strict=True)]
    data = " ".join(f'data-{key}="{value}"' for key, value in pairs)
    shown = [f"{SORTED_BY[key]} {measure_text(card.values, (key,))} m" for key in keys]
    if card.values.get("miou") is not None:
        shown.append(f"mIoU {card.values['miou']:.3f}")
    badge = f' <span class="mark">{mark}</span>' if mark else ""
    pictures = "\n".join(_picture(picture, card.name) for picture in card.pictures)
    return f"""<li {data}>
<h3>{escape(card.name)}{badge}</h3>
<p class="values">{", ".join(shown)}</p>
<div class="pictures">
{pictures}
</div>
</li>"""


def _picture(picture, name):
    """Returns a picture with its title."""
    caption = f"{picture.title}, {picture.note}" if picture.note else picture.title
    image = html_image(picture.data, f"{caption}; tile {name}")
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def _legend(class_names):
    """Returns what the colours mean."""
    ramp = np.tile(np.linspace(0, 1, 96), (12, 1))
    heights, errors = (jpeg(coloured(ramp, name, 0, 1)) for name in ("viridis", "RdBu_r"))
    items = [
        f"Heights: low{html_image(heights, 'dark violet to yellow')}high",
        f"Error: too low{html_image(errors, 'blue over white to red')}too high",
    ]
    for name, colour in zip(class_names, class_colours(len(class_names)), strict=True):
        items.append(f"{_swatch(colour)}{escape(name)}")
    return f'<ul class="legend">{"".join(f"<li>{item}</li>" for item in items)}</ul>'


def _swatch(colour):
    """Returns a small square of a matplotlib colour."""
    return (
        '<svg width="14" height="14" aria-hidden="true">'
        f'<rect width="14" height="14" fill="{to_hex(colour)}"/></svg>'
    )
