"""Tiles that are in several splits, by their photos, their ground and the record's lists."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from datasets.rasters.grids import same_projection
from datasets.rasters.reading import RasterInfo
from datasets.records.record import Record

LEAST_OVERLAP = 1.0  # pixels, in rows and in columns: less is rounding
MOST_LISTED = 20
ADVICE = "A result on one split is worthless if the other has the same tile: keep one of them."


@dataclass(frozen=True)
class Footprint:
    """The ground of a tile: its bounding box, which is larger than a rotated tile.

    Attributes:
        projection: WKT string.
        box: left, lower, right and upper edge, in units of the projection.
        pixel: size of a pixel, in the same units.
    """

    projection: str
    box: tuple[float, ...]
    pixel: float


def footprint(infos: Iterable[RasterInfo]) -> Footprint | None:
    """Finds the ground that a tile covers, from the headers of its files.

    Returns:
        That of the first file with a georeference and a projection; None if no file has both.
    """
    for grid in (info.grid for info in infos):
        if grid.geotransform is None or not grid.projection:
            continue
        place = np.reshape(grid.geotransform, (2, 3)).T
        corners = [(1, x, y) for x in (0, grid.columns) for y in (0, grid.rows)] @ place
        box = (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())
        return Footprint(grid.projection, box, float(np.hypot(*place[1:]).max()))
    return None


def duplicates(digests: Mapping[str, Mapping[str, str]]) -> list[list[str]]:
    """Finds photos that occur more than once.

    Args:
        digests: of each photo, by split and tile name.

    Returns:
        Groups of split/tile; those with tiles of several splits come first.
    """
    groups: dict[str, list[str]] = {}
    for split, tiles in digests.items():
        for name, digest in tiles.items():
            groups.setdefault(digest, []).append(f"{split}/{name}")
    found = [group for group in groups.values() if len(group) > 1]
    return sorted(found, key=lambda group: (-len({n.split("/")[0] for n in group}), group))


def overlaps(footprints: Mapping[str, Mapping[str, Footprint]]) -> list[list]:
    """Finds tiles of two splits that cover the same ground.

    Args:
        footprints: by split and tile name.

    Returns:
        [split/tile, split/tile, share of the smaller one's area] of each pair, the largest share
        first.
    """
    found = []
    for (split, first), (other, second) in itertools.combinations(footprints.items(), 2):
        names, places = list(second), list(second.values())
        boxes = np.reshape([place.box for place in places], (-1, 4))
        pixels = np.array([place.pixel for place in places])
        for name, place in first.items():
            shares = _shares(place, boxes, pixels)
            found += [
                [f"{split}/{name}", f"{other}/{names[i]}", float(shares[i])]
                for i in np.flatnonzero(shares)
                if _same(place.projection, places[i].projection)
            ]
    return sorted(found, key=lambda pair: (-pair[2], pair))


def misplaced(record: Record, names: Mapping[str, Iterable[str]]) -> list[str]:
    """Finds tiles that are in another split than the record says, and describes them.

    A tile is the one that the record names if its name is the same, or continues after it with _ or
    -, as the name of a crop does.

    Args:
        record: of the data set; only its splits that are lists of names count.
        names: of the tiles, by split.
    """
    lists = {split: tiles for split, tiles in record.splits.items() if not isinstance(tiles, int)}
    owners = {tile: split for split, tiles in lists.items() for tile in tiles}
    found = []
    for split, tiles in names.items():
        for name in tiles:
            # All of the name ("" is in "_-", too), then its beginnings, the longest first.
            starts = (name[:end] for end in range(len(name), 0, -1) if name[end : end + 1] in "_-")
            known = next((start for start in starts if start in owners), None)
            if known and owners[known] != split:
                found.append(
                    f"{split}/{name}: the record has {known} in the {owners[known]} split. "
                    "Results cannot be compared with published ones."
                )
    return found


def leaks(
    record: Record,
    groups: Iterable[list[str]],
    pairs: Iterable[list],
    names: Mapping[str, Iterable[str]],
) -> list[str]:
    """Describes what is in several splits, or in the wrong one.

    Args:
        record: of the data set.
        groups: of `duplicates`.
        pairs: of `overlaps`.
        names: of the tiles, by split.

    Returns:
        Texts: at most MOST_LISTED of each kind, and one that counts the others.
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


def _shares(place, boxes, pixels):
    """Returns what a footprint shares with others: float (tiles,), of the smaller one's area.

    Args:
        place: `Footprint`.
        boxes: (tiles, 4), of the others.
        pixels: (tiles,), sizes of their pixels.
    """
    low, high = np.reshape(place.box, (2, 2))
    shared = np.minimum(high, boxes[:, 2:]) - np.maximum(low, boxes[:, :2])  # (tiles, 2)
    found = (shared > LEAST_OVERLAP * np.maximum(pixels, place.pixel)[:, None]).all(axis=1)
    areas = np.minimum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), (high - low).prod())
    return np.divide(shared.prod(axis=1), areas, out=np.zeros(len(boxes)), where=found)


@lru_cache  # tiles of a data set have few projections
def _same(first, second):
    return same_projection(first, second)


def _first(texts):
    """Shortens a list of texts."""
    more = [f"... and {len(texts) - MOST_LISTED} more like that."] * (len(texts) > MOST_LISTED)
    return [*texts[:MOST_LISTED], *more]
