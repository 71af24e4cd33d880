import numpy as np
import pytest
from scipy import ndimage

from evaluation.measures.outlines import BuildingSums, building_sums, outline_band
from evaluation.measures.tile_maps import TileMaps


def measured(true, found, heights, predicted, valid=None):
    """Returns the measures of masks given as lists of 0 and 1."""
    heights, predicted = np.array(heights, "float32"), np.array(predicted, "float32")
    valid = np.ones(heights.shape, bool) if valid is None else np.array(valid, bool)
    tile = TileMaps("a", heights, predicted, valid, np.array(true), np.array(found))
    return building_sums(tile, 1).measures()


def test_pair_and_its_median_height_worked_out_by_hand():
    heights = [[9, 10, 0], [11, 30, 0]]  # median 10 and a half of 9, 10, 11, 30
    predicted = [[7, 7, 7], [8, 9, 0]]  # of 7, 7, 8, 9: 7.5; the third 7 is no true building
    result = measured([[1, 1, 0], [1, 1, 0]], [[1, 1, 1], [1, 0, 0]], heights, predicted)
    assert (result["true"], result["predicted"], result["matched"]) == (1, 1, 1)  # IoU 3 / 5
    assert (result["height_rmse"], result["height_bias"]) == (3.0, -3.0)


def test_iou_below_a_half_is_no_pair():
    zero = np.zeros((2, 3))
    result = measured([[1, 1, 1], [0, 0, 0]], [[1, 0, 0], [1, 0, 0]], zero, zero)
    assert (result["precision"], result["recall"], result["f1"]) == (0, 0, 0)
    assert result["height_rmse"] is None


def test_all_true_buildings_are_measured_beside_the_matched_ones():
    row = [[1, 0, 1]]
    result = measured(row, [[1, 0, 0]], [[5, 0, 5]], [[6, 0, 2]])
    assert (result["height_rmse"], result["all_height_rmse"]) == (1, 5**0.5)


@pytest.mark.parametrize("swap", [False, True])
def test_iou_of_exactly_a_half_is_a_pair_but_for_one_only(swap):
    whole = np.zeros((2, 4), int) + 1
    halves = np.array([[1, 1, 1, 0], [1, 0, 0, 0]])  # 4 of 8
    zero = np.zeros((2, 4))
    masks = (halves, whole) if swap else (whole, halves)
    assert measured(*masks, zero, zero)["matched"] == 1


def test_corners_do_not_join_buildings():
    diagonal = [[1, 0], [0, 1]]
    result = measured(diagonal, diagonal, np.zeros((2, 2)), [[3, 0], [0, 4]])
    assert (result["true"], result["matched"], result["f1"]) == (2, 2, 1)
    assert result["height_rmse"] == pytest.approx((25 / 2) ** 0.5)


def test_building_without_valid_height_is_matched_but_not_measured():
    row = [[1, 0, 1]]
    result = measured(row, row, [[np.nan, 0, 5]], [[9, 0, 6]], [[0, 0, 1]])
    assert (result["matched"], result["height_rmse"]) == (2, 1.0)


def test_no_buildings_measure_nothing():
    zero = np.zeros((2, 2))
    result = measured(zero, zero, zero, zero)
    assert (result["precision"], result["recall"], result["f1"]) == (None, None, None)


def test_pairs_and_medians_are_those_of_a_search_with_scipy():
    rng = np.random.default_rng(3)
    noise = ndimage.gaussian_filter(rng.normal(size=(2, 80, 80)), (0, 2, 2))
    true, found = noise[0] > 0.1, noise[0] + 0.5 * noise[1] > 0.1
    heights, predicted, valid = *rng.gamma(2.0, 5.0, (2, 80, 80)), rng.random((80, 80)) > 0.3
    labels, found_labels = ndimage.label(true)[0], ndimage.label(found)[0]
    errors = [
        np.median(predicted[place & valid]) - np.median(heights[place & valid])
        for place in (labels == label for label in range(1, labels.max() + 1))
        for other in (found_labels == label for label in range(1, found_labels.max() + 1))
        if (place & other).sum() / (place | other).sum() >= 0.5
    ]
    tile = TileMaps("a", heights, predicted, valid, true.astype(int), found.astype(int))
    sums = building_sums(tile, 1)
    assert (sums.true, sums.predicted) == (labels.max(), found_labels.max())
    assert 5 < sums.matched == len(errors) < sums.true
    assert sums.height_error == pytest.approx(sum(errors))


def test_sums_of_tiles_add_up():
    total = BuildingSums(2, 3, 1, 1, -1.0, 1.0, 2, 5.0) + BuildingSums(4, 1, 1, 1, 3.0, 9.0)
    assert total == BuildingSums(6, 4, 2, 2, 2.0, 10.0, 2, 5.0)
    assert (total.measures()["precision"], total.measures()["recall"]) == (0.5, 2 / 6)


def test_outline_is_three_pixels_to_either_side():
    classes = np.zeros((1, 12), int)
    classes[:, 6:] = 1
    assert np.flatnonzero(outline_band(classes, 1)[0]).tolist() == [3, 4, 5, 6, 7, 8]


def test_distance_to_the_outline_is_measured_from_centre_to_centre():
    classes = np.zeros((9, 9), int)
    classes[4, 4] = 1
    band = outline_band(classes, 1)
    rows, columns = np.indices(band.shape) - 4
    np.testing.assert_array_equal(band, rows**2 + columns**2 <= 9)


def test_unlabelled_pixels_and_the_border_make_no_outline():
    classes = np.array([[-1, -1, 1, 1, 1]])
    assert not outline_band(classes, 1).any()
