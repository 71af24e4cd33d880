"""Colours of a scene.

Roofs share their colours with paved or bare ground, and crowns with grass, in different
proportions: in these scenes, as in real towns, colour is a hint of height but no proof.
"""

import numpy as np

# Colours (n, 3), sRGB 0-255, and their shares (n,), which sum to 1.
Palette = tuple[np.ndarray, np.ndarray]

# sRGB 0-255 as seen in full sun, and how often roofs and the ground have it.
HARD = np.array(
    [
        # red, green, blue, roofs, ground
        (58, 58, 62, 2, 3),  # bitumen, fresh asphalt
        (84, 84, 86, 2, 5),  # slate, old asphalt
        (112, 110, 108, 2, 5),  # gravel roof, concrete
        (142, 139, 134, 1, 4),
        (170, 165, 158, 1, 5),  # light concrete
        (200, 198, 192, 2, 2),  # white membrane, lime gravel
        (182, 166, 138, 1, 3),  # beige sheet, sand
        (146, 125, 100, 1, 3),  # brown tiles, dry soil
        (110, 88, 70, 4, 2),  # dark tiles, moist soil
        (146, 96, 78, 6, 2),  # clay tiles, clay court
        (164, 108, 86, 6, 1),
        (124, 76, 64, 5, 1),  # old tiles, brick paving
        (100, 109, 120, 3, 1),  # blue-grey sheet, painted court
        (86, 110, 82, 1, 1),  # green roof, sports court
    ],
    "float32",
)
ROOF = (HARD[:, :3], HARD[:, 3] / HARD[:, 3].sum())
PAVED = (HARD[:, :3], HARD[:, 4] / HARD[:, 4].sum())
GREEN = np.array(
    [
        # red, green, blue, crowns, grass
        (44, 62, 36, 5, 1),
        (56, 78, 44, 5, 2),
        (70, 92, 52, 3, 3),
        (86, 106, 62, 2, 5),
        (106, 118, 72, 1, 5),
        (126, 130, 86, 1, 2),  # autumn, dry grass
        (80, 84, 54, 1, 2),
    ],
    "float32",
)
CROWN = (GREEN[:, :3], GREEN[:, 3] / GREEN[:, 3].sum())
GRASS = (GREEN[:, :3], GREEN[:, 4] / GREEN[:, 4].sum())


def evenly(*colours: tuple[int, int, int]) -> Palette:
    """Returns the palette of equally frequent colours, each (red, green, blue)."""
    return np.array(colours, "float32"), np.full(len(colours), 1 / len(colours))


ASPHALT = evenly((58, 58, 62), (84, 84, 86), (104, 103, 102), (124, 122, 119))
CARS = evenly(
    (220, 220, 220), (30, 30, 32), (120, 122, 126), (70, 72, 78), (130, 50, 48), (60, 72, 105)
)
WATER = evenly((44, 56, 58), (56, 66, 56), (38, 44, 46))
MARKING = evenly((205, 205, 200))


def pick_colour(rng: np.random.Generator, palette: Palette, spread: float = 0.12) -> np.ndarray:
    """Draws a colour of a palette, varied in brightness and a little in hue.

    Args:
        rng: of the draw.
        palette: to draw from.
        spread: relative deviation of the brightness.

    Returns:
        float32 (3,), linear reflectance 0 to 1.
    """
    colours, shares = palette
    colour = colours[rng.choice(len(colours), p=shares)] / 255
    colour = colour * np.exp(rng.normal(0, spread)) * np.exp(rng.normal(0, 0.02, 3))
    return (np.clip(colour, 0, 1) ** 2.2).astype("float32")
