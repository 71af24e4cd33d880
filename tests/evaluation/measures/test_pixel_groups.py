import numpy as np

from evaluation.measures.pixel_groups import HEIGHT_BINS, bin_groups, class_groups, published_pairs
from evaluation.measures.tile_maps import TileMaps

HEIGHTS = np.array([-1.0, 0.0, 2.0, 4.0, 4.0])
PREDICTED = np.array([0.0, -2.0, -3.0, 5.0, 1.0])


def test_bins_join_without_gap_and_a_height_on_an_edge_is_in_the_upper_one():
    heights = np.array([[-5.0, 0.9, 1.0, 39.9, 40.0, np.nan]])
    groups = bin_groups(TileMaps("a", heights, heights, np.isfinite(heights)))
    names = [name for column in range(6) for name in groups if groups[name][0, column]]
    assert names == ["below_1", "below_1", "1_to_5", "25_to_40", "from_40"]
    lows, highs = zip(*HEIGHT_BINS.values(), strict=True)
    assert lows[1:] == highs[:-1]


def test_unlabelled_pixels_are_in_no_class():
    zeros, valid = np.zeros((1, 3)), np.array([[True, True, False]])
    groups = class_groups(TileMaps("a", zeros, zeros, valid, np.array([[0, -1, 1]])), ("a", "b"))
    assert [groups["a"].tolist(), groups["b"].tolist()] == [[[True, False, False]], [[False] * 3]]
    assert class_groups(TileMaps("a", zeros, zeros, valid), ("a", "b")) == {}


def test_published_codes_clip_truth_and_prediction():
    true, predicted = published_pairs(HEIGHTS, PREDICTED)["clipped"]
    assert true.tolist() == [1e-5, 1e-5, 2, 4, 4]
    assert predicted.tolist() == [1e-5, 1e-5, 1e-5, 5, 1]


def test_the_contest_refuses_predictions_below_0():
    true, predicted = published_pairs(HEIGHTS, PREDICTED)["dfc2023"]
    assert true.tolist() == [1e-5, 1e-5, 2, 4, 4]
    assert predicted.tolist() == [1e-5, 999, 999, 5, 1]


def test_masked_conventions_leave_pixels_out():
    pairs = published_pairs(HEIGHTS, PREDICTED)
    assert [array.tolist() for array in pairs["true_above_0"]] == [[2, 4, 4], [-3, 5, 1]]
    assert [array.tolist() for array in pairs["either_above_3"]] == [[4, 4], [5, 1]]


def test_heights_up_to_0_count_as_almost_0_before_high_objects_are_picked():
    pairs = published_pairs(np.array([5.0, -1.0, 2.0]), np.array([-2.0, 4.0, 0.0]))
    assert [array.tolist() for array in pairs["either_above_3"]] == [[5, 1e-6], [1e-6, 4]]
