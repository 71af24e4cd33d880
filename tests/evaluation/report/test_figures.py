import cv2
import numpy as np
import pytest

from evaluation.report.figures import (
    BIN_COUNT,
    HeightPairs,
    class_maps,
    density_figure,
    errors_figure,
    tile_figure,
)
from project.drawing import png_bytes

ROWS, COLUMNS = 12, 20
IMAGE = np.full((ROWS, COLUMNS, 3), 100.0, "float32")
HEIGHTS = np.tile(np.arange(COLUMNS, dtype="float32"), (ROWS, 1))
VALID = np.ones((ROWS, COLUMNS), bool)
NAMES = ("ground", "vegetation", "building")
CLASSES = np.where(HEIGHTS > 10, 2, 0)
SAMPLE = {"image": IMAGE, "heights": HEIGHTS, "valid": VALID, "classes": np.full(VALID.shape, -1)}
MEASURES = {"valid_pixels": 3, "rmse": 2.0, "mae": 1.5, "bias": -0.5}


def drawn(path, sample, maps, **named):
    """Draws a figure and returns its pixels, uint8 (rows, columns, 3), red first."""
    tile_figure(path, SAMPLE | sample, maps, **named)
    return cv2.imread(str(path))[..., ::-1]


def share_of(pixels, colour):
    """Returns the share of pixels of this colour (#rrggbb), to one step of each band."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(pixels.astype(int) - wanted) <= 1).all(axis=-1).mean()


def test_photo_and_classes_have_their_colours(tmp_path):
    path, maps = tmp_path / "new" / "tile.png", {"heights": HEIGHTS, "classes": CLASSES}
    pixels = drawn(path, {"classes": CLASSES}, maps, class_names=NAMES, gsd=0.5)
    assert [path.name for path in path.parent.iterdir()] == ["tile.png"]
    assert pixels.shape[1] > 800
    assert share_of(pixels, "#646464") > 0.01  # the photo, grey value 100
    assert share_of(pixels, "#F0E442") > 0.02  # ground
    assert share_of(pixels, "#D55E00") > 0.02  # building
    assert share_of(pixels, "#009E73") == 0  # vegetation does not occur, so it has no entry


def test_truth_and_prediction_share_one_scale(tmp_path):
    truth = drawn(tmp_path / "a.png", {}, {"heights": np.zeros_like(HEIGHTS)})
    scaled = drawn(tmp_path / "b.png", {}, {"heights": 0 * HEIGHTS + 500.0})
    assert share_of(truth, "#440154") > share_of(scaled, "#440154") + 0.05  # 0 m, viridis
    assert share_of(scaled, "#fde725") > share_of(truth, "#fde725") + 0.05  # beyond the top


@pytest.mark.parametrize("valid", [~VALID, VALID & (HEIGHTS > 5)])
def test_nodata_is_hatched_and_its_values_do_not_matter(tmp_path, valid):
    pictures = [
        drawn(
            tmp_path / "a.png",
            {"heights": np.where(valid, HEIGHTS, rubbish), "valid": valid},
            {"heights": HEIGHTS},
        )
        for rubbish in (np.nan, -9999.0)
    ]
    np.testing.assert_array_equal(*pictures)
    assert share_of(pictures[0], "#E0E0E0") > 0.02


def test_twenty_classes_and_an_ignored_one_can_be_drawn(tmp_path):
    classes = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) % 21 - 1
    names = [f"$_{{$ {'a rather long class name ' * 4}{i}" for i in range(20)]
    maps = {"heights": HEIGHTS, "classes": np.maximum(classes, 0)}
    title = f"$_{{$ {'x' * 300}"
    pixels = drawn(tmp_path / "a.png", {"classes": classes}, maps, class_names=names, title=title)
    assert pixels.size


def test_true_classes_are_drawn_where_there_are_labels():
    maps = {"heights": HEIGHTS, "classes": CLASSES}
    assert list(class_maps(SAMPLE, maps)) == ["Predicted classes"]
    labelled = SAMPLE | {"classes": CLASSES}
    assert list(class_maps(labelled, maps)) == ["True classes", "Predicted classes"]
    assert class_maps(labelled, {"heights": HEIGHTS}) == {}


def bin_of(metres):
    return int((metres + 10) / 0.25)


def pairs_of(*tiles):
    pairs = HeightPairs()
    for true, predicted in tiles:
        true, predicted = (np.array([row], "float32") for row in (true, predicted))
        pairs.add(true, predicted, np.isfinite(true))
    return pairs


def test_pixels_count_by_true_and_predicted_height_over_tiles():
    pairs = pairs_of(([0, 5.1, np.nan], [2, 6, 6]), ([5.2], [6.2]))
    assert pairs.counts.sum() == 3
    assert pairs.counts[bin_of(5.1), bin_of(6.1)] == 2
    assert pairs.counts[bin_of(0), bin_of(2)] == 1


def test_heights_beyond_the_bins_count_in_the_outermost():
    counts = pairs_of(([-500, 900], [310, -10])).counts
    assert counts[0, BIN_COUNT - 1] == counts[BIN_COUNT - 1, 0] == 1 and counts.sum() == 2


def test_axes_hold_nearly_all_heights_and_no_single_extreme():
    many = np.linspace(0, 20, 40001)
    pairs = pairs_of((many, many), ([250], [3]))
    assert pairs.limits() == pytest.approx((0, 20.25), abs=0.3)
    assert pairs_of().limits() == (0.0, 1.0)


def test_counts_are_drawn_with_the_predicted_height_upwards():
    (axes,) = density_figure(pairs_of(([2.1], [8.1]))).axes
    drawn = axes.collections[0].get_array().reshape(BIN_COUNT, BIN_COUNT)
    assert drawn[bin_of(8.1), bin_of(2.1)] == 1 and drawn.count() == 1
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true height (m)", "predicted height (m)")


def test_groups_without_pixels_have_no_bar():
    none = dict.fromkeys(MEASURES) | {"valid_pixels": 0}
    groups = {"low": MEASURES, "high": MEASURES | {"valid_pixels": 1}, "none": none}
    (panel,) = errors_figure({"by class": groups}).axes
    assert [bar.get_height() for bar in panel.patches] == [2.0, 2.0, 1.5, 1.5]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["low\n75.0%", "high\n25.0%"]


def test_labels_lie_inside_the_figures():
    groups = {f"$_{{$ {'a rather long class name ' * 9}{i}": MEASURES for i in range(20)}
    density = density_figure(pairs_of(([2], [180])))
    for figure in (density, errors_figure({"by class": groups})):
        png_bytes(figure, 20)  # lays it out
        found, size = figure.get_tightbbox(), figure.get_size_inches()
        assert (found.min >= 0).all() and (found.max <= size).all()
    (bar,) = density.axes[0].child_axes
    assert {"1", "10"} <= {text.get_text() for text in bar.get_yticklabels()}
