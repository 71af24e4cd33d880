import numpy as np
import pytest

from evaluation.report.density import COUNT, HeightPairs, density_figure, errors_figure
from evaluation.report.figures import png_bytes

MEASURES = {"valid_pixels": 3, "rmse": 2.0, "mae": 1.5, "bias": -0.5}


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
    assert counts[0, COUNT - 1] == counts[COUNT - 1, 0] == 1 and counts.sum() == 2


def test_axes_hold_nearly_all_heights_and_no_single_extreme():
    many = np.linspace(0, 20, 40001)
    pairs = pairs_of((many, many), ([250], [3]))
    assert pairs.limits() == pytest.approx((0, 20.25), abs=0.3)
    assert pairs_of().limits() == (0.0, 1.0)


def test_counts_are_drawn_with_the_predicted_height_upwards():
    (axes,) = density_figure(pairs_of(([2.1], [8.1]))).axes
    drawn = axes.collections[0].get_array().reshape(COUNT, COUNT)
    assert drawn[bin_of(8.1), bin_of(2.1)] == 1 and drawn.count() == 1
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("true height (m)", "predicted height (m)")


def test_groups_without_pixels_have_no_bar():
    none = dict.fromkeys(MEASURES) | {"valid_pixels": 0}
    groups = {"low": MEASURES, "high": MEASURES | {"valid_pixels": 1}, "none": none}
    (panel,) = errors_figure({"by class": groups}).axes
    assert [bar.get_height() for bar in panel.patches] == [2.0, 2.0, 1.5, 1.5]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["low\n75.0%", "high\n25.0%"]


def test_labels_lie_inside_the_figures():
    groups = {"a rather long class name": MEASURES, "b": MEASURES}
    for figure in (density_figure(pairs_of(([2], [180]))), errors_figure({"by class": groups})):
        png_bytes(figure)  # lays it out
        found, size = figure.get_tightbbox(), figure.get_size_inches()
        assert (found.min >= 0).all() and (found.max <= size).all()
