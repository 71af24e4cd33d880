import numpy as np
import pytest

from evaluation.measures.metrics import SplitMetrics

NAMES = ("ground", "roof")
NAN = float("nan")
HEIGHTS = np.array([[0.0, 0.5, 12.0], [4.0, 50.0, NAN]])
PREDICTED = np.array([[-1.0, 2.5, 9.0], [8.0, 40.0, NAN]])  # errors -1, 2, -3, 4, -10
CLASSES = np.array([[0, 0, 1], [-1, 1, 1]])
FOUND = np.array([[0, 1, 1], [1, 1, 0]])
TILE = (HEIGHTS, PREDICTED, np.isfinite(HEIGHTS), CLASSES, FOUND)


@pytest.fixture(scope="module")
def metrics():
    """Returns the detailed `SplitMetrics` of one tile."""
    metrics = SplitMetrics(NAMES, 1, detailed=True)
    metrics.update("a", *TILE)
    return metrics


def test_heights_of_each_class_stand_beside_its_iou(metrics):
    ground, roof = metrics.result()["per_class"].values()
    assert (ground["valid_pixels"], ground["bias"]) == (2, 0.5)
    assert (roof["valid_pixels"], roof["rmse"]) == (2, pytest.approx((109 / 2) ** 0.5))
    assert (ground["iou"], roof["iou"]) == (1 / 3, 2 / 4)  # the unlabelled pixel is left out


def test_heights_of_each_bin(metrics):
    bins = metrics.result()["per_height_bin"]
    assert {name: measures["bias"] for name, measures in bins.items()} == {
        "below_1": 0.5,
        "1_to_5": 4,
        "5_to_10": None,
        "10_to_15": -3,
        "15_to_25": None,
        "25_to_40": None,
        "from_40": -10,
    }
    assert (bins["from_40"]["from"], bins["from_40"]["below"]) == (40, None)
    assert sum(measures["valid_pixels"] for measures in bins.values()) == 5


def test_errors_near_outlines_and_elsewhere():
    metrics = SplitMetrics(NAMES, 1, detailed=True)
    errors = np.array([[9.0, 2.0, 2.0, 2.0, -1.0, -1.0, -1.0, 7.0]])
    classes = np.array([[0, 0, 0, 0, 1, 1, 1, 1]])
    row = metrics.update("a", np.zeros((1, 8)), errors, np.ones((1, 8), bool), classes)
    edges = metrics.result()["edges"]
    assert (edges["near_outline"]["bias"], edges["near_outline"]["valid_pixels"]) == (0.5, 6)
    assert (edges["elsewhere"]["rmse"], row["elsewhere_mae"]) == (pytest.approx(65**0.5), 8)


def test_conventions_worked_out_by_hand(metrics):
    conventions = metrics.result()["conventions"]
    assert conventions["clipped"]["mae"] == pytest.approx(19 / 5)  # -1 becomes 0
    assert conventions["clipped"]["delta1"] == 1 / 5
    # ratios to 999 m, 5, 4/3, 2 and exactly 1.25
    shares = {"delta1": 0, "delta2": 2 / 5, "delta3": 2 / 5}
    assert conventions["dfc2023"] == {**shares, "pooled": shares}
    assert conventions["true_above_0"]["mae"] == pytest.approx(19 / 4)
    assert conventions["either_above_3"]["pooled"]["mae"] == pytest.approx(17 / 3)


def test_conventions_are_means_of_tiles_and_pooled(metrics):
    both = SplitMetrics(NAMES, 1, detailed=True)
    both.update("a", *TILE)
    both.update("b", np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1), bool))
    above = both.result()["conventions"]["true_above_0"]
    assert (above["mae"], above["pooled"]["mae"]) == (pytest.approx(19 / 8), pytest.approx(19 / 5))


def test_buildings_and_confusion(metrics):
    result = metrics.result()
    assert (result["buildings"]["true"], result["buildings"]["matched"]) == (1, 1)
    assert metrics.rows[0]["buildings_f1"] == 1
    assert result["confusion"] == {"classes": NAMES, "pixels": [[1, 1], [1, 2]]}


def test_normals_stand_in_the_result_and_in_the_row():
    metrics = SplitMetrics(detailed=True)
    row = metrics.update("a", *TILE[:3])
    up = np.broadcast_to([0.0, 0.0, 1.0], (2, 3, 3))
    metrics.add_normals(np.where(np.isfinite(HEIGHTS)[..., None], up, NAN), up)
    assert (metrics.result()["normals"]["mean_angle"], row["normals_mean_angle"]) == (0, 0)
    assert row["normals_valid_pixels"] == 5
    assert SplitMetrics(detailed=True).result()["normals"] is None


def test_tile_without_labels_has_heights_but_no_classes_or_buildings():
    metrics = SplitMetrics(NAMES, 1, detailed=True)
    metrics.update("a", *TILE[:3])
    result = metrics.result()
    assert result["per_class"]["roof"]["rmse"] is None
    assert result["edges"]["near_outline"]["rmse"] is None
    assert result["buildings"]["f1"] is None
    assert result["per_height_bin"]["from_40"]["rmse"] == 10
