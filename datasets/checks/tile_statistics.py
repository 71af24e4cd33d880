"""What one tile holds, gathered while its blocks are read."""

import hashlib

import numpy as np

from datasets.checks.alignment import MeanCorrelation, edge_correlation
from datasets.records.record import HEIGHT_LIMITS

THUMBNAIL = 128  # pixels of the longer side, at most
LOWEST, HIGHEST = HEIGHT_LIMITS  # of the histogram
BELOW_GROUND = -5.0  # metres; lower heights are errors of DSM or DTM
BINS = int(HIGHEST - LOWEST)  # of 1 m each


class TileStatistics:
    """Statistics of one tile beyond those in `datasets.checks.validation.TileReport`.

    Args:
        shape: (rows, columns) of the tile.

    Attributes:
        image_pixels: pixels with a photo.
        histogram: int64 (BINS,), valid pixels by height, in bins of 1 m from LOWEST on. The first
            and the last bin also count the heights beyond them.
        below_ground: valid pixels below BELOW_GROUND.
        correlation: of the edges of photo and heights.
        thumbnail: dict of "image" uint8 (.., .., 3), "heights" float32, NaN = nodata, and
            "classes" int16; every n-th row and column.
    """

    def __init__(self, shape: tuple[int, int]):
        self.image_pixels = self.below_ground = 0
        self.histogram = np.zeros(BINS, "int64")
        self.correlation = MeanCorrelation()
        self.thumbnail: dict[str, np.ndarray] = {}
        self._darkest, self._brightest = np.full(3, np.inf), np.full(3, -np.inf)
        self._stride = -(-max(shape) // THUMBNAIL)
        self._digest = hashlib.blake2b(repr(shape).encode(), digest_size=16)

    def add(self, row: int, sample: dict[str, np.ndarray]) -> None:
        """Adds a block of whole rows.

        Args:
            row: first row of the block; blocks must come from the top down.
            sample: as `datasets.tiles.samples.read_tile_window` returns; of the image only the
                photo is used, not the radar.
        """
        sample = sample | {"image": sample["image"][..., :3]}
        self._add_image(sample["image"], sample["has_image"])
        self._add_heights(sample["heights"][sample["valid"]])
        arrays = [sample[name] for name in ("image", "has_image", "heights", "valid")]
        self.correlation.add(edge_correlation(*arrays), sample["valid"].size)
        self._add_thumbnail(row, sample)

    @property
    def digest(self) -> str:
        """Hexadecimal digest of the photo's pixels and shape."""
        return self._digest.hexdigest()

    @property
    def is_plain(self) -> bool:
        """Whether the photo has a single colour."""
        return bool((self._darkest == self._brightest).all())

    def _add_image(self, image, has_image):
        self._digest.update(np.ascontiguousarray(image))
        seen = image[has_image]
        self.image_pixels += len(seen)
        self._darkest = np.minimum(self._darkest, seen.min(axis=0, initial=np.inf))
        self._brightest = np.maximum(self._brightest, seen.max(axis=0, initial=-np.inf))

    def _add_heights(self, heights):
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
