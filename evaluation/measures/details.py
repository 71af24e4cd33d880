"""What is measured of a split beyond the headline: classes, height bins, outlines, buildings."""

from dataclasses import dataclass, field

from evaluation.measures.height_metrics import HeightSums, height_sums
from evaluation.measures.outlines import BuildingSums, building_sums
from evaluation.measures.pixel_groups import (
    CONVENTIONS,
    HEIGHT_BINS,
    OUTLINE_GROUPS,
    bin_groups,
    class_groups,
    outline_groups,
    published_pairs,
)


@dataclass(frozen=True)
class DetailSums:
    """Sums of any number of tiles; `a + b` are the sums of both together.

    Attributes:
        heights: dict of (kind, name) of a group of pixels to `HeightSums`; the kinds are
            "per_class", "per_height_bin", "edges" and "conventions".
        buildings: `BuildingSums`.
    """

    heights: dict = field(default_factory=dict)
    buildings: BuildingSums = BuildingSums()

    def __add__(self, other):
        keys = self.heights | other.heights
        heights = {key: self.group(*key) + other.group(*key) for key in keys}
        return DetailSums(heights, self.buildings + other.buildings)

    def group(self, kind, name):
        """Returns the `HeightSums` of a group; of no pixels if there is none."""
        return self.heights.get((kind, name), HeightSums())

    def result(self, class_names, means):
        """Returns the entries of metrics.json.

        Args:
            class_names: sequence of str.
            means: function (key of `row`) -> mean of the tiles' values.

        Returns:
            dict: per_class, per_height_bin, edges: dicts of name to dict of valid_pixels and
            height measures; conventions: dict of name to dict of the mean of the tiles' values,
            and pooled; buildings: dict of `BuildingSums.measures`.
        """
        bins = {
            name: {"from": low, "below": high, **self._measures("per_height_bin", name)}
            for name, (low, high) in HEIGHT_BINS.items()
        }
        conventions = {
            name: {key: means(f"{name}_{key}") for key in keys}
            | {"pooled": self._selected("conventions", name, keys)}
            for name, keys in CONVENTIONS.items()
        }
        return {
            "per_class": {name: self._measures("per_class", name) for name in class_names},
            "per_height_bin": bins,
            "edges": {name: self._measures("edges", name) for name in OUTLINE_GROUPS},
            "conventions": conventions,
            "buildings": self.buildings.measures(),
        }

    def row(self):
        """Returns the cells of per_tile.csv, of sums of one tile, as a dict."""
        cells = {f"buildings_{key}": value for key, value in self.buildings.measures().items()}
        selected = [("edges", name, ("rmse", "mae")) for name in OUTLINE_GROUPS]
        selected += [("conventions", name, keys) for name, keys in CONVENTIONS.items()]
        for kind, name, keys in selected:
            measures = self._selected(kind, name, keys)
            cells |= {f"{name}_{key}": value for key, value in measures.items()}
        return cells

    def _measures(self, kind, name):
        """Returns dict of valid_pixels and the height measures of a group."""
        sums = self.group(kind, name)
        return {"valid_pixels": sums.pixels, **sums.measures()}

    def _selected(self, kind, name, keys):
        """Returns dict of `keys` to these measures of a group."""
        measures = self.group(kind, name).measures()
        return {key: measures[key] for key in keys}


def detail_sums(maps, predicted_maps, valid, class_names, building_index):
    """Sums up one tile.

    Args:
        maps: pair of the true heights, float (rows, columns), metres, and class indices, int
            (rows, columns) or None.
        predicted_maps: pair of the same, predicted.
        valid: bool (rows, columns), where heights are compared.
        class_names: sequence of str.
        building_index: int or None.

    Returns:
        `DetailSums`.
    """
    (heights, classes), (predicted, predicted_classes) = maps, predicted_maps
    groups = {
        "per_class": class_groups(valid, classes, class_names),
        "per_height_bin": bin_groups(heights, valid),
        "edges": outline_groups(valid, classes, building_index),
    }
    sums = {
        (kind, name): height_sums(heights[mask], predicted[mask])
        for kind, masks in groups.items()
        for name, mask in masks.items()
    }
    for name, pair in published_pairs(heights[valid], predicted[valid]).items():
        sums["conventions", name] = height_sums(*pair)
    if building_index is None or classes is None or predicted_classes is None:
        return DetailSums(sums)
    labelled = classes >= 0
    masks = (labelled & (both == building_index) for both in (classes, predicted_classes))
    return DetailSums(sums, building_sums(*masks, heights, predicted, valid))
