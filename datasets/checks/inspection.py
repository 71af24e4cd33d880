"""What the splits of a data set hold and what is strange about them, for `check_data`."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from datasets.checks.alignment import find_offset
from datasets.checks.headers import GSD_TOLERANCE
from datasets.checks.leakage import footprint
from datasets.checks.split_warnings import split_warnings
from datasets.checks.tile_statistics import TileStatistics, suspicions
from datasets.checks.validation import LOWEST, check_tiles, list_problems
from datasets.rasters.reading import describe_projection
from datasets.records.record import KINDS
from datasets.tiles.folders import pair_files

MOST_DRAWN = 24  # tiles on the contact sheet
NO_CRS = "none"


@dataclass(frozen=True)
class Drawing:
    """A tile for the contact sheet.

    Attributes:
        name: split/tile.
        verdict: "unusable", "suspicious" or "".
        thumbnail: of `TileStatistics`, or {} where nothing could be read.
    """

    name: str
    verdict: str
    thumbnail: dict


@dataclass
class SplitInspection:
    """What the inspection of one split found.

    Attributes:
        split: "train", "valid" or "test".
        problems: texts on files that cannot be used.
        suspicions: texts on files that are usable but strange.
        facts: dict for people and for JSON, see docs/checking.md.
        tiles: list of dict, one of each tile, for JSON.
        digests: dict of tile name to the digest of its photo; without photos of one colour.
        footprints: dict of tile name to its `datasets.checks.leakage.Footprint`, where that is
            known.
        drawings: list of `Drawing`, at most MOST_DRAWN of each verdict.
    """

    split: str
    problems: list = field(default_factory=list)
    suspicions: list = field(default_factory=list)
    facts: dict = field(default_factory=dict)
    tiles: list = field(default_factory=list)
    digests: dict = field(default_factory=dict)
    footprints: dict = field(default_factory=dict)
    drawings: list = field(default_factory=list)


def inspect_split(record, split, crop_size, progress=None, sar=False):
    """Reads every file of a split once and finds out all there is to say about it.

    Args:
        record: `datasets.records.record.Record`.
        split: "train", "valid" or "test".
        crop_size: pixels; smaller tiles are a problem.
        progress: function (tiles done, tiles in all), called after each tile; or None.
        sar: bool, True = each tile must have a radar image.

    Returns:
        `SplitInspection`.
    """
    tiles, problems = pair_files(record, split, sar)
    inspection = SplitInspection(split, problems)
    drawn = set(np.linspace(0, len(tiles) - 1, MOST_DRAWN).astype(int).tolist())
    totals, reports = _Totals(), []
    for number, report in enumerate(check_tiles(record, tiles, crop_size, TileStatistics)):
        strange = suspicions(report)
        totals.add(report)
        inspection.tiles.append(_tile_facts(report, strange))
        inspection.suspicions += strange
        statistics = report.watcher
        if statistics and not statistics.is_plain and statistics.image_pixels:
            inspection.digests[report.tile.name] = statistics.digest
        if place := footprint(report.infos.values()):
            inspection.footprints[report.tile.name] = place
        verdict = "unusable" if report.problems else "suspicious" if strange else ""
        if verdict or number in drawn:
            _keep(inspection, report, verdict)
        report.watcher = None  # its arrays are not needed any more
        reports.append(report)
        if progress:
            progress(len(reports), len(tiles))
    inspection.problems += list_problems(record, reports) if tiles else []
    inspection.facts = _split_facts(record, reports, totals)
    inspection.suspicions += split_warnings(record, split, reports)
    inspection.suspicions += _strange_split(split, totals)
    return inspection


def differing_gsds(inspections):
    """Says whether the splits have different pixel sizes.

    Args:
        inspections: sequence of `SplitInspection`.

    Returns:
        list of at most one text.
    """
    gsds = {i.split: i.facts["gsd"] for i in inspections if i.facts["gsd"]}
    if not gsds or max(gsds.values()) / min(gsds.values()) - 1 <= GSD_TOLERANCE:
        return []
    texts = [f"{split} {gsd:.2f} m" for split, gsd in gsds.items()]
    return [f"The splits differ in their gsd: {', '.join(texts)}. Resample to one gsd."]


class _Totals:
    """Sums over the tiles of a split."""

    def __init__(self):
        self.pixels = self.image_pixels = self.valid_pixels = 0
        self.height_sum = 0.0
        self.histogram, self.class_counts = 0, 0
        self._correlation, self._tiles = 0.0, 0

    def add(self, report):
        statistics = report.watcher
        if statistics is None or report.problems:
            return
        self.pixels += statistics.pixels
        self.image_pixels += statistics.image_pixels
        self.valid_pixels += statistics.valid_pixels
        self.height_sum += report.height_sum
        self.histogram = self.histogram + statistics.histogram
        self.class_counts = self.class_counts + report.class_counts
        if statistics.correlation is not None:
            self._correlation = self._correlation + statistics.correlation
            self._tiles += 1

    @property
    def offset(self):
        """`Offset` of the mean correlation of the tiles; None if none has edges."""
        return find_offset(self._correlation / self._tiles) if self._tiles else None


def _keep(inspection, report, verdict):
    """Keeps a tile for the contact sheet, unless there are enough like it."""
    if sum(drawing.verdict == verdict for drawing in inspection.drawings) < MOST_DRAWN:
        thumbnail = report.watcher.thumbnail if report.watcher else {}
        name = f"{inspection.split}/{report.tile.name}"
        inspection.drawings.append(Drawing(name, verdict, thumbnail))


def _strange_split(split, totals):
    """Names a split whose heights lie beside the photos as a whole."""
    offset = totals.offset
    if offset is None or not offset.is_suspicious("split"):
        return []
    return [
        f"{split}: over all tiles the edges of the heights fit those of the photos better after a "
        f"shift by {offset.rows:+d} rows and {offset.columns:+d} columns (correlation "
        f"{offset.correlation:.3f}, {offset.at_zero:.3f} as they are). Are the pairs aligned?"
    ]


def _tile_facts(report, strange):
    """Returns what check.json says of a tile."""
    statistics = report.watcher
    facts = {
        "name": report.tile.name,
        "rows": report.shape[0],
        "columns": report.shape[1],
        "problems": report.problems,
        "suspicions": strange,
    }
    if statistics is None or report.problems:
        return facts
    correlation = statistics.correlation
    has_heights = statistics.valid_pixels > 0
    return facts | {
        "nodata_share": 1 - statistics.valid_pixels / statistics.pixels,
        "lowest": float(report.extremes[0]) if has_heights else None,
        "highest": float(report.extremes[1]) if has_heights else None,
        "mean": report.height_sum / statistics.valid_pixels if has_heights else None,
        "offset": None if correlation is None else vars(find_offset(correlation)),
        "photo_digest": statistics.digest,
    }


def _split_facts(record, reports, totals):
    """Returns what check.json says of a split."""
    usable = [report for report in reports if not report.problems]
    gsds = [report.gsd for report in usable if report.gsd]
    facts = {
        "tiles": len(reports),
        "usable_tiles": len(usable),
        "labelled_tiles": sum(report.tile.sem is not None for report in usable),
        "sizes": _counts(f"{r.shape[0]} x {r.shape[1]}" for r in usable),
        "dtypes": {
            kind: _counts(r.infos[kind].dtype for r in reports if kind in r.infos)
            for kind in KINDS
            if any(kind in r.infos for r in reports)
        },
        "crs": _counts(_crs(report) for report in reports if report.infos),
        "gsd": record.gsd or (float(np.median(gsds)) if gsds else None),
        "gsd_of_files": [min(gsds), max(gsds)] if gsds else None,
        "pixels": totals.pixels,
    }
    return facts | (_pixel_facts(record, usable, totals) if totals.pixels else {})


def _pixel_facts(record, usable, totals):
    """Returns what check.json says of the pixels of a split that has any."""
    has_heights = totals.valid_pixels > 0
    labelled = int(np.sum(totals.class_counts))
    counts = np.broadcast_to(totals.class_counts, len(record.classes)) if labelled else []
    names = record.class_names if labelled else ()
    return {
        "valid_pixels": totals.valid_pixels,
        "nodata_share": 1 - totals.valid_pixels / totals.pixels,
        "photo_nodata_share": 1 - totals.image_pixels / totals.pixels,
        "lowest": float(min(r.extremes[0] for r in usable)) if has_heights else None,
        "highest": float(max(r.extremes[1] for r in usable)) if has_heights else None,
        "mean": totals.height_sum / totals.valid_pixels if has_heights else None,
        "histogram": _histogram(totals.histogram) if has_heights else None,
        "labelled_share": labelled / totals.pixels,
        "class_counts": {name: int(n) for name, n in zip(names, counts, strict=True)},
        "class_shares": {name: n / labelled for name, n in zip(names, counts, strict=True)},
        "offset": None if totals.offset is None else vars(totals.offset),
    }


def _counts(items):
    """Returns dict of item to its number, the most frequent first."""
    return dict(Counter(items).most_common())


def _crs(report):
    """Describes the CRS of a tile: that of the first file that has one."""
    projections = (info.grid.projection for info in report.infos.values())
    return next((describe_projection(text) for text in projections if text), NO_CRS)


def _histogram(counts):
    """Returns the occupied part of a histogram: metres of its lower edge, and pixels by 1 m."""
    first, last = np.flatnonzero(counts)[[0, -1]]
    return {"from": int(LOWEST) + int(first), "pixels": counts[first : last + 1].tolist()}
