import numpy as np
import pytest

from evaluation.class_metrics import class_measures, confusion_matrix

NAMES = ("ground", "vegetation", "building")
CONFUSION = confusion_matrix(np.array([0, 2, 2, 2, 2]), np.array([0, 2, 1, 2, 2]), 3)


def test_rows_are_true_and_columns_predicted():
    assert CONFUSION.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 3]]


def test_measures_worked_out_by_hand():
    measures = class_measures(CONFUSION, NAMES)
    assert measures["overall_accuracy"] == pytest.approx(4 / 5)
    assert measures["miou"] == pytest.approx((1 + 0 + 3 / 4) / 3)
    assert measures["fwiou"] == pytest.approx(1 / 5 * 1 + 4 / 5 * 3 / 4)


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
    assert (measures["miou"], measures["overall_accuracy"], measures["fwiou"]) == (None,) * 3


def test_an_index_without_class_is_refused():
    with pytest.raises(
        ValueError, match="predicted class indices run from 0 to 3; expected 0 to 2"
    ):
        confusion_matrix(np.array([0, 1]), np.array([3, 0]), 3)
