import numpy as np
import pytest

from evaluation.measures.normal_metrics import normal_sums

UP = np.array([[0.0, 0.0, 1.0]] * 4)
ANGLES = np.radians([0.0, 10.0, 20.0, 70.0])
TILTED = np.stack([np.sin(ANGLES), np.zeros(4), np.cos(ANGLES)], axis=-1)


def test_measures_worked_out_by_hand():
    measures = normal_sums(UP, TILTED).measures()
    assert measures["mean_angle"] == pytest.approx(25)
    assert measures["median_angle"] == pytest.approx(15)
    assert measures["rmse_angle"] == pytest.approx((5400 / 4) ** 0.5)
    shares = [measures[name] for name in ("within_11_25", "within_22_5", "within_30")]
    assert (shares, measures["valid_pixels"]) == ([0.5, 0.75, 0.75], 4)


def test_opposite_normals_are_180_degrees_apart():
    assert normal_sums(UP, -UP).measures()["median_angle"] == 180


def test_scalar_products_beyond_1_are_rounding():
    assert normal_sums(UP, UP * 1.0000001).measures()["mean_angle"] == 0


def test_small_angles_of_float32_vectors_are_exact():
    tilt = np.radians(np.full(50, 0.01))
    tilted = np.stack([np.sin(tilt), np.zeros(50), np.cos(tilt)], axis=-1).astype("float32")
    up = np.array([[0.0, 0.0, 1.0]] * 50, "float32")
    assert normal_sums(up, tilted).measures()["mean_angle"] == pytest.approx(0.01, rel=1e-5)


def test_median_of_tiles_is_at_most_half_a_bin_off():
    random = np.random.default_rng(0).normal(size=(2, 301, 3)) + [0, 0, 2]
    true, predicted = random / np.linalg.norm(random, axis=-1, keepdims=True)
    parts = [normal_sums(true[i::3], predicted[i::3]) for i in range(3)]
    measures = (parts[0] + parts[1] + parts[2]).measures()
    cross = np.linalg.norm(np.cross(true, predicted), axis=-1)
    angles = np.degrees(np.arctan2(cross, (true * predicted).sum(axis=-1)))
    assert measures["median_angle"] == pytest.approx(np.median(angles), abs=0.005)
    assert measures["mean_angle"] == pytest.approx(angles.mean())


def test_no_pixels_measure_nothing():
    measures = normal_sums(UP[:0], UP[:0]).measures()
    assert measures["valid_pixels"] == 0 and measures["median_angle"] is None
