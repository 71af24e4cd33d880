"""Where tiles lie in a raster, and which of train, valid and test gets each: splits by area."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from datasets.prepare.tile_files import PrepareError
from datasets.rasters.reading import Grid
from datasets.records.record import SPLITS

MOST_TILES = 10**6  # a pixel size that is wrong by orders of magnitude would make more
EARTH_RADIUS = 6371000.0  # metres

Group = TypeVar("Group", int, str)
Window = tuple[int, int, int, int]  # row and column of the first pixel, rows, columns


def tile_starts(length: int, size: int, overlap: float = 0.0) -> range:
    """Returns the first pixel of every whole tile along an axis; a remainder is left out.

    Args:
        length: pixels of the axis.
        size: pixels of a tile.
        overlap: share of a tile that the next one repeats, from 0 up to, not including, 1.
    """
    step = max(1, round(size * (1 - overlap)))
    return range(0, length - size + 1, step)


def cut_windows(grid: Grid, size: int | None, overlap: float, what: str) -> dict[str, Window]:
    """Cuts a grid into tiles.

    Args:
        grid: to cut.
        size: rows and columns of a tile, pixels; None = one tile of the whole grid.
        overlap: share of a tile that the next one repeats.
        what: the grid's name in the error, such as a path.

    Returns:
        Windows by the end of a tile's name, such as "_000_003" (row and column of tiles; "" for the
        whole grid).

    Raises:
        PrepareError: if a tile is larger than the grid, there are more than `MOST_TILES`, or whole
            files are to overlap.
    """
    if size is None and overlap:
        raise PrepareError(
            f"overlap is {overlap:g}, but whole files are not cut. Give --tile=<size>."
        )
    if size is None:
        return {"": (0, 0, grid.rows, grid.columns)}
    rows, columns = (tile_starts(n, size, overlap) for n in (grid.rows, grid.columns))
    if not rows or not columns:
        raise PrepareError(
            f"{what} is {grid.rows} x {grid.columns} pixels (rows x columns), less than a tile of "
            f"{size}. Take smaller tiles."
        )
    if len(rows) * len(columns) > MOST_TILES:
        raise PrepareError(
            f"{what} is {grid.rows} x {grid.columns} pixels (rows x columns), which makes "
            f"{len(rows) * len(columns)} tiles of {size}; {MOST_TILES} are possible. Check the "
            "georeference and the gsd, or take larger tiles."
        )
    return {
        f"_{i:03d}_{j:03d}": (row, column, size, size)
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    }


def check_shares(shares: Sequence[float]) -> None:
    """Raises PrepareError unless the shares of train, valid and test make sense."""
    if len(shares) != len(SPLITS) or min(shares) < 0 or not math.isclose(sum(shares), 1):
        raise PrepareError(
            f"splits is {', '.join(f'{share:g}' for share in shares)}, expected three shares for "
            "train, valid and test, none negative, which sum to 1, such as 0.7,0.15,0.15."
        )


def split_by_area(
    rows: Sequence[int], columns: Sequence[int], size: int, shares: Sequence[float], seed: int
) -> dict[tuple[int, int], str]:
    """Divides a rectangle of tiles into stripes across its longer side, one for each split.

    The order of the stripes is drawn from the seed. Between two stripes lies a gap at least as
    wide as a tile, whose tiles are in no split.

    Args:
        rows, columns: first pixels of the tiles along each axis, in even steps.
        size: pixels of a tile.
        shares: of train, valid and test; they sum to 1; a split with share 0 gets no stripe.
        seed: of the order.

    Returns:
        Split by (row, column) of a tile's first pixel.

    Raises:
        PrepareError: if the shares are impossible or there are too few tiles for the stripes.
    """
    check_shares(shares)
    axis = 0 if len(rows) > len(columns) else 1
    starts = (rows, columns)[axis]
    wanted = [(name, share) for name, share in zip(SPLITS, shares, strict=True) if share > 0]
    order = [wanted[i] for i in np.random.default_rng(seed).permutation(len(wanted))]
    step = starts[1] - starts[0] if len(starts) > 1 else size
    gap = math.ceil(2 * size / step) - 1
    usable = len(starts) - gap * (len(order) - 1)
    if usable < len(order):
        raise PrepareError(
            f"the area is {len(rows)} x {len(columns)} tiles of {size} pixels (rows x columns), "
            f"too few for {len(order)} splits with gaps of {gap} between them. Take smaller tiles, "
            "or fewer splits, such as 1,0,0."
        )
    split_of: dict[int, str] = {}
    first = 0
    for (name, _), count in zip(order, _counts(usable, [share for _, share in order]), strict=True):
        split_of.update(dict.fromkeys(starts[first : first + count], name))
        first += count + gap
    return {
        tile: split_of[tile[axis]]
        for tile in itertools.product(rows, columns)
        if tile[axis] in split_of
    }


def split_groups(groups: Iterable[Group], shares: Sequence[float], seed: int) -> dict[Group, str]:
    """Gives each group a split, so that its members stay together and the shares are kept.

    Large groups come first, groups of one size in an order drawn from the seed; each goes to the
    split that lacks the most members.

    Args:
        groups: the group of each member.
        shares: of train, valid and test among the members; they sum to 1.
        seed: of the draw.

    Returns:
        Split by group.

    Raises:
        PrepareError: if the shares are impossible or there are too few groups.
    """
    check_shares(shares)
    sizes = Counter(groups)
    wanted = {split: share for split, share in zip(SPLITS, shares, strict=True) if share > 0}
    if len(sizes) < len(wanted):
        raise PrepareError(
            f"there are {len(sizes)} groups of files for {len(wanted)} splits. Give fewer splits, "
            "such as 1,0,0."
        )
    drawn = np.random.default_rng(seed).permutation(sorted(sizes)).tolist()
    drawn.sort(key=lambda name: -sizes[name])
    missing = {split: share * sizes.total() for split, share in wanted.items()}
    split_of: dict[Group, str] = {}
    for left, name in zip(range(len(drawn), 0, -1), drawn, strict=True):
        empty = [split for split in wanted if split not in split_of.values()]
        candidates = empty if len(empty) == left else wanted
        split_of[name] = max(candidates, key=lambda split: missing[split])
        missing[split_of[name]] -= sizes[name]
    return split_of


def near_groups(places: Sequence[tuple[float, float]], distance: float) -> list[int]:
    """Joins places that are near each other, directly or by way of others, into groups.

    Args:
        places: latitude and longitude, degrees.
        distance: metres up to which two places are near.

    Returns:
        The number of each place's group.
    """
    radians = np.radians(np.asarray(places, "float64"))
    group = np.arange(len(radians))
    for i, (latitude, longitude) in enumerate(radians):
        # The equirectangular approximation errs by about 0.1 % over the kilometres that matter.
        east = (radians[:, 1] - longitude) * np.cos(latitude)
        near = np.hypot(radians[:, 0] - latitude, east) * EARTH_RADIUS <= distance
        group[np.isin(group, group[near])] = group[i]
    return group.tolist()


def _counts(total: int, shares: Sequence[float]) -> list[int]:
    """Returns whole numbers that sum to a total, nearest to its shares and none of them 0."""
    exact = np.array(shares) * total
    counts = np.maximum(1, np.floor(exact)).astype(int)
    while counts.sum() != total:
        missing = 1 if counts.sum() < total else -1
        distance = missing * (exact - counts) - np.where((counts == 1) & (missing < 0), total, 0)
        counts[distance.argmax()] += missing
    return counts.tolist()
