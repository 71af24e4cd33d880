"""The colours of classes, the same in every picture and raster."""

from collections.abc import Sequence

from matplotlib import colormaps

# Okabe and Ito (2008), distinct for colour-blind readers as well
CLASS_COLOURS = (
    "#F0E442",
    "#009E73",
    "#D55E00",
    "#0072B2",
    "#56B4E9",
    "#CC79A7",
    "#E69F00",
    "#000000",
)


def class_colours(count: int) -> Sequence:
    """Returns `count` colours: those for colour-blind readers as long as they last."""
    if count <= len(CLASS_COLOURS):
        return CLASS_COLOURS[:count]
    return tuple(colormaps["tab20" if count <= 20 else "turbo"].resampled(count).colors)
