"""Figures of one tile (photo, heights, error, classes) and of a split (heights, errors)."""

import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter

from datasets.tiles.samples import Sample
from project.drawing import NODATA, add_legend, png_bytes, shortened
from project.files import write_bytes
from project.palette import class_colours

PANEL_INCHES = 3.6  # the longer side of one panel
PERCENTILE = 99.5  # of the values: a few extremes must not flatten the colours of the others
LOWEST, HIGHEST, BIN = -10.0, 310.0, 0.25  # metres; heights beyond count in the outermost bins
BIN_COUNT = round((HIGHEST - LOWEST) / BIN)
SHOWN = 0.9999  # of the pixels: a few extremes must not shrink the plot of the others
PRINT_DPI = 300
LINE = 70  # letters that fit below a panel
TITLE_INCHES = 0.12  # of a letter
BARS_INCHES, LABEL_INCHES = 3.6, 0.07  # height of the panels with bars; a letter of their labels
BAR_COLOURS = {"rmse": "#D55E00", "mae": "#E69F00"}  # Okabe and Ito (2008)


def tile_figure(
    path: Path,
    sample: Sample,
    maps: dict[str, np.ndarray],
    class_names: Sequence[str] = (),
    title: str = "",
    gsd: float = 1.0,
) -> None:
    """Draws a tile and its prediction into a PNG file.

    True and predicted heights share one colour scale, 0 to the 99.5th percentile of the truth.
    The error is predicted - true: red where the prediction is too high. Pixels that are not
    valid, and class indices below 0, are hatched. True classes are drawn if there are any.

    Args:
        path: of the PNG file.
        sample: as of `datasets.tiles.samples.read_tile_window`: image, heights, valid, classes.
        maps: as of `prediction.tiles.predict_maps`: heights, and classes if they are predicted.
        class_names: in the order of the class indices.
        title: above the panels, such as the tile's name.
        gsd: metres per pixel, for the axes.
    """
    valid, heights = sample["valid"], (sample["heights"], maps["heights"])
    classes = class_maps(sample, maps)
    figure, axes = _panels(4 + len(classes), valid.shape, gsd)
    _draw(axes[0], photo(sample["image"]), gsd, "Photo")
    _draw_heights(axes[1:3], heights, valid, gsd)
    _draw_error(axes[3], heights[1] - heights[0], valid, gsd)
    for panel, (name, indices) in zip(axes[4:], classes.items(), strict=True):
        _draw_classes(panel, indices, len(class_names), gsd, name)
    _legend(figure, classes.values(), class_names, not valid.all())
    letters = int(figure.get_figwidth() / TITLE_INCHES)
    figure.suptitle(textwrap.fill(title, letters), fontweight="bold")
    write_bytes(path, png_bytes(figure))


def class_maps(sample: Sample, maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the maps of class indices that a tile has, int (rows, columns), by their titles."""
    found = {}
    if "classes" in maps:
        if (sample["classes"] >= 0).any():
            found["True classes"] = sample["classes"]
        found["Predicted classes"] = maps["classes"]
    return found


def photo(image: np.ndarray) -> np.ndarray:
    """Returns the red, green and blue of an image of 0-255, as uint8 (rows, columns, 3)."""
    return np.clip(image[..., :3], 0, 255).astype("uint8")


def _panels(count: int, shape: tuple[int, int], gsd: float) -> tuple[Figure, list[Axes]]:
    """Returns a figure and its `count` axes in two rows, sized for panels of `shape`."""
    rows, columns = shape
    across = (count + 1) // 2
    scale = PANEL_INCHES / max(rows, columns)
    size = (across * (max(columns * scale, 1.5) + 1.2), 2 * (max(rows * scale, 1.5) + 0.6) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    axes = list(figure.subplots(2, across, squeeze=False).flat)
    for spare in axes[count:]:
        spare.set_axis_off()
    for index, panel in enumerate(axes[:count]):
        panel.set(xlim=(0, columns * gsd), ylim=(rows * gsd, 0), aspect="equal")
        panel.locator_params(nbins=5)
        panel.tick_params(labelsize=8)
        # All panels have the same axes: label the outer edges only.
        if index + across >= count:
            panel.set_xlabel("metres", fontsize=8)
        if index % across == 0:
            panel.set_ylabel("metres", fontsize=8)
    return figure, axes[:count]


def _draw(panel: Axes, pixels: np.ndarray, gsd: float, title: str, unit: str = "", **style) -> None:
    """Draws an array on axes in metres, over hatching that shows where the array is masked.

    With a `unit` it gets a colour bar, whose tips stand for values beyond the scale.
    """
    width, depth = pixels.shape[1] * gsd, pixels.shape[0] * gsd
    panel.add_patch(Rectangle((0, 0), width, depth, zorder=-1, **NODATA))
    panel.set_title(title, fontsize=10)
    drawn = panel.imshow(pixels, extent=(0, width, depth, 0), **style)
    if unit:
        beside = panel.inset_axes((1.03, 0.0, 0.05, 1.0))  # as tall as the panel
        bar = panel.figure.colorbar(drawn, cax=beside, extend="both")
        bar.set_label(unit, fontsize=8)
        bar.ax.tick_params(labelsize=8)


def _draw_heights(
    panels: Sequence[Axes],
    maps: tuple[np.ndarray, np.ndarray],
    valid: np.ndarray,
    gsd: float,
) -> None:
    """Draws true and predicted heights on one scale, each with a colour bar in metres."""
    top = max(robust_limit(maps[0], valid), 1.0)
    style = {"cmap": "viridis", "vmin": 0.0, "vmax": top}
    for panel, values, name in zip(panels, maps, ("True", "Predicted"), strict=True):
        known = np.ma.masked_array(values, mask=~valid)
        _draw(panel, known, gsd, f"{name} heights", "height (m)", **style)


def _draw_error(panel: Axes, error: np.ndarray, valid: np.ndarray, gsd: float) -> None:
    """Draws the signed error on a scale that is symmetric about 0."""
    limit = max(robust_limit(np.abs(error), valid), 0.1)
    rmse = f"{np.sqrt(np.mean(np.square(error[valid]))):.2f} m" if valid.any() else "-"
    title = f"Predicted - true, RMSE {rmse}"
    style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    known = np.ma.masked_array(error, mask=~valid)
    _draw(panel, known, gsd, title, "error (m)", **style)


def _draw_classes(
    panel: Axes, indices: np.ndarray, class_count: int, gsd: float, title: str
) -> None:
    """Draws a map of class indices; those below 0 stay hatched."""
    colours = ListedColormap(class_colours(class_count))
    style = {"cmap": colours, "vmin": -0.5, "vmax": class_count - 0.5, "interpolation": "nearest"}
    _draw(panel, np.ma.masked_array(indices, mask=indices < 0), gsd, title, **style)


def _legend(
    figure: Figure, maps: Collection[np.ndarray], class_names: Sequence[str], nodata: bool
) -> None:
    """Adds a legend of the classes that occur, and of the hatching if there is any."""
    present = {int(index) for indices in maps for index in np.unique(indices)}
    nodata = nodata or any(index < 0 for index in present)
    add_legend(figure, class_names, [index for index in present if index >= 0], nodata)


def robust_limit(values: np.ndarray, valid: np.ndarray) -> float:
    """Returns the 99.5th percentile of the valid values; 0 if there are none."""
    return float(np.percentile(values[valid], PERCENTILE)) if valid.any() else 0.0


class HeightPairs:
    """Counts of pixels by true and predicted height.

    Attributes:
        counts: float64 (bins, bins), rows true, columns predicted heights, in bins of 0.25 m.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((BIN_COUNT, BIN_COUNT))

    def add(self, heights: np.ndarray, predicted: np.ndarray, valid: np.ndarray) -> None:
        """Adds the pixels of a tile.

        Args:
            heights: float32 (rows, columns), true heights, metres; any value where not valid.
            predicted: float32 (rows, columns), metres; any value where not valid.
            valid: bool (rows, columns).
        """
        inside = [
            np.where(valid, values, 0).clip(LOWEST, HIGHEST - BIN / 2).astype("float32")
            for values in (heights, predicted)
        ]
        sizes, limits = [BIN_COUNT] * 2, [LOWEST, HIGHEST] * 2
        self.counts += cv2.calcHist(inside, [0, 1], valid.astype("uint8"), sizes, limits)

    def limits(self) -> tuple[float, float]:
        """Returns (low, high), metres, between which nearly all heights lie; (0, 1) if none."""
        totals = (self.counts.sum(axis=0) + self.counts.sum(axis=1)).cumsum()
        if not totals[-1]:
            return 0.0, 1.0
        low, high = np.searchsorted(totals / totals[-1], (1 - SHOWN, SHOWN))
        return LOWEST + BIN * low, LOWEST + BIN * (high + 1)


def density_figure(pairs: HeightPairs) -> Figure:
    """Draws predicted over true heights, with the number of pixels as colour."""
    low, high = pairs.limits()
    figure = Figure(figsize=(6.2, 4.8), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(LOWEST, HIGHEST, BIN_COUNT + 1)
    counts = np.ma.masked_equal(pairs.counts.T, 0)
    norm = LogNorm(1, max(pairs.counts.max(), 10))
    drawn = axes.pcolormesh(edges, edges, counts, norm=norm, cmap="viridis", rasterized=True)
    axes.axline((0, 0), slope=1, color="black", linewidth=0.8, linestyle="--")
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.set(xlabel="true height (m)", ylabel="predicted height (m)")
    bar = axes.inset_axes((1.04, 0.0, 0.05, 1.0))
    label = f"pixels per {BIN:g} m x {BIN:g} m"
    scale = figure.colorbar(drawn, cax=bar, label=label, format="{x:,.0f}")
    scale.minorformatter = NullFormatter()  # that of a logarithmic scale writes formulas
    return figure


def errors_figure(groups: Mapping[str, Mapping[str, dict]]) -> Figure:
    """Draws RMSE and MAE as bars and the bias as points, in one panel for each kind of group.

    Args:
        groups: title of a kind, such as "by class", to the groups' names, to a dict of
            valid_pixels and rmse, mae, bias (metres). Groups without pixels are left out.
    """
    size = (5.2 * len(groups), BARS_INCHES + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False)[0]
    for panel, (title, members) in zip(panels, groups.items(), strict=True):
        _draw_bars(panel, {name: m for name, m in members.items() if m["valid_pixels"]})
        panel.set(title=f"Error {title}", ylabel="metres")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _draw_bars(panel: Axes, members: Mapping[str, dict]) -> None:
    """Draws the groups of one kind, each labelled with its share of the pixels."""
    total = sum(measures["valid_pixels"] for measures in members.values())
    places = np.arange(len(members))
    for shift, (key, colour) in zip((-0.2, 0.2), BAR_COLOURS.items(), strict=True):
        values = [measures[key] for measures in members.values()]
        panel.bar(places + shift, values, 0.4, color=colour, label=key.upper())
    bias = [measures["bias"] for measures in members.values()]
    panel.plot(places, bias, "D", color="black", markersize=4, label="bias")
    panel.axhline(0, color="black", linewidth=0.6)
    shares = [f"{measures['valid_pixels'] / total:.1%}" for measures in members.values()]
    names = [shortened(name) for name in members]
    crowded = len(names) * max(map(len, names), default=0) > LINE
    between = ", " if crowded else "\n"
    labels = [between.join(pair) for pair in zip(names, shares, strict=True)]
    panel.set_xticks(places, labels, fontsize=8, rotation=90 if crowded else 0)
    panel.grid(axis="y", alpha=0.3)
    panel.set_axisbelow(True)
    if crowded:  # the labels stand upright
        height = BARS_INCHES + LABEL_INCHES * max(map(len, labels))
        panel.figure.set_figheight(max(panel.figure.get_figheight(), height))
