"""What is written of a scene: heights and, on request, classes, probabilities, normals, spread."""

import numpy as np
from matplotlib.colors import to_rgb

from datasets.rasters.writing import Layer
from prediction.palette import class_colours
from prediction.tiles import unit_vectors

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
AXES = ("to the east", "to the south", "up")  # of a north-up image


def map_layers(names, codes, class_names, tags):
    """Describes the rasters of some maps.

    Args:
        names: of `SOURCES`.
        codes: list of int, the code in the file of each class index.
        class_names: sequence of str in the same order.
        tags: dict of str to str, metadata of all files.

    Returns:
        dict of name to `datasets.rasters.writing.Layer`.
    """
    probabilities = tuple(f"probability of {name}" for name in class_names)
    normals = tuple(f"surface normal, {axis}" for axis in AXES)
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


def class_layer(codes, class_names, tags):
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


def map_rows(name, layer, codes, values, valid):
    """Turns some rows of a network's blended outputs into the pixels of a map.

    Args:
        name: of `SOURCES`.
        layer: `Layer` of the map.
        codes: as of `map_layers`.
        values: dict of output to float32 (rows, columns, channels); {} = nothing was computed.
        valid: bool (rows, columns); elsewhere nodata is written.

    Returns:
        Array (rows, columns, bands).
    """
    if not values:
        return np.full((*valid.shape, len(layer.bands)), layer.nodata, layer.dtype)
    pixels = values[SOURCES[name]]
    if name == "classes":
        pixels = np.array(codes, layer.dtype)[pixels.argmax(axis=-1)][..., None]
    if name == "normals":
        pixels = unit_vectors(pixels)
    return np.where(valid[..., None], pixels, np.array(layer.nodata, layer.dtype))


def class_codes(record):
    """Returns the code of each class in written rasters: the label code, or where labels are
    colours the class index."""
    codes = [label.code for label in record.classes]
    usable = all(isinstance(code, int) and 0 <= code < 65536 for code in codes)
    return codes if usable else list(range(len(codes)))
