"""The maps of one tile: what is measured, and what it is measured against."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TileMaps:
    """The true and the predicted maps of one tile, all of the same rows and columns.

    Attributes:
        name: of the tile, for `SplitMetrics.rows` and error messages.
        heights: float (rows, columns), true heights, metres; any value where not valid.
        predicted_heights: float (rows, columns), metres; any value where not valid.
        valid: bool (rows, columns), True where image and true height are usable.
        classes: int (rows, columns), true class indices; below 0 = not scored. None = the tile
            has no labels.
        predicted_classes: int (rows, columns), class indices; None = the network predicts none.
        normals: float (rows, columns, 3), true unit normals; NaN = unknown. None = normals are
            not measured.
        predicted_normals: float (rows, columns, 3), unit vectors; None = the network predicts
            none.
        correction: float (rows, columns), metres that stage 2 subtracted; None = no stage 2.

    Raises:
        ValueError: if the shapes differ, or if a prediction or true height that will be measured
            is not finite. The message names the tile.
    """

    name: str
    heights: np.ndarray
    predicted_heights: np.ndarray
    valid: np.ndarray
    classes: np.ndarray | None = None
    predicted_classes: np.ndarray | None = None
    normals: np.ndarray | None = None
    predicted_normals: np.ndarray | None = None
    correction: np.ndarray | None = None

    def __post_init__(self) -> None:
        maps = (self.predicted_heights, self.heights, self.valid, self.classes)
        both = (*maps, self.predicted_classes)
        shapes = [pixels.shape for pixels in both if pixels is not None]
        if len(shapes[0]) != 2 or len(set(shapes)) > 1:
            raise ValueError(
                f"Tile {self.name!r}: prediction, true heights, valid and classes have the shapes "
                f"{shapes}; expected one shape (rows, columns). Blend the windows to the full tile "
                "and drop the channel axis before measuring."
            )
        self._require_finite("true heights", self.heights[self.valid])
        self._require_finite("predicted heights", self.predicted_heights[self.valid])
        if pairs := self.normal_pairs():
            self._require_finite("components of predicted normals", pairs[1])

    def normal_pairs(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the true and predicted normals where the truth is known, each (pixels, 3).

        None = the tile has no true or no predicted normals.
        """
        if self.normals is None or self.predicted_normals is None:
            return None
        known = np.isfinite(self.normals).all(axis=-1)
        return self.normals[known], self.predicted_normals[known]

    def _require_finite(self, what: str, values: np.ndarray) -> None:
        """Raises ValueError if a value is NaN or infinite."""
        bad = int(values.size - np.isfinite(values).sum())
        if bad:
            raise ValueError(
                f"Tile {self.name!r}: {bad} of {values.size} {what} on valid pixels are NaN "
                "or infinite. If these are predictions, check the training for divergence; mark "
                "pixels whose true height is unknown as not valid."
            )
