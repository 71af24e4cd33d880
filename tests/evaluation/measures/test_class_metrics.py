import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from evaluation.measures.class_metrics import (
    CLASS_MEASURES,
    class_measures,
    confusion_matrix,
    mean_ious,
)

NAMES = ("ground", "vegetation", "building")
CONFUSION = confusion_matrix(np.array([0, 2, 2, 2, 2]), np.array([0, 2, 1, 2, 2]), 3)


def test_rows_are_true_and_columns_predicted():
    assert CONFUSION.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 3]]


def test_measures_worked_out_by_hand():
    measures = class_measures(CONFUSION, NAMES)
    assert measures["overall_accuracy"] == pytest.approx(4 / 5)
    assert measures["miou"] == pytest.approx((1 + 0 + 3 / 4) / 3)
    assert measures["fwiou"] == pytest.approx(1 / 5 * 1 + 4 / 5 * 3 / 4)
    assert measures["mean_f1"] == pytest.approx((1 + 0 + 6 / 7) / 3)


def test_each_class_worked_out_by_hand():
    per_class = class_measures(CONFUSION, NAMES)["per_class"]
    assert per_class["building"] == {"iou": 3 / 4, "precision": 1, "recall": 3 / 4, "f1": 6 / 7}
    # Predicted once, never true: nothing to recall.
    assert per_class["vegetation"] == {"iou": 0, "precision": 0, "recall": None, "f1": 0}


def test_a_class_that_never_occurs_is_not_in_the_mean():
    measures = class_measures(np.diag([2, 2, 0]), NAMES)
    assert measures["miou"] == 1.0
    assert measures["per_class"]["building"]["iou"] is None


def test_no_pixels_measure_nothing():
    measures = class_measures(np.zeros((3, 3), int), NAMES)
    assert {measures[name] for name in CLASS_MEASURES} == {None}


def test_an_index_without_class_is_refused():
    with pytest.raises(
        ValueError, match="predicted class indices run from 0 to 3; expected 0 to 2"
    ):
        confusion_matrix(np.array([0, 1]), np.array([3, 0]), 3)


def test_measures_are_those_of_scikit_learn():
    classes, found = np.random.default_rng(0).integers(0, 3, (2, 500))
    matrix = confusion_matrix(classes, found, 3)
    np.testing.assert_array_equal(matrix, sklearn_metrics.confusion_matrix(classes, found))
    measures = class_measures(matrix, NAMES)
    for name, mean in (("miou", "macro"), ("fwiou", "weighted")):
        expected = sklearn_metrics.jaccard_score(classes, found, average=mean)
        assert measures[name] == pytest.approx(expected)
    expected = sklearn_metrics.precision_recall_fscore_support(classes, found)[:3]
    for name, values in zip(("precision", "recall", "f1"), expected, strict=True):
        ours = [measures["per_class"][class_name][name] for class_name in NAMES]
        assert ours == pytest.approx(values)


def test_many_matrices_have_the_miou_of_each():
    matrices = np.stack([CONFUSION, np.diag([2, 2, 0]), np.zeros((3, 3), int)])
    expected = [(1 + 0 + 3 / 4) / 3, 1, np.nan]
    np.testing.assert_allclose(mean_ious(matrices), expected)
