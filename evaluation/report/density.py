"""Predicted over true heights of all pixels, from counts, and errors by group, as figures."""

import cv2
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

LOWEST, HIGHEST, BIN = -10.0, 310.0, 0.25  # metres; what lies beyond counts in the outermost
COUNT = round((HIGHEST - LOWEST) / BIN)
SHOWN = 0.9999  # of the pixels; single extremes must not shrink the plot of the rest
PRINT_DPI = 300
LINE = 70  # letters below a panel
BAR_COLOURS = {"rmse": "#D55E00", "mae": "#E69F00"}  # Okabe and Ito (2008)


class HeightPairs:
    """Counts of pixels by true and predicted height.

    Attributes:
        counts: float64 (bins, bins), rows true, columns predicted heights, in bins of 0.25 m.
    """

    def __init__(self):
        self.counts = np.zeros((COUNT, COUNT))

    def add(self, heights, predicted, valid):
        """Adds the pixels of a tile.

        Args:
            heights: float32 (rows, columns), true heights, metres; anything where not valid.
            predicted: float32 (rows, columns), metres; anything where not valid.
            valid: bool (rows, columns).
        """
        inside = [
            np.where(valid, values, 0).clip(LOWEST, HIGHEST - BIN / 2).astype("float32")
            for values in (heights, predicted)
        ]
        limits = [LOWEST, HIGHEST] * 2
        mask = valid.astype("uint8")
        self.counts += cv2.calcHist(inside, [0, 1], mask, [COUNT, COUNT], limits)

    def limits(self):
        """Returns (low, high), metres, between which nearly all heights lie; (0, 1) if none."""
        totals = (self.counts.sum(axis=0) + self.counts.sum(axis=1)).cumsum()
        if not totals[-1]:
            return 0.0, 1.0
        low, high = np.searchsorted(totals / totals[-1], (1 - SHOWN, SHOWN))
        return LOWEST + BIN * low, LOWEST + BIN * (high + 1)


def density_figure(pairs, title=""):
    """Draws predicted over true heights, the number of pixels as colour.

    Args:
        pairs: `HeightPairs`.
        title: str.

    Returns:
        matplotlib `Figure`.
    """
    low, high = pairs.limits()
    figure = Figure(figsize=(6.2, 4.8), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(LOWEST, HIGHEST, COUNT + 1)
    counts = np.ma.masked_equal(pairs.counts.T, 0)
    norm = LogNorm(1, max(pairs.counts.max(), 10))
    drawn = axes.pcolormesh(edges, edges, counts, norm=norm, cmap="viridis", rasterized=True)
    axes.axline((0, 0), slope=1, color="black", linewidth=0.8, linestyle="--")
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", title=title)
    axes.set(xlabel="true height (m)", ylabel="predicted height (m)")
    bar = axes.inset_axes((1.04, 0.0, 0.05, 1.0))
    figure.colorbar(drawn, cax=bar, label=f"pixels per {BIN:g} m x {BIN:g} m")
    return figure


def errors_figure(groups):
    """Draws bars of RMSE and MAE, and the bias as points, a panel for each kind of group.

    Args:
        groups: dict of title, such as "by class", to dict of a group's name to dict of
            valid_pixels and rmse, mae, bias (metres); groups without pixels are left out.

    Returns:
        matplotlib `Figure`.
    """
    figure = Figure(figsize=(5.2 * len(groups), 4.2), layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False)[0]
    for panel, (title, members) in zip(panels, groups.items(), strict=True):
        _draw_bars(panel, {name: m for name, m in members.items() if m["valid_pixels"]})
        panel.set(title=f"Error {title}", ylabel="metres")
    return figure


def _draw_bars(panel, members):
    """Draws the groups of one kind, each with its share of the pixels."""
    total = sum(measures["valid_pixels"] for measures in members.values())
    places = np.arange(len(members))
    for shift, (key, colour) in zip((-0.2, 0.2), BAR_COLOURS.items(), strict=True):
        values = [measures[key] for measures in members.values()]
        panel.bar(places + shift, values, 0.4, color=colour, label=key.upper())
    bias = [measures["bias"] for measures in members.values()]
    panel.plot(places, bias, "D", color="black", markersize=4, label="bias")
    panel.axhline(0, color="black", linewidth=0.6)
    crowded = len(members) * max(map(len, members), default=0) > LINE
    between = ", " if crowded else "\n"
    names = [f"{name}{between}{m['valid_pixels'] / total:.1%}" for name, m in members.items()]
    panel.set_xticks(places, names, fontsize=8, rotation=90 if crowded else 0)
    panel.grid(axis="y", alpha=0.3)
    panel.set_axisbelow(True)
    panel.margins(y=0.2)  # room for the legend
    panel.legend(fontsize=8, loc="upper center", ncols=3)
