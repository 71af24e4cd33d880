import numpy as np
import pytest

from evaluation.measures.tile_maps import TileMaps

HEIGHTS = np.array([[0.0, 4.0, np.nan]])
VALID = np.isfinite(HEIGHTS)


def test_prediction_that_is_not_finite_names_the_tile():
    predicted = np.array([[0.0, np.nan, np.nan]])
    with pytest.raises(ValueError, match="'a': 1 of 2 predicted heights on valid pixels are NaN"):
        TileMaps("a", HEIGHTS, predicted, VALID)


def test_true_height_that_is_not_finite_must_be_marked():
    with pytest.raises(ValueError, match="'a': 1 of 3 true heights on valid pixels are NaN"):
        TileMaps("a", HEIGHTS, HEIGHTS, np.ones((1, 3), bool))


def test_shapes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"'a'.*\(1, 3, 1\)"):
        TileMaps("a", HEIGHTS, HEIGHTS[..., None], VALID)


def test_predicted_normals_must_be_finite_only_where_the_truth_is_known():
    normals = np.where(VALID[..., None], [0.0, 0.0, 1.0], np.nan)
    true, predicted = TileMaps(
        "a", HEIGHTS, HEIGHTS, VALID, normals=normals, predicted_normals=normals
    ).normal_pairs()
    assert true.tolist() == predicted.tolist() == [[0, 0, 1]] * 2
    with pytest.raises(ValueError, match="'a': 1 of 9 components of predicted normals"):
        broken = np.array([[[np.nan, 0, 1], [0, 0, 1], [0, 0, 1]]])
        TileMaps("a", HEIGHTS, HEIGHTS, VALID, normals=np.ones((1, 3, 3)), predicted_normals=broken)
