"""The colours of classes in figures and written rasters."""

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


def class_colours(count):
    """Returns `count` colours: the colour-blind-safe ones as long as they last."""
    if count <= len(CLASS_COLOURS):
        return CLASS_COLOURS[:count]
    return tuple(colormaps["tab20" if count <= 20 else "turbo"].resampled(count).colors)
