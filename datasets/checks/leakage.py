"""Tiles that stand in several splits, by their photos, their ground and the record's lists."""

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from datasets.rasters.grids import same_projection

LEAST_OVERLAP = 1.0  # pixels, in rows and in columns: less is rounding
MOST_LISTED = 20
ADVICE = "A result on one split is worth nothing if the other has the same tile: keep one."


@dataclass(frozen=True)
class Footprint:
    """The ground of a tile: a box along the axes, which is larger than a turned tile.

    Attributes:
        projection: WKT string.
        box: left, lower, right and upper edge, in units of the projection.
        pixel: the size of a pixel, in the same.
    """

    projection: str
    box: tuple[float, float, float, float]
    pixel: float


def footprint(infos):
    """Finds the ground that a tile covers.

    Args:
        infos: sequence of the `RasterInfo`s of its files.

    Returns:
        `Footprint` of the first file that has a georeference and a projection; None if none has.
    """
    for grid in (info.grid for info in infos):
        if grid.geotransform is None or not grid.projection:
            continue
        place = np.reshape(grid.geotransform, (2, 3)).T
        corners = [(1, x, y) for x in (0, grid.columns) for y in (0, grid.rows)] @ place
        box = (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
        return Footprint(grid.projection, box, float(np.hypot(*place[1:]).max()))
    return None


def duplicates(digests):
    """Finds photos that occur more than once.

    Args:
        digests: dict of split to dict of tile name to the digest of its photo.

    Returns:
        list of lists of split/tile, those that reach over splits first.
    """
    groups = {}
    for split, tiles in digests.items():
        for name, digest in tiles.items():
            groups.setdefault(digest, []).append(f"{split}/{name}")
    found = [group for group in groups.values() if len(group) > 1]
    return sorted(found, key=lambda group: (-len({n.split("/")[0] for n in group}), group))


def overlaps(footprints):
    """Finds tiles of two splits that cover the same ground.

    Args:
        footprints: dict of split to dict of tile name to its `Footprint`.

    Returns:
        list of [split/tile, split/tile, share of the smaller one's area], the largest first.
    """
    found = []
    for (split, first), (other, second) in itertools.combinations(footprints.items(), 2):
        groups = _by_projection(second)
        found += [
            [f"{split}/{name}", f"{other}/{partner}", share]
            for name, place in first.items()
            for partner, share in _partners(place, groups)
        ]
    return sorted(found, key=lambda pair: (-pair[2], pair))


def misplaced(record, names):
    """Finds tiles that are in another split than the record says.

    A tile is one that the record names if its name is that, or goes on after it with _ or -, as
    that of a crop does.

    Args:
        record: `datasets.records.record.Record`, of whose splits those that are lists of names
            count.
        names: dict of split to the names of its tiles.

    Returns:
        list of texts.
    """
    lists = {split: tiles for split, tiles in record.splits.items() if not isinstance(tiles, int)}
    owners = {tile: split for split, tiles in lists.items() for tile in tiles}
    found = []
    for split, tiles in names.items():
        for name in tiles:
            ways = (name[:end] for end in range(len(name), 0, -1) if name[end : end + 1] in "_-")
            known = next((start for start in ways if start in owners), None)
            if known and owners[known] != split:
                found.append(
                    f"{split}/{name}: the record has {known} in the {owners[known]} split. "
                    "Results cannot be compared with published ones."
                )
    return found


def leaks(record, groups, pairs, names):
    """Lists in words what stands in several splits, or in the wrong one.

    Args:
        record: `datasets.records.record.Record`.
        groups: of `duplicates`.
        pairs: of `overlaps`.
        names: dict of split to the names of its tiles.

    Returns:
        list of texts, at most MOST_LISTED of each kind and one that counts the others.
    """
    same = [
        f"{', '.join(group)}: the same photo {len(group)} times. "
        + (ADVICE if len({name.split("/")[0] for name in group}) > 1 else "Keep one.")
        for group in groups
    ]
    shared = [
        f"{first}, {second}: {share:.0%} of the smaller one is the same ground. {ADVICE}"
        for first, second, share in pairs
    ]
    return [*_first(same), *_first(shared), *_first(misplaced(record, names))]


def _by_projection(footprints):
    """Returns dict of projection to names, and boxes (tiles, 4) with their pixel sizes (tiles,)."""
    groups = {}
    for name, place in footprints.items():
        groups.setdefault(place.projection, []).append((name, place.box, place.pixel))
    columns = {projection: zip(*items, strict=True) for projection, items in groups.items()}
    return {key: (n, np.array(b), np.array(p)) for key, (n, b, p) in columns.items()}


def _partners(place, groups):
    """Yields name and shared part of the tiles that a footprint overlaps."""
    low, high = np.reshape(place.box, (2, 2))
    for projection, (names, boxes, pixels) in groups.items():
        if not _same(place.projection, projection):
            continue
        shared = np.minimum(high, boxes[:, 2:]) - np.maximum(low, boxes[:, :2])  # (tiles, 2)
        found = (shared > LEAST_OVERLAP * np.maximum(pixels, place.pixel)[:, None]).all(axis=1)
        areas = np.minimum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), (high - low).prod())
        for i in np.flatnonzero(found):
            yield names[i], float(shared[i].prod() / areas[i])


@lru_cache
def _same(first, second):
    return same_projection(first, second)


def _first(texts):
    """Shortens a list of texts."""
    more = [f"... and {len(texts) - MOST_LISTED} more like that."] * (len(texts) > MOST_LISTED)
    return [*texts[:MOST_LISTED], *more]
