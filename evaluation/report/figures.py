"""Pictures of one tile: photo, heights, errors and classes side by side."""

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from prediction.palette import class_colours
from project.files import write_bytes

DPI = 150
PANEL_INCHES = 3.6  # the longer side of one panel
PERCENTILE = 99.5  # of the values; single extremes must not flatten the colours of the rest
NODATA = {"facecolor": "0.88", "edgecolor": "0.6", "hatch": "////", "linewidth": 0}


def tile_figure(path, sample, maps, class_names=(), title="", gsd=1.0):
    """Draws a tile and its prediction into a PNG file.

    True and predicted heights have one colour scale, 0 to the 99.5th percentile of the truth.
    The error is predicted - true: red where the prediction is too high. Pixels that are not
    valid, and classes below 0, are hatched. True classes are drawn where there are any.

    Args:
        path: str or path of the PNG file, written atomically.
        sample: dict of `datasets.tiles.samples.read_tile_window`: image, heights, valid, classes.
        maps: dict of `prediction.tiles.predict_maps`: heights, classes if predicted.
        class_names: sequence of str in the order of the class indices.
        title: str above the panels, such as the tile's name.
        gsd: float, metres per pixel, for the axes.
    """
    valid, heights = sample["valid"], (sample["heights"], maps["heights"])
    classes = class_maps(sample, maps)
    figure, axes = _panels(4 + len(classes), valid.shape, gsd)
    _draw(axes[0], photo(sample["image"]), gsd, "Photo")
    _draw_heights(figure, axes[1:3], heights, valid, gsd)
    _draw_error(figure, axes[3], heights[1] - heights[0], valid, gsd)
    for panel, (name, indices) in zip(axes[4:], classes.items(), strict=True):
        _draw_classes(panel, indices, len(class_names), gsd, name)
    _legend(figure, classes.values(), class_names, not valid.all())
    figure.suptitle(title, fontweight="bold")
    save_figure(path, figure)


def class_maps(sample, maps):
    """Returns dict of title to class indices, int (rows, columns): those that a tile has."""
    found = {}
    if "classes" in maps:
        if (sample["classes"] >= 0).any():
            found["True classes"] = sample["classes"]
        found["Predicted classes"] = maps["classes"]
    return found


def photo(image):
    """Returns the red, green and blue of an image of 0-255, as uint8 (rows, columns, 3)."""
    return np.clip(image[..., :3], 0, 255).astype("uint8")


def save_figure(path, figure, dpi=DPI):
    """Writes a figure as a PNG file, atomically.

    Args:
        path: str or path; its folder is made if it is absent.
        figure: matplotlib `Figure`.
        dpi: int, pixels per inch.
    """
    write_bytes(path, png_bytes(figure, dpi))


def png_bytes(figure, dpi=DPI):
    """Returns a matplotlib `Figure` as the bytes of a PNG file."""
    png = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(png, dpi=dpi, format="png")
    return png.getvalue()


def _panels(count, shape, gsd):
    """Returns (figure, list of `count` axes) in two rows, sized for panels of `shape`."""
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
        # Labels at the outer edges only; the grid of panels shares its axes.
        if index + across >= count:
            panel.set_xlabel("metres", fontsize=8)
        if index % across == 0:
            panel.set_ylabel("metres", fontsize=8)
    return figure, axes[:count]


def _draw(panel, pixels, gsd, title, **style):
    """Draws an array on axes in metres, on hatching that shows where it is masked."""
    width, depth = pixels.shape[1] * gsd, pixels.shape[0] * gsd
    panel.add_patch(Rectangle((0, 0), width, depth, zorder=-1, **NODATA))
    panel.set_title(title, fontsize=10)
    return panel.imshow(pixels, extent=(0, width, depth, 0), **style)


def _draw_heights(figure, panels, maps, valid, gsd):
    """Draws true and predicted heights on one scale, each with a colour bar in metres."""
    top = max(robust_limit(maps[0], valid), 1.0)
    style = {"cmap": "viridis", "vmin": 0.0, "vmax": top}
    for panel, values, name in zip(panels, maps, ("True", "Predicted"), strict=True):
        drawn = _draw(panel, _masked(values, valid), gsd, f"{name} heights", **style)
        _colour_bar(figure, drawn, panel, "height (m)")


def _draw_error(figure, panel, error, valid, gsd):
    """Draws the signed error on a scale that is symmetric about 0."""
    limit = max(robust_limit(np.abs(error), valid), 0.1)
    rmse = f"{np.sqrt(np.mean(np.square(error[valid]))):.2f} m" if valid.any() else "-"
    title = f"Predicted - true, RMSE {rmse}"
    style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    drawn = _draw(panel, _masked(error, valid), gsd, title, **style)
    _colour_bar(figure, drawn, panel, "error (m)")


def _draw_classes(panel, indices, class_count, gsd, title):
    """Draws a map of class indices; below 0 stays hatched."""
    colours = ListedColormap(class_colours(class_count))
    style = {"cmap": colours, "vmin": -0.5, "vmax": class_count - 0.5, "interpolation": "nearest"}
    _draw(panel, _masked(indices, indices >= 0), gsd, title, **style)


def _legend(figure, maps, class_names, nodata):
    """Names below the panels the classes that occur, and the hatching if there is any."""
    present = sorted({int(index) for indices in maps for index in np.unique(indices)})
    nodata = nodata or any(index < 0 for index in present)
    colours = class_colours(len(class_names))
    entries = [
        Patch(color=colours[index], label=class_names[index]) for index in present if index >= 0
    ]
    entries += [Patch(label="no data", **NODATA)] if nodata else []
    if entries:
        longest = max(len(entry.get_label()) for entry in entries)
        columns = int(figure.get_figwidth() / (0.7 + 0.08 * longest))  # inches of an entry
        figure.legend(handles=entries, loc="outside lower center", ncols=max(1, columns))


def _colour_bar(figure, drawn, panel, label):
    """Adds a colour bar as tall as its panel; its tips stand for values beyond the scale."""
    bar = figure.colorbar(drawn, cax=panel.inset_axes((1.03, 0.0, 0.05, 1.0)), extend="both")
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _masked(values, valid):
    """Returns `values` with what is not valid left out of the drawing."""
    return np.ma.masked_array(values, mask=~valid)


def robust_limit(values, valid):
    """Returns the 99.5th percentile of the valid values; 0 if there are none."""
    return float(np.percentile(values[valid], PERCENTILE)) if valid.any() else 0.0
