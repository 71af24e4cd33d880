"""All measures of a data set split, tile by tile, without keeping any pixel."""

from dataclasses import dataclass

import numpy as np

from evaluation.measures.bootstrap import headline_intervals
from evaluation.measures.class_metrics import class_measures, confusion_matrix
from evaluation.measures.details import DetailSums, detail_sums
from evaluation.measures.height_metrics import HEIGHT_MEASURES, HeightSums, height_sums
from evaluation.measures.normal_metrics import normal_sums
from evaluation.measures.pixel_groups import GROUP_MEASURES, building_groups


@dataclass(frozen=True)
class PixelSums:
    """Sums of any number of tiles; `a + b` are the sums of both together.

    Attributes:
        valid: `HeightSums` of the pixels with valid heights.
        groups: dict of `GROUP_MEASURES` to `HeightSums` of that group of pixels.
        confusion: int64 (classes, classes), rows true, columns predicted classes.
    """

    valid: HeightSums
    groups: dict
    confusion: np.ndarray

    def __add__(self, other):
        groups = {name: self.groups[name] + other.groups[name] for name in GROUP_MEASURES}
        return PixelSums(self.valid + other.valid, groups, self.confusion + other.confusion)

    def group_measures(self):
        """Returns dict of `GROUP_MEASURES`, metres; None for a group without pixels."""
        return {name: sums.measures()["rmse"] for name, sums in self.groups.items()}


class SplitMetrics:
    """Height and semantic measures of a split, in both conventions of published tables.

    `result()` has the height measures as the mean of the tiles' values (each tile weighs the
    same) and, under "pooled", over all valid pixels of all tiles together. Everything else is
    pooled: `rmse_building` over true building pixels; `low_rise_rmse`, `mid_rise_rmse` and
    `high_rise_rmse` over those with a true height < 15 m, from 15 to < 40 m, and >= 40 m;
    `rmse_matched` over pixels whose true and predicted class are both building; the semantic
    measures over all pixels that have a class, whether or not their height is valid.
    A measure without pixels is None. Formulas: `HeightSums.measures`, `class_measures`.

    With `detailed` also heights per class, per bin of true height, near outlines of buildings
    and elsewhere, and in the conventions of published codes
    (`evaluation.measures.pixel_groups`), and buildings as objects
    (`evaluation.measures.outlines`).

    Attributes:
        rows: list of dict, one per tile, in the order of the updates.
    """

    def __init__(self, class_names=(), building_index=None, detailed=False):
        """Starts without tiles.

        Args:
            class_names: sequence of str in the order of the class indices.
            building_index: int, class index of buildings; None = no such class.
            detailed: bool, see above; costs four times as much.

        Raises:
            ValueError: if `building_index` is not the index of a class.
        """
        count = len(class_names)
        if building_index is not None and not 0 <= building_index < count:
            raise ValueError(
                f"building_index is {building_index}; expected None or 0 to {count - 1}, an index "
                f"into the class names {list(class_names)}."
            )
        self.rows, self._confusions = [], []
        self._class_names = tuple(class_names)
        self._building_index = building_index
        self._details = DetailSums() if detailed else None
        self._normals = None
        groups = {name: HeightSums() for name in GROUP_MEASURES}
        self._total = PixelSums(HeightSums(), groups, np.zeros((count, count), "int64"))
        self._correction = HeightSums()

    def update(self, name, heights, predicted, valid, classes=None, predicted_classes=None):
        """Adds one tile.

        Args:
            name: str, the tile's name, for `rows` and error messages.
            heights: float (rows, columns), true heights, metres; anything where not valid.
            predicted: float (rows, columns), metres; anything where not valid.
            valid: bool (rows, columns), True where image and true height are usable.
            classes: int (rows, columns), true class indices; below 0 = not scored. None = the
                tile has no labels.
            predicted_classes: int (rows, columns), predicted class indices; None = the
                network predicts none.

        Returns:
            dict: tile, valid_pixels and this tile's own measures (no `per_class`).

        Raises:
            ValueError: if shapes differ, or a valid pixel has a height or prediction that is
                not finite, or a class index is out of range; the message names the tile.
        """
        _check_shapes(name, predicted, (heights, valid, classes, predicted_classes))
        _check_finite(name, "true heights", heights[valid])
        _check_finite(name, "predicted heights", predicted[valid])
        groups = building_groups(heights, valid, classes, predicted_classes, self._building_index)
        tile = PixelSums(
            height_sums(heights[valid], predicted[valid]),
            {key: height_sums(heights[mask], predicted[mask]) for key, mask in groups.items()},
            self._confusion(name, classes, predicted_classes),
        )
        self._total = self._total + tile
        row = {"tile": name, "valid_pixels": tile.valid.pixels, **tile.valid.measures()}
        row |= tile.group_measures() | class_measures(tile.confusion, self._class_names)
        del row["per_class"]
        if self._details is not None:
            row |= self._add_details((heights, classes), (predicted, predicted_classes), valid)
        self.rows.append(row)
        self._confusions.append(tile.confusion)
        return row

    def add_normals(self, normals, predicted):
        """Adds the normals of the tile that was added last, to its row, too.

        Args:
            normals: float (rows, columns, 3), true unit normals; NaN = not known.
            predicted: float (rows, columns, 3), predicted unit normals.
        """
        known = np.isfinite(normals).all(axis=-1)
        _check_finite(self.rows[-1]["tile"], "predicted normals", predicted[known])
        tile = normal_sums(normals[known], predicted[known])
        self._normals = tile if self._normals is None else self._normals + tile
        cells = {f"normals_{key}": value for key, value in tile.measures().items()}
        self.rows[-1].update(cells)

    def add_correction(self, correction, valid):
        """Adds the correction that stage 2 made on one tile.

        Args:
            correction: float (rows, columns), metres; what was subtracted.
            valid: bool (rows, columns).
        """
        values = correction[valid]
        self._correction = self._correction + height_sums(values, values)

    def result(self):
        """Returns dict of all measures so far: the keys of metrics.json.

        A tile without valid pixels counts in `tiles`, but in no mean. `correction` has the mean
        and the standard deviation of what was added, metres.
        """
        correction, pixels = self._correction, self._correction.pixels
        deviation = (correction.spread / pixels) ** 0.5 if pixels else None
        headline = {
            **{key: _mean_of_tiles(self.rows, key) for key in HEIGHT_MEASURES},
            "pooled": self._total.valid.measures(),
            **self._total.group_measures(),
            **class_measures(self._total.confusion, self._class_names),
            "tiles": len(self.rows),
            "valid_pixels": self._total.valid.pixels,
            "correction": {"mean": correction.mean if pixels else None, "std": deviation},
        }
        return headline | (self._detailed_result(headline) if self._details is not None else {})

    def intervals(self):
        """Returns the confidence intervals of `headline_intervals`; None with one tile."""
        return headline_intervals(self.rows, np.array(self._confusions))

    def _add_details(self, maps, predicted_maps, valid):
        """Adds what `detailed` asks for; returns the tile's own cells."""
        tile = detail_sums(maps, predicted_maps, valid, self._class_names, self._building_index)
        self._details = self._details + tile
        return tile.row()

    def _detailed_result(self, headline):
        """Returns what `detailed` adds to the headline; per_class has both."""
        details = self._details.result(
            self._class_names, lambda key: _mean_of_tiles(self.rows, key)
        )
        for name, measures in headline["per_class"].items():
            details["per_class"][name] = measures | details["per_class"][name]
        confusion = {"classes": self._class_names, "pixels": self._total.confusion.tolist()}
        normals = self._normals.measures() if self._normals else None
        return details | {"confusion": confusion, "normals": normals}

    def _confusion(self, name, classes, predicted_classes):
        """Returns the tile's confusion matrix; zeros without labels or predicted classes."""
        count = len(self._class_names)
        if classes is None or predicted_classes is None:
            return np.zeros((count, count), "int64")
        scored = classes >= 0
        try:
            return confusion_matrix(classes[scored], predicted_classes[scored], count)
        except ValueError as error:
            raise ValueError(f"Tile {name!r}: {error}") from None


def _mean_of_tiles(rows, key):
    """Returns the mean of the tiles' values; None if no tile has one."""
    values = [row[key] for row in rows if row[key] is not None]
    return float(np.mean(values)) if values else None


def _check_shapes(name, predicted, others):
    """Raises ValueError unless all arrays that are not None are of one (rows, columns)."""
    shapes = [predicted.shape, *(array.shape for array in others if array is not None)]
    if predicted.ndim != 2 or len(set(shapes)) > 1:
        raise ValueError(
            f"Tile {name!r}: prediction, true heights, valid and classes have shapes {shapes}; "
            "expected one shape (rows, columns). Blend the windows to the full tile and drop the "
            "channel axis before measuring."
        )


def _check_finite(name, what, values):
    """Raises ValueError if a value is NaN or infinite."""
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise ValueError(
            f"Tile {name!r}: {bad} of {values.size} valid pixels have {what} that are NaN or "
            "infinite. Predictions: check the training for divergence; truth: mark such pixels "
            "as not valid."
        )
