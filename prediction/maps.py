"""The maps of a scene: heights and, on request, classes, probabilities, normals, uncertainty."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb

from datasets.rasters.grids import is_north_up
from datasets.rasters.reading import Grid
from datasets.rasters.writing import Layer
from datasets.records.record import Record
from prediction.tiles import unit_vectors
from project.palette import class_colours

NODATA = -9999.0  # of all maps but the classes
EXTRA_MAPS = ("classes", "probabilities", "normals", "uncertainty")
# The output of the network that a map is made of.
SOURCES = {
    "heights": "heights",
    "classes": "semantics",
    "probabilities": "semantics",
    "normals": "normals",
    "uncertainty": "uncertainty",
}
# Directions of the components of a surface normal, which counts along the pixels.
NORTH_UP_AXES = ("to the east", "to the south", "up")
PIXEL_AXES = ("along a row, to higher columns", "along a column, to higher rows", "up")


def map_layers(
    names: Sequence[str],
    grid: Grid,
    codes: list[int],
    class_names: Sequence[str],
    tags: dict[str, str],
) -> dict[str, Layer]:
    """Describes the rasters of some maps.

    Args:
        names: of `SOURCES`.
        grid: of the maps.
        codes: the code in the file of each class index.
        class_names: in the same order.
        tags: metadata of all files.

    Returns:
        The layer of each map, by its name.
    """
    probabilities = tuple(f"probability of {name}" for name in class_names)
    axes = NORTH_UP_AXES if is_north_up(grid) else PIXEL_AXES
    normals = tuple(f"surface normal, {axis}" for axis in axes)
    layers = {
        "heights": Layer("float32", NODATA, ("height above ground",), "metre", None, tags),
        "probabilities": Layer("float32", NODATA, probabilities, "", None, tags),
        "normals": Layer("float32", NODATA, normals, "", None, tags),
        "uncertainty": Layer(
            "float32", NODATA, ("standard deviation of the height",), "metre", None, tags
        ),
    }
    if codes:
        layers["classes"] = class_layer(codes, class_names, tags)
    return {name: layers[name] for name in names}


def class_layer(codes: list[int], class_names: Sequence[str], tags: dict[str, str]) -> Layer:
    """Returns the `Layer` of class codes; nodata is the smallest number that is no code.

    Args: as of `map_layers`, `codes` not empty.
    """
    nodata = next(code for code in range(len(codes) + 1) if code not in codes)
    kind = "uint16" if max(*codes, nodata) > 255 else "uint8"
    colours = [
        (code, name, tuple(round(255 * share) for share in to_rgb(colour)))
        for code, name, colour in zip(codes, class_names, class_colours(len(codes)), strict=True)
    ]
    return Layer(kind, nodata, ("class",), "", colours, tags)


def map_rows(
    name: str,
    layer: Layer,
    codes: list[int],
    values: dict[str, np.ndarray],
    valid: np.ndarray,
) -> np.ndarray:
    """Turns some rows of a network's blended outputs into the pixels of a map.

    Args:
        name: of `SOURCES`.
        layer: of the map.
        codes: see `map_layers`.
        values: float32 (rows, columns, channels) by output; {} = nothing was computed.
        valid: bool (rows, columns); elsewhere nodata is written.

    Returns:
        (rows, columns, bands).
    """
    if not values:
        return np.full((*valid.shape, len(layer.bands)), layer.nodata, layer.dtype)
    pixels = values[SOURCES[name]]
    if name == "classes":
        pixels = np.array(codes, layer.dtype)[pixels.argmax(axis=-1)][..., None]
    if name == "normals":
        pixels = unit_vectors(pixels)
    return np.where(valid[..., None], pixels, np.array(layer.nodata, layer.dtype))


def class_codes(record: Record) -> list[int]:
    """Returns the code of each class in written rasters.

    That is the label code, or the class index if labels are colours or do not fit into 16 bits.
    """
    codes = [label.code for label in record.classes if isinstance(label.code, int)]
    usable = len(codes) == len(record.classes) and all(0 <= code < 65536 for code in codes)
    return codes if usable else list(range(len(record.classes)))
