"""What all figures share: names as they are, hatching, the legend of classes, PNG files."""

import io
import warnings
from collections.abc import Collection, Sequence

from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from project.palette import class_colours

# Tiles, classes and data sets may be called a$b_{c: a formula for matplotlib and TeX, and an error.
rcParams["text.parse_math"] = rcParams["text.usetex"] = False
rcParams["axes.formatter.use_mathtext"] = False

DPI = 150
NODATA = {"facecolor": "0.88", "edgecolor": "0.6", "hatch": "////", "linewidth": 0}
LETTERS = 40  # of a name in a legend or on an axis
ENTRY_INCHES = 0.7, 0.08  # width of a legend's entry: without its text, and of a letter
LINE_INCHES = 0.28  # of a legend


def png_bytes(figure: Figure, dpi: int = DPI) -> bytes:
    """Returns a figure as the bytes of a PNG file of `dpi` pixels per inch."""
    png = io.BytesIO()
    with warnings.catch_warnings():
        # Boxes stand for letters that the font lacks, and say so themselves.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(png, dpi=dpi, format="png")
    return png.getvalue()


def shortened(text: str, letters: int = LETTERS) -> str:
    """Returns a text on one line, with dots in its middle if it has more than `letters` letters.

    The end stays, since the names of tiles and classes often differ there.
    """
    text = " ".join(text.split())
    tail = letters // 2
    return text if len(text) <= letters else f"{text[: letters - tail - 3]}...{text[-tail:]}"


def add_legend(
    figure: Figure, class_names: Sequence[str], present: Collection[int], nodata: bool
) -> None:
    """Adds a legend of classes and hatching below a figure, which grows by the lines it takes.

    Args:
        figure: with a constrained layout.
        class_names: in the order of the class indices.
        present: the class indices to show.
        nodata: whether the hatching of `NODATA` is explained, too.
    """
    colours = class_colours(len(class_names))
    entries = [
        Patch(color=colours[index], label=shortened(class_names[index]))
        for index in sorted(present)
    ]
    entries += [Patch(label="no data", **NODATA)] if nodata else []
    if not entries:
        return
    frame, letter = ENTRY_INCHES
    longest = max(len(entry.get_label()) for entry in entries)
    columns = max(1, int(figure.get_figwidth() / (frame + letter * longest)))
    figure.set_figheight(figure.get_figheight() + LINE_INCHES * -(-len(entries) // columns))
    figure.legend(handles=entries, loc="outside lower center", ncols=columns)
