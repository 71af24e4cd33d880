"""What one tile holds, gathered while its blocks are read."""

import hashlib

import numpy as np

from datasets.checks.alignment import edge_correlation, find_offset
from datasets.checks.validation import HIGHEST, LOWEST

THUMBNAIL = 128  # pixels of the longer side, at most
BELOW_GROUND = -5.0  # metres: no height above ground is there, but for errors of DSM and DTM
MOST_BELOW = 0.01  # share of the pixels
ON_A_PEDESTAL = 20.0  # metres: a tile without anything lower is hardly above ground
BINS = int(HIGHEST - LOWEST)  # of 1 m each


class TileStatistics:
    """Adds up the blocks of one tile; `datasets.checks.validation.check_tiles` calls it.

    Attributes:
        pixels, image_pixels, valid_pixels: all; with a photo; with photo and height.
        colours: lowest and highest value of each band, 0-255; None without a photo.
        histogram: int64 (BINS,), valid pixels by height, 1 m each from LOWEST on; what lies
            beyond is in the first and the last.
        below_ground: valid pixels below BELOW_GROUND.
        thumbnail: dict of "image" uint8 (.., .., 3), "heights" float32, NaN = nodata, and
            "classes" int16, every n-th row and column.
    """

    def __init__(self, tile, shape):
        self.tile, self.shape = tile, shape
        self.pixels = self.image_pixels = self.valid_pixels = 0
        self.colours = None
        self.histogram = np.zeros(BINS, "int64")
        self.below_ground = 0
        self.thumbnail = {}
        self._stride = -(-max(shape) // THUMBNAIL)
        self._digest = hashlib.blake2b(repr(shape).encode(), digest_size=16)
        self._correlation, self._weight = 0.0, 0

    def add(self, row, sample):
        """Takes the block of whole rows that begins at `row`; of the image the photo alone."""
        sample = sample | {"image": sample["image"][..., :3]}
        self._add_image(sample["image"], sample["has_image"])
        self._add_heights(sample["heights"][sample["valid"]])
        self.pixels += sample["valid"].size
        arrays = [sample[name] for name in ("image", "has_image", "heights", "valid")]
        correlation = edge_correlation(*arrays)
        if correlation is not None:
            self._correlation = self._correlation + correlation * sample["valid"].size
            self._weight += sample["valid"].size
        self._add_thumbnail(row, sample)

    @property
    def digest(self):
        """Hexadecimal digest of the photo's pixels and shape."""
        return self._digest.hexdigest()

    @property
    def correlation(self):
        """As `edge_correlation` returns, the mean of the blocks; None if none has edges."""
        return self._correlation / self._weight if self._weight else None

    @property
    def is_plain(self):
        """Whether the photo has one colour only."""
        return self.colours is not None and bool((self.colours[0] == self.colours[1]).all())

    def _add_image(self, image, has_image):
        self._digest.update(np.ascontiguousarray(image))
        seen = image[has_image]
        self.image_pixels += len(seen)
        if len(seen):
            extremes = np.stack([seen.min(axis=0), seen.max(axis=0)])
            known = extremes if self.colours is None else self.colours
            self.colours = np.stack(
                [np.minimum(extremes[0], known[0]), np.maximum(extremes[1], known[1])]
            )

    def _add_heights(self, heights):
        self.valid_pixels += heights.size
        self.below_ground += int((heights < BELOW_GROUND).sum())
        bins = np.floor(heights.clip(LOWEST, HIGHEST) - LOWEST).astype("int64")
        self.histogram += np.bincount(bins.clip(max=BINS - 1), minlength=BINS)

    def _add_thumbnail(self, row, sample):
        first, step = -row % self._stride, self._stride
        kinds = {"image": "uint8", "heights": "float32", "classes": "int16"}
        for name, kind in kinds.items():
            part = sample[name][first::step, ::step].clip(-1e6, 1e6).astype(kind)
            past = self.thumbnail.get(name)
            self.thumbnail[name] = part if past is None else np.concatenate([past, part])


def suspicions(report):
    """Lists what is strange about a tile, though it can be used.

    Args:
        report: `datasets.checks.validation.TileReport` with a `TileStatistics` as its watcher.

    Returns:
        list of texts that name the files.
    """
    found, statistics = list(report.warnings), report.watcher
    if statistics is None or report.problems:
        return found
    tile, (low, high) = report.tile, report.extremes
    if statistics.is_plain:
        found.append(f"{tile.rgb}: the photo has one colour only.")
    if statistics.image_pixels == 0:
        found.append(f"{tile.rgb}: the photo has no data.")
    if low == high:
        found.append(f"{tile.dsm}: all heights are {low:g} m.")
    return found + _strange_heights(report) + _strange_place(report)


def _strange_heights(report):
    """Names heights that are hardly above ground."""
    statistics, (low, _) = report.watcher, report.extremes
    below = statistics.below_ground / max(1, statistics.valid_pixels)
    found = []
    if below > MOST_BELOW:
        found.append(
            f"{report.tile.dsm}: {below:.1%} of the heights are below {BELOW_GROUND:g} m, the "
            f"lowest is {low:.2f} m. Are they above ground (DSM - DTM)?"
        )
    if statistics.valid_pixels and ON_A_PEDESTAL < low <= HIGHEST:
        found.append(
            f"{report.tile.dsm}: the lowest height is {low:.2f} m. Are heights above ground (DSM - "
            "DTM), not above the sea?"
        )
    return found


def _strange_place(report):
    """Names a tile whose edges fit better elsewhere."""
    correlation = report.watcher.correlation
    offset = None if correlation is None else find_offset(correlation)
    if offset is None or not offset.is_suspicious():
        return []
    return [
        f"{report.tile.dsm}: its edges fit those of the photo better after a shift by "
        f"{offset.rows:+d} rows and {offset.columns:+d} columns (correlation "
        f"{offset.correlation:.2f}, {offset.at_zero:.2f} as it is). Is the pair aligned?"
    ]
