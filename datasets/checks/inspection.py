"""What the splits of a data set hold and what is suspicious about them, for `check_data`."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datasets.checks.alignment import MeanCorrelation, Offset
from datasets.checks.leakage import Footprint, duplicates, footprint, leaks, overlaps
from datasets.checks.progress import progress_bar
from datasets.checks.tile_check import GSD_TOLERANCE, TileReport, check_tiles
from datasets.checks.tile_statistics import BELOW_GROUND, BINS, LOWEST
from datasets.checks.validation import (
    conversion_notes,
    label_problems,
    list_problems,
    split_warnings,
)
from datasets.rasters.reading import describe_projection
from datasets.records.record import KINDS, Record
from datasets.tiles.folders import pair_files

MOST_DRAWN = 24  # tiles on the contact sheet
MOST_BELOW = 0.01  # share of the pixels that may be below BELOW_GROUND
ON_A_PEDESTAL = 20.0  # metres: the lowest height of a tile above ground is rarely above this
NO_CRS = "none"


@dataclass(frozen=True)
class Drawing:
    """A tile for the contact sheet.

    Attributes:
        name: split/tile.
        verdict: "unusable", "suspicious" or "".
        thumbnail: of `TileStatistics`, or {} if nothing could be read.
    """

    name: str
    verdict: str
    thumbnail: dict[str, np.ndarray]


@dataclass
class SplitInspection:
    """What the inspection of one split found.

    Attributes:
        split: "train", "valid" or "test".
        problems: texts on files that cannot be used.
        suspicions: texts on files that can be used but are suspicious.
        notes: texts on what is converted while files are read.
        facts: for the report and for check.json, see docs/checking.md.
        tiles: the same of each tile, for check.json.
        digests: of the photos by tile name; without photos of a single colour.
        footprints: by tile name, of the tiles with a known place.
        drawings: at most MOST_DRAWN of each verdict.
        image_pixels, histogram, correlation: of the usable tiles, as in `TileStatistics`.
    """

    split: str
    problems: list[str] = field(default_factory=list)
    suspicions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    tiles: list[dict] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    footprints: dict[str, Footprint] = field(default_factory=dict)
    drawings: list[Drawing] = field(default_factory=list)
    image_pixels: int = 0
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(BINS, "int64"))
    correlation: MeanCorrelation = field(default_factory=MeanCorrelation)


@dataclass(frozen=True)
class Inspection:
    """What the inspection of a data set found.

    Attributes:
        splits: of each split.
        duplicates: of `datasets.checks.leakage.duplicates`.
        overlaps: of `datasets.checks.leakage.overlaps`.
        suspicions: texts on several splits together.
    """

    splits: Sequence[SplitInspection]
    duplicates: list[list[str]]
    overlaps: list[list]
    suspicions: list[str]

    @property
    def problem_count(self) -> int:
        """Number of problems in all splits; 0 = the data set can be used."""
        return sum(len(inspection.problems) for inspection in self.splits)


def inspect_data_set(
    record: Record, splits: Iterable[str], crop_size: int, sar: bool, labelled: Collection[str]
) -> Inspection:
    """Inspects the splits of a data set, with a progress bar each, and compares them.

    Args:
        record: of the data set.
        splits: of "train", "valid" and "test".
        crop_size: pixels; smaller training tiles are a problem.
        sar: True = each tile must have a radar image.
        labelled: the splits that cannot be used without labels.
    """
    found = []
    for split in splits:
        with progress_bar(f"checking {split}") as progress:
            smallest = crop_size if split == "train" else 1
            inspection = _inspect_split(record, split, smallest, sar, progress)
        if split in labelled and not inspection.problems:
            counts = inspection.facts["class_counts"].values()
            inspection.problems += label_problems(record, split, counts)
        found.append(inspection)
    groups = duplicates({i.split: i.digests for i in found})
    pairs = overlaps({i.split: i.footprints for i in found})
    names = {i.split: [tile["name"] for tile in i.tiles] for i in found}
    suspicions = leaks(record, groups, pairs, names) + _differing_gsds(found)
    return Inspection(found, groups, pairs, suspicions)


def _inspect_split(record, split, crop_size, sar, progress):
    """Reads every file of a split once; calls `progress` (tiles done, tiles in all) after each."""
    tiles, problems = pair_files(record, split, sar)
    inspection = SplitInspection(split, problems)
    drawn = set(np.linspace(0, len(tiles) - 1, MOST_DRAWN).astype(int).tolist())
    reports = []
    for number, report in enumerate(check_tiles(record, tiles, crop_size, statistics=True)):
        _add_tile(inspection, report, number in drawn)
        report.statistics = None  # the arrays of all tiles together may not fit in memory
        reports.append(report)
        progress(len(reports), len(tiles))
    inspection.problems += list_problems(record, reports) if tiles else []
    inspection.facts = _split_facts(record, reports, inspection)
    inspection.suspicions += split_warnings(record, split, reports)
    inspection.notes += conversion_notes(reports)
    inspection.suspicions += _misalignment(f"{split} split", inspection.correlation.offset, "split")
    return inspection


def _add_tile(inspection, report, is_drawn):
    """Adds what is known of one tile; `is_drawn` = also to the contact sheet, whatever it holds."""
    name, statistics = report.tile.name, report.statistics
    suspicions = _tile_suspicions(report)
    inspection.tiles.append(_tile_facts(report, suspicions))
    inspection.suspicions += suspicions
    if statistics and statistics.image_pixels and not statistics.is_plain:
        inspection.digests[name] = statistics.digest
    if statistics and not report.problems:
        inspection.image_pixels += statistics.image_pixels
        inspection.histogram += statistics.histogram
        inspection.correlation.add(statistics.correlation.mean)
    if place := footprint(report.infos.values()):
        inspection.footprints[name] = place
    verdict = "unusable" if report.problems else "suspicious" if suspicions else ""
    alike = sum(drawing.verdict == verdict for drawing in inspection.drawings)
    if (verdict or is_drawn) and alike < MOST_DRAWN:
        thumbnail = statistics.thumbnail if statistics else {}
        inspection.drawings.append(Drawing(f"{inspection.split}/{name}", verdict, thumbnail))


def _tile_suspicions(report: TileReport) -> list[str]:
    """Lists what is suspicious about a tile that can be used."""
    found, statistics = list(report.warnings), report.statistics
    if statistics is None or report.problems:
        return found
    tile, (low, high) = report.tile, report.extremes
    below = statistics.below_ground / max(1, report.valid_pixels)
    findings = (
        (statistics.is_plain, f"{tile.rgb}: the photo has a single colour."),
        (statistics.image_pixels == 0, f"{tile.rgb}: the photo has no data."),
        (low == high, f"{tile.dsm}: all heights are {low:g} m."),
        (
            below > MOST_BELOW,
            f"{tile.dsm}: {below:.1%} of the heights are below {BELOW_GROUND:g} m, the lowest is "
            f"{low:.2f} m. Are they above ground (DSM - DTM)?",
        ),
        (
            report.valid_pixels and low > ON_A_PEDESTAL,
            f"{tile.dsm}: the lowest height is {low:.2f} m. Are the heights above ground (DSM - "
            "DTM), and not above sea level?",
        ),
    )
    found += [text for is_found, text in findings if is_found]
    return found + _misalignment(str(tile.dsm), statistics.correlation.offset)


def _misalignment(subject: str, offset: Offset | None, scope: str = "tile") -> list[str]:
    """Says whether the heights of a tile or split match the photos better elsewhere."""
    if offset is None or not offset.is_suspicious(scope):
        return []
    return [
        f"{subject}: the edges of the heights match those of the photos better after a shift by "
        f"{offset.rows:+d} rows and {offset.columns:+d} columns (correlation "
        f"{offset.correlation:.3f} instead of {offset.at_zero:.3f}). Are photos and heights "
        "aligned?"
    ]


def _differing_gsds(inspections):
    """Says whether the splits have different pixel sizes."""
    gsds = {i.split: i.facts["gsd"] for i in inspections if i.facts["gsd"]}
    if not gsds or max(gsds.values()) / min(gsds.values()) - 1 <= GSD_TOLERANCE:
        return []
    texts = [f"{split} {gsd:.2f} m" for split, gsd in gsds.items()]
    return [f"The splits differ in their gsd: {', '.join(texts)}. Resample to one gsd."]


def _tile_facts(report, suspicions):
    """Returns what check.json says of a tile."""
    statistics, pixels = report.statistics, report.shape[0] * report.shape[1]
    facts = {
        "name": report.tile.name,
        "rows": report.shape[0],
        "columns": report.shape[1],
        "problems": report.problems,
        "suspicions": suspicions,
    }
    if statistics is None or report.problems:
        return facts
    return facts | {
        "nodata_share": 1 - report.valid_pixels / pixels,
        **_height_range([report]),
        "offset": _offset_facts(statistics.correlation),
        "photo_digest": statistics.digest,
    }


def _split_facts(record, reports, inspection):
    """Returns what check.json says of a split."""
    usable = [report for report in reports if not report.problems]
    gsds = [report.gsd for report in usable if report.gsd]
    dtypes = {kind: [r.infos[kind].dtype for r in reports if kind in r.infos] for kind in KINDS}
    pixels = sum(rows * columns for rows, columns in (report.shape for report in usable))
    facts = {
        "tiles": len(reports),
        "usable_tiles": len(usable),
        "labelled_tiles": sum(report.tile.sem is not None for report in usable),
        "sizes": _counts(f"{r.shape[0]} x {r.shape[1]}" for r in usable),
        "dtypes": {kind: _counts(found) for kind, found in dtypes.items() if found},
        "crs": _counts(_crs(report) for report in reports if report.infos),
        "gsd": record.gsd or (float(np.median(gsds)) if gsds else None),
        "gsd_of_files": [min(gsds), max(gsds)] if gsds else None,
        "pixels": pixels,
    }
    return facts | (_pixel_facts(record, usable, inspection, pixels) if pixels else {})


def _pixel_facts(record, usable, inspection, pixels):
    """Returns what check.json says of the pixels of a split that has any."""
    valid_pixels = sum(report.valid_pixels for report in usable)
    class_counts = np.sum([report.class_counts for report in usable], axis=0)
    labelled = int(class_counts.sum())
    classes = zip(record.class_names, class_counts.tolist(), strict=True)
    counts = dict(classes) if labelled else {}
    return {
        "valid_pixels": valid_pixels,
        "nodata_share": 1 - valid_pixels / pixels,
        "photo_nodata_share": 1 - inspection.image_pixels / pixels,
        **_height_range(usable),
        "histogram": _histogram(inspection.histogram) if valid_pixels else None,
        "labelled_share": labelled / pixels,
        "class_counts": counts,
        "class_shares": {name: count / labelled for name, count in counts.items()},
        "offset": _offset_facts(inspection.correlation),
    }


def _height_range(reports):
    """Returns lowest, highest and mean height of tiles, metres; None without valid pixels."""
    valid_pixels = sum(report.valid_pixels for report in reports)
    if not valid_pixels:
        return dict.fromkeys(("lowest", "highest", "mean"))
    return {
        "lowest": float(min(report.extremes[0] for report in reports)),
        "highest": float(max(report.extremes[1] for report in reports)),
        "mean": sum(report.height_sum for report in reports) / valid_pixels,
    }


def _offset_facts(correlation):
    return correlation.offset and vars(correlation.offset)


def _counts(items):
    """Returns dict of item to its number, the most frequent first."""
    return dict(Counter(items).most_common())


def _crs(report):
    """Describes the CRS of a tile: that of the first file that has one."""
    projections = (info.grid.projection for info in report.infos.values())
    return next((describe_projection(text) for text in projections if text), NO_CRS)


def _histogram(counts):
    """Returns the occupied part of a histogram: lower edge in metres, and pixels per 1 m."""
    first, last = np.flatnonzero(counts)[[0, -1]]
    return {"from": int(LOWEST) + int(first), "pixels": counts[first : last + 1].tolist()}
