"""What is said about steps that were left out: which tiles they took, and what is wrong with them.

The step itself decides (`training.optimizers.StepGuard`); here its decision is only reported.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from datasets.crops.crop_reader import CropReader
from datasets.crops.pipeline import CropPlan, place_crop
from datasets.records.record import HEIGHT_LIMITS
from project.errors import UserError
from project.files import DiskError
from training.history import CsvFile

COLUMNS = (
    "step",
    "reason",
    "sample",
    "tile",
    "row",
    "column",
    "size",
    "suspicious",
    "valid_share",
    "height_min",
    "height_max",
    "height_mean",
    "image_min",
    "image_max",
    "image_mean",
)
MOST_LINES = 20  # that a process prints about single steps
MOST_TILES = 3  # that a line names
SMALLEST_SCALE = 2.0**-10  # with a smaller loss scale, an overflow has another cause


class TrainingError(UserError):
    """Training cannot continue."""


@dataclass(frozen=True)
class TakenCrop:
    """A crop of a batch, as it was read from its tile: before augmentation.

    Attributes:
        sample: its number in the stream.
        tile: name.
        place: (row, column, size) within the tile, pixels.
        valid_share: of its pixels.
        heights: (lowest, highest, mean) of the valid pixels, metres; empty = there are none.
        image: (lowest, highest, mean).
    """

    sample: int
    tile: str
    place: tuple[int, int, int]
    valid_share: float
    heights: tuple[float, ...]
    image: tuple[float, ...]

    @property
    def suspicious(self) -> bool:
        """Whether a height is implausible, or an image value not finite, where it counts."""
        low, high = HEIGHT_LIMITS
        is_height = all(low <= height <= high for height in self.heights)
        return bool(self.heights) and not (is_height and np.isfinite(self.image).all())

    @property
    def extent(self) -> float:
        """The largest number of its heights, without their sign; -1 without a valid pixel."""
        return max((abs(height) for height in self.heights), default=-1.0)

    def row(self) -> dict:
        """Returns its part of a row of bad_steps.csv."""
        names = (
            f"{kind}_{name}" for kind in ("height", "image") for name in ("min", "max", "mean")
        )
        heights = self.heights or (None,) * 3
        return {
            "sample": self.sample,
            "tile": self.tile,
            **dict(zip(("row", "column", "size"), self.place, strict=True)),
            "suspicious": int(self.suspicious),
            "valid_share": self.valid_share,
            **dict(zip(names, (*heights, *self.image), strict=True)),
        }

    def __str__(self) -> str:
        row, column, _ = self.place
        low, high, _ = self.heights
        return f"{self.tile} (row {row}, column {column}: heights of {low:.4g} to {high:.4g} m)"


@dataclass(frozen=True)
class CropSource:
    """Finds the crops of a step again, and reads them once more.

    Attributes:
        plan: which crops the run takes.
        reader: of the training tiles.
        tiles: their names.
        global_batch_size: crops of a step.
    """

    plan: CropPlan
    reader: CropReader
    tiles: Sequence[str]
    global_batch_size: int

    def crops(self, step: int) -> Iterator[TakenCrop]:
        """Yields the crops of a step, of all replicas; those that cannot be read are left out.

        Args:
            step: its number in history.csv, from 1.
        """
        first = (step - 1) * self.global_batch_size
        for sample in range(first, first + self.global_batch_size):
            with tf.device("CPU"):
                place = place_crop(tf.constant(sample, tf.int64), self.plan)
            tile, row, column, size = (int(place[n]) for n in ("tile", "row", "column", "size"))
            try:
                pixels = self.reader.read(tile, row, column, size)
            except UserError:
                continue
            heights, image = pixels["heights"], pixels["image"]
            known = heights[np.isfinite(heights)]
            yield TakenCrop(
                sample,
                self.tiles[tile],
                (row, column, size),
                known.size / heights.size,
                statistics(known) if known.size else (),
                statistics(image),
            )


def statistics(values: np.ndarray) -> tuple[float, float, float]:
    """Returns (lowest, highest, mean) of an array, in float64."""
    return float(values.min()), float(values.max()), float(values.mean(dtype="float64"))


class BadSteps:
    """Reports the steps of a run that were left out, and ends it after too many in a row.

    Attributes:
        path: of bad_steps.csv.
    """

    def __init__(
        self,
        source: CropSource | None,
        path: Path,
        most: int,
        resume_step: int = 0,
        before: int = 0,
    ):
        """Cuts off the rows of an earlier run after its state.

        Args:
            source: of the crops; None = another process reports.
            path: of bad_steps.csv, which is made when it is needed.
            most: steps left out in a row, after which training ends.
            resume_step: steps that are already done.
            before: how many of the last of these were left out.
        """
        self.path = path
        self._source, self._most, self._in_a_row = source, most, before
        self._lines = 0
        self._suspects: dict[str, TakenCrop] = {}  # the worst crop of each tile
        self._file: CsvFile | None = None
        if source and path.exists():
            self._file = CsvFile(path, COLUMNS, resume_step, strict=False)

    def see(self, step: int, row: dict[str, float]) -> str:
        """Looks at a step that is done.

        Args:
            step: its number in history.csv, from 1.
            row: its figures, see `training.steps.make_train_step`.

        Returns:
            A line for the user; empty = there is nothing to say.

        Raises:
            TrainingError: if too many steps in a row were left out, or the gradient overflows at
                every loss scale. Nothing must be saved then: the last saved state is a good one.
        """
        if row.get("loss_scale", 1.0) < SMALLEST_SCALE:
            raise TrainingError(
                f"Step {step}: the gradient, at every loss scale, is not finite. The last good "
                "state is kept. Train again with precision=float32 or a smaller learning rate."
            )
        if not row.get("left_out"):
            self._in_a_row, self._suspects = 0, {}
            return ""
        self._in_a_row += 1
        reason = why(row)
        crops = self._report(step, reason)
        if self._in_a_row >= self._most:
            raise TrainingError(self._farewell(step, reason))
        return self._line(step, reason, crops)

    def _report(self, step: int, reason: str) -> list[TakenCrop]:
        """Writes the rows of a step; returns its crops that have valid pixels, the worst first."""
        if self._source is None:
            return []
        crops = list(self._source.crops(step))
        try:
            self._file = self._file or CsvFile(self.path, COLUMNS, strict=False)
        except DiskError as error:  # a log must not end a training
            tqdm.write(f"warning: {error}")
        for crop in crops:
            if self._file:
                self._file.append({"step": step, "reason": reason, **crop.row()})
        crops = [crop for crop in crops if crop.heights]
        crops.sort(key=lambda crop: (crop.suspicious, crop.extent), reverse=True)
        for crop in crops:
            known = self._suspects.setdefault(crop.tile, crop)
            if crop.extent > known.extent:
                self._suspects[crop.tile] = crop
        return crops

    def _line(self, step: int, reason: str, crops: list[TakenCrop]) -> str:
        self._lines += 1
        if self._source is None or self._lines > MOST_LINES:
            return ""
        last = "; further steps stand only there" if self._lines == MOST_LINES else ""
        return f"Step {step} is left out: {reason}. {named(crops)} See {self.path}{last}."

    def _farewell(self, step: int, reason: str) -> str:
        count = self._in_a_row
        crops = sorted(
            self._suspects.values(), key=lambda crop: (crop.suspicious, crop.extent), reverse=True
        )
        tiles = f"{named(crops)} All crops are in {self.path}. " if self._source else ""
        spike = ", or set a larger gradient_spike" if "median" in reason else ""
        return (
            f"Step {step}: left out, like all of the last {count}, because {reason}. {tiles}The "
            "last good state is kept. Restore tiles that have changed since the training began"
            f"{spike}, and the same command goes on from that state. Other tiles, a smaller "
            "learning rate, gradient_clip_norm or another precision make a new run, which "
            "initial_weights can start from the best weights of this one."
        )

    def close(self) -> None:
        if self._file:
            self._file.close()


def why(row: dict[str, float]) -> str:
    """Returns why a step was left out, by its figures."""
    norm = row["gradient_norm"]
    if not math.isfinite(row["loss"]):
        return f"the loss is not finite ({row['loss']:g})"
    if not math.isfinite(norm):
        return f"the gradient is not finite (norm {norm:g})"
    return (
        f"the gradient norm is {norm:.4g}, but its running median {row['gradient_norm_median']:.4g}"
    )


def named(crops: Sequence[TakenCrop]) -> str:
    """Returns a sentence on the tiles of crops, the worst first."""
    suspicious = [crop for crop in crops if crop.suspicious]
    shown = list({crop.tile: str(crop) for crop in suspicious or crops}.values())
    if not shown:
        return "None of its crops has a valid pixel."
    more = f" and {len(shown) - MOST_TILES} more" if len(shown) > MOST_TILES else ""
    tiles = ", ".join(shown[:MOST_TILES]) + more
    if suspicious:
        return f"Implausible: tile {tiles}."
    return f"All heights are plausible; its tiles: {tiles}."
