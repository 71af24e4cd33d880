"""All measures of a data set split, tile by tile, without keeping any pixel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.measures.bootstrap import headline_intervals
from evaluation.measures.class_metrics import class_measures, confusion_matrix
from evaluation.measures.height_metrics import HEIGHT_MEASURES, HeightSums, height_sums
from evaluation.measures.normal_metrics import NormalSums, normal_sums
from evaluation.measures.outlines import BuildingSums, building_sums
from evaluation.measures.pixel_groups import (
    CONVENTIONS,
    GROUP_MEASURES,
    HEIGHT_BINS,
    OUTLINE_GROUPS,
    bin_groups,
    building_groups,
    class_groups,
    outline_groups,
    published_pairs,
)
from evaluation.measures.tile_maps import TileMaps


@dataclass(frozen=True)
class MapSums:
    """Sums over one or more tiles; `a + b` are the sums of both together.

    Attributes:
        heights: (kind, name) of a group of pixels to its sums. The kinds are "all", "buildings"
            (`GROUP_MEASURES`) and, in detail, "per_class", "per_height_bin", "edges" and
            "conventions"; a group without pixels may be absent.
        confusion: int64 (classes, classes), rows true, columns predicted classes.
        buildings: as objects.
        normals: None = the network predicts none.
        correction: of stage 2, as if it were a true height.
    """

    heights: dict[tuple[str, str], HeightSums]
    confusion: np.ndarray
    buildings: BuildingSums = BuildingSums()
    normals: NormalSums | None = None
    correction: HeightSums = HeightSums()

    def __add__(self, other: "MapSums") -> "MapSums":
        normals = self.normals or other.normals
        if self.normals and other.normals:
            normals = self.normals + other.normals
        return MapSums(
            {key: self.group(*key) + other.group(*key) for key in self.heights | other.heights},
            self.confusion + other.confusion,
            self.buildings + other.buildings,
            normals,
            self.correction + other.correction,
        )

    def group(self, kind: str, name: str) -> HeightSums:
        """Returns the sums of a group of pixels; those of no pixels if it is absent."""
        return self.heights.get((kind, name), HeightSums())

    def measures(self, kind: str, name: str) -> dict:
        """Returns `valid_pixels` and the height measures of a group."""
        sums = self.group(kind, name)
        return {"valid_pixels": sums.pixels, **sums.measures()}

    def building_rmses(self) -> dict:
        """Returns `GROUP_MEASURES`, metres; None for a group without pixels."""
        return {name: self.measures("buildings", name)["rmse"] for name in GROUP_MEASURES}


class SplitMetrics:
    """Height and semantic measures of a split, in both conventions of published tables.

    `result()` has the height measures as the mean of the tiles' values (each tile weighs the
    same) and, under "pooled", over all valid pixels of all tiles together. Everything else is
    pooled: `rmse_building` over true building pixels; `low_rise_rmse`, `mid_rise_rmse` and
    `high_rise_rmse` over those with a true height < 15 m, from 15 to < 40 m, and >= 40 m;
    `rmse_matched` over pixels whose true and predicted class are both building; the semantic
    measures over all pixels that have a class, whether or not their height is valid.
    A measure without pixels is None. Formulas: `HeightSums.measures`, `class_measures`.

    With `detailed` there are also the heights per class, per bin of true height, near outlines of
    buildings and elsewhere, and in the conventions of published codes
    (`evaluation.measures.pixel_groups`), and buildings as objects
    (`evaluation.measures.outlines`).

    Attributes:
        rows: the rows of per_tile.csv, one for each tile, in the order in which they were added.
    """

    def __init__(
        self,
        class_names: Sequence[str] = (),
        building_index: int | None = None,
        detailed: bool = False,
    ) -> None:
        """Starts without tiles.

        Args:
            class_names: in the order of the class indices.
            building_index: class index of buildings; None = no such class.
            detailed: see above; takes four times as long.

        Raises:
            ValueError: if `building_index` is not the index of a class.
        """
        count = len(class_names)
        if building_index is not None and not 0 <= building_index < count:
            raise ValueError(
                f"building_index is {building_index}; expected None or 0 to {count - 1}, an index "
                f"into the class names {list(class_names)}."
            )
        self.rows: list[dict] = []
        self._confusions: list[np.ndarray] = []
        self._class_names, self._building_index = tuple(class_names), building_index
        self._detailed = detailed
        self._total = MapSums({}, np.zeros((count, count), "int64"))

    def add(self, tile: TileMaps) -> dict:
        """Measures one tile.

        Returns:
            The tile's row of per_tile.csv: tile, valid_pixels and the measures of this tile.

        Raises:
            ValueError: if a class index is out of range; the message names the tile.
        """
        sums = self._sum_up(tile)
        self._total = self._total + sums
        row = {"tile": tile.name, **sums.measures("all", "valid"), **sums.building_rmses()}
        row |= class_measures(sums.confusion, self._class_names)
        del row["per_class"]
        if self._detailed:
            row |= _detailed_cells(sums)
        if sums.normals:
            row |= {f"normals_{key}": value for key, value in sums.normals.measures().items()}
        self.rows.append(row)
        self._confusions.append(sums.confusion)
        return row

    def result(self) -> dict:
        """Returns all measures so far, with the keys of metrics.json.

        A tile without valid pixels counts in `tiles`, but in no mean. `correction` has the mean
        and the standard deviation of what stage 2 subtracted, metres.
        """
        total, pixels = self._total, self._total.correction.pixels
        pooled = total.group("all", "valid")
        deviation = (total.correction.spread / pixels) ** 0.5 if pixels else None
        headline = {
            **{key: self._mean_of_tiles(key) for key in HEIGHT_MEASURES},
            "pooled": pooled.measures(),
            **total.building_rmses(),
            **class_measures(total.confusion, self._class_names),
            "tiles": len(self.rows),
            "valid_pixels": pooled.pixels,
            "correction": {"mean": total.correction.mean if pixels else None, "std": deviation},
        }
        return headline | (self._details(headline["per_class"]) if self._detailed else {})

    def intervals(self) -> dict | None:
        """Returns the confidence intervals of `headline_intervals`; None with one tile."""
        return headline_intervals(self.rows, np.array(self._confusions))

    def _sum_up(self, tile: TileMaps) -> MapSums:
        """Returns the sums of one tile."""
        groups = {"all": {"valid": tile.valid}}
        groups["buildings"] = building_groups(tile, self._building_index)
        if self._detailed:
            groups["per_class"] = class_groups(tile, self._class_names)
            groups["per_height_bin"] = bin_groups(tile)
            groups["edges"] = outline_groups(tile, self._building_index)
        true, predicted = tile.heights, tile.predicted_heights
        heights = {
            (kind, name): height_sums(true[mask], predicted[mask])
            for kind, masks in groups.items()
            for name, mask in masks.items()
        }
        if self._detailed:
            for name, pair in published_pairs(true[tile.valid], predicted[tile.valid]).items():
                heights["conventions", name] = height_sums(*pair)
        normals, correction = tile.normal_pairs(), HeightSums()
        if tile.correction is not None:
            correction = height_sums(*[tile.correction[tile.valid]] * 2)
        return MapSums(
            heights,
            self._confusion(tile),
            building_sums(tile, self._building_index) if self._detailed else BuildingSums(),
            normal_sums(*normals) if normals else None,
            correction,
        )

    def _confusion(self, tile: TileMaps) -> np.ndarray:
        """Returns the tile's confusion matrix; zeros without labels or predicted classes."""
        count = len(self._class_names)
        if tile.classes is None or tile.predicted_classes is None:
            return np.zeros((count, count), "int64")
        scored = tile.classes >= 0
        try:
            return confusion_matrix(tile.classes[scored], tile.predicted_classes[scored], count)
        except ValueError as error:
            raise ValueError(f"Tile {tile.name!r}: {error}") from None

    def _details(self, per_class: dict[str, dict]) -> dict:
        """Returns what `detailed` adds to the result.

        Args:
            per_class: class name to the semantic measures of the class.
        """
        total = self._total
        return {
            "per_class": {
                name: measures | total.measures("per_class", name)
                for name, measures in per_class.items()
            },
            "per_height_bin": {
                name: {"from": low, "below": high, **total.measures("per_height_bin", name)}
                for name, (low, high) in HEIGHT_BINS.items()
            },
            "edges": {name: total.measures("edges", name) for name in OUTLINE_GROUPS},
            "conventions": {
                name: {key: self._mean_of_tiles(f"{name}_{key}") for key in keys}
                | {"pooled": {key: total.measures("conventions", name)[key] for key in keys}}
                for name, keys in CONVENTIONS.items()
            },
            "buildings": total.buildings.measures(),
            "confusion": {"classes": self._class_names, "pixels": total.confusion.tolist()},
            "normals": total.normals.measures() if total.normals else None,
        }

    def _mean_of_tiles(self, key: str) -> float | None:
        """Returns the mean of the tiles' values; None if no tile has one."""
        values = [row[key] for row in self.rows if row[key] is not None]
        return float(np.mean(values)) if values else None


def _detailed_cells(sums: MapSums) -> dict:
    """Returns the cells of per_tile.csv that `detailed` adds, of the sums of one tile."""
    cells = {f"buildings_{key}": value for key, value in sums.buildings.measures().items()}
    for kind, name, keys in (
        *(("edges", name, ("rmse", "mae")) for name in OUTLINE_GROUPS),
        *(("conventions", name, keys) for name, keys in CONVENTIONS.items()),
    ):
        measures = sums.measures(kind, name)
        cells |= {f"{name}_{key}": measures[key] for key in keys}
    return cells
