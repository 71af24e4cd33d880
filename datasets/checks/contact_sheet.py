"""Many tiles on one page: photo, heights and classes of each."""

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

ACROSS = 4  # tiles beside each other
INCHES = 1.3  # of a panel
RANK = {"unusable": 0, "suspicious": 1, "": 2}
TITLE = {"unusable": "tab:red", "suspicious": "tab:orange", "": "black"}
TOP = 30.0  # metres, of the colour scale
LETTERS = 34  # of a title


def choose_drawings(drawings, most):
    """Chooses what is drawn: the worst first, then evenly spaced ones.

    Args:
        drawings: list of `datasets.checks.inspection.Drawing`.
        most: int.

    Returns:
        list of at most `most` of them.
    """
    bad = sorted((d for d in drawings if d.verdict), key=lambda d: RANK[d.verdict])[:most]
    good = [drawing for drawing in drawings if not drawing.verdict]
    if room := min(most - len(bad), len(good)):
        bad += [good[i] for i in np.linspace(0, len(good) - 1, room).astype(int)]
    return bad


def draw_contact_sheet(path, drawings, class_count):
    """Draws photo, heights (0 to 30 m, white = no data) and classes of tiles into a PNG file.

    Args:
        path: str or path of the PNG; its folder must exist.
        drawings: list of `datasets.checks.inspection.Drawing`.
        class_count: int, of the data set; 0 = no classes are drawn.
    """
    kinds = ("image", "heights", "classes") if class_count else ("image", "heights")
    lines = max(1, -(-len(drawings) // ACROSS))
    figure = Figure(
        figsize=(ACROSS * len(kinds) * INCHES + 1, lines * (INCHES + 0.35)), layout="constrained"
    )
    figures = figure.subfigures(lines, ACROSS, squeeze=False).flat
    for part, drawing in zip(figures, drawings, strict=False):
        part.suptitle(_title(drawing), fontsize=7, color=TITLE[drawing.verdict])
        for axis, kind in zip(part.subplots(1, len(kinds)), kinds, strict=True):
            axis.set_axis_off()
            _draw(axis, kind, drawing.thumbnail.get(kind), class_count)
    FigureCanvasAgg(figure).print_figure(path, dpi=110, format="png")


def _title(drawing):
    """Returns the end of the name, which tells tiles apart, and the verdict."""
    name = drawing.name if len(drawing.name) <= LETTERS else f"...{drawing.name[3 - LETTERS :]}"
    # A dollar sign would begin a formula.
    return f"{name} {drawing.verdict}".strip().replace("$", r"\$")


def _draw(axis, kind, pixels, class_count):
    """Draws one panel; what could not be read is left out."""
    if pixels is None:
        axis.text(0.5, 0.5, "not read", ha="center", va="center", fontsize=7)
    elif kind == "image":
        axis.imshow(pixels)
    elif kind == "heights":
        axis.imshow(pixels, cmap="viridis", vmin=0, vmax=TOP)
    else:
        colours = colormaps["tab20" if class_count > 10 else "tab10"]
        shown = np.ma.masked_less(pixels, 0) % colours.N
        axis.imshow(shown, cmap=colours, vmin=0, vmax=colours.N - 1, interpolation="nearest")
