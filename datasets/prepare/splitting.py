"""Splits by area: tiles that lie near each other are in the same split."""

import math
from collections import Counter

import numpy as np

from datasets.records.record import SPLITS

EARTH_RADIUS = 6371000.0  # metres


def check_shares(shares):
    """Raises ValueError unless the shares of train, valid and test make sense."""
    if len(shares) != len(SPLITS) or min(shares) < 0 or not math.isclose(sum(shares), 1):
        raise ValueError(
            f"splits is {', '.join(f'{share:g}' for share in shares)}, expected three shares of "
            "train, valid and test from 0 up, which sum to 1, such as 0.7,0.15,0.15."
        )


def split_by_area(rows, columns, size, shares, seed):
    """Divides a rectangle of tiles into stripes across its longer side, one for each split.

    The order of the stripes is drawn from the seed. Between two stripes lies a gap at least as
    wide as a tile, whose tiles are in no split.

    Args:
        rows, columns: first pixels of the tiles along each axis, in even steps.
        size: pixels of a tile.
        shares: of train, valid and test; they sum to 1; a split with share 0 gets no stripe.
        seed: of the order.

    Returns:
        dict (row, column) of a tile's first pixel to "train", "valid" or "test".

    Raises:
        ValueError: if the shares are impossible or there are too few tiles for the stripes.
    """
    check_shares(shares)
    along_rows = len(rows) > len(columns)
    starts = rows if along_rows else columns
    wanted = [(name, share) for name, share in zip(SPLITS, shares, strict=True) if share > 0]
    order = [wanted[i] for i in np.random.default_rng(seed).permutation(len(wanted))]
    step = starts[1] - starts[0] if len(starts) > 1 else size
    gap = math.ceil(2 * size / step) - 1
    usable = len(starts) - gap * (len(order) - 1)
    if usable < len(order):
        raise ValueError(
            f"the area is {len(rows)} x {len(columns)} tiles of {size} pixels (rows x columns), "
            f"too few for {len(order)} splits with gaps of {gap} between them. Take smaller tiles, "
            "or fewer splits, such as 1,0,0."
        )
    split_of = {}
    first = 0
    for (name, _), count in zip(order, _counts(usable, [share for _, share in order]), strict=True):
        split_of.update(dict.fromkeys(starts[first : first + count], name))
        first += count + gap
    tiles = [(row, column) for row in rows for column in columns]
    places = [row if along_rows else column for row, column in tiles]
    return {
        tile: split_of[place]
        for tile, place in zip(tiles, places, strict=True)
        if place in split_of
    }


def split_groups(groups, shares, seed):
    """Gives each group a split, so that its members stay together and the shares are kept.

    Large groups come first, equal ones in an order drawn from the seed; each goes where most is
    missing.

    Args:
        groups: name of the group of each member.
        shares: of train, valid and test among the members; they sum to 1.
        seed: of the draw.

    Returns:
        dict of name to "train", "valid" or "test".

    Raises:
        ValueError: if the shares are impossible or there are too few groups.
    """
    check_shares(shares)
    sizes = Counter(groups)
    wanted = {split: share for split, share in zip(SPLITS, shares, strict=True) if share > 0}
    if len(sizes) < len(wanted):
        raise ValueError(
            f"there are {len(sizes)} groups of files for {len(wanted)} splits. Give fewer splits, "
            "such as 1,0,0."
        )
    drawn = np.random.default_rng(seed).permutation(sorted(sizes)).tolist()
    drawn.sort(key=lambda name: -sizes[name])
    missing = {split: share * sizes.total() for split, share in wanted.items()}
    split_of = {}
    for left, name in zip(range(len(drawn), 0, -1), drawn, strict=True):
        empty = [split for split in wanted if split not in split_of.values()]
        split_of[name] = max(empty if len(empty) == left else wanted, key=missing.get)
        missing[split_of[name]] -= sizes[name]
    return split_of


def near_groups(places, distance):
    """Joins places that are near each other, directly or over others, to groups.

    Args:
        places: float (count, 2): latitude and longitude, degrees.
        distance: metres up to which two places are near.

    Returns:
        list of the number of each place's group.
    """
    radians = np.radians(np.asarray(places, "float64"))
    group = np.arange(len(radians))
    for i, (latitude, longitude) in enumerate(radians):
        # Equirectangular: good to a per mille over the kilometres that matter here.
        east = (radians[:, 1] - longitude) * np.cos(latitude)
        near = np.hypot(radians[:, 0] - latitude, east) * EARTH_RADIUS <= distance
        joined = np.unique(group[near])
        group[np.isin(group, joined)] = group[i]
    return group.tolist()


def _counts(total, shares):
    """Returns whole numbers that sum to a total, nearest to its shares and none of them 0."""
    exact = np.array(shares) * total
    counts = np.maximum(1, np.floor(exact)).astype(int)
    while counts.sum() != total:
        missing = 1 if counts.sum() < total else -1
        distance = missing * (exact - counts) - np.where((counts == 1) & (missing < 0), total, 0)
        counts[distance.argmax()] += missing
    return counts.tolist()
