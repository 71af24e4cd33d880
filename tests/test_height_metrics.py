import numpy as np
import pytest

from evaluation.height_metrics import HEIGHT_MEASURES, HeightSums, height_sums

HEIGHTS = np.array([0.0, 4.0, 10.0, 20.0, 50.0])
PREDICTED = np.array([-1.0, 5.0, 25.0, 20.0, 40.0])  # errors -1, 1, 15, 0, -10


def test_measures_worked_out_by_hand():
    measures = height_sums(HEIGHTS, PREDICTED).measures()
    assert tuple(measures) == HEIGHT_MEASURES
    assert measures["mse"] == pytest.approx(327 / 5)
    assert measures["rmse"] == pytest.approx((327 / 5) ** 0.5)
    assert measures["mae"] == pytest.approx(27 / 5)
    assert measures["r2"] == pytest.approx(1 - 327 / 1604.8)  # squares about the mean, 16.8


def test_ratio_of_exactly_1_25_is_not_within_delta1():
    measures = height_sums(HEIGHTS, PREDICTED).measures()  # ratios 1, 1.25, 2.5, 1, 1.25
    assert [measures[f"delta{i}"] for i in (1, 2, 3)] == [2 / 5, 4 / 5, 4 / 5]


def test_ground_predicted_above_ground_is_outside_every_delta():
    measures = height_sums(np.zeros(2), np.array([0.0, 0.1])).measures()
    assert measures["delta3"] == 0.5


def test_r2_is_none_where_the_truth_is_flat():
    sums = height_sums(np.full(7, 0.1, "float32"), np.arange(7.0))
    assert sums.measures()["r2"] is None
    assert (sums + sums).measures()["r2"] is None


def test_no_pixels_measure_nothing():
    assert HeightSums().measures() == dict.fromkeys(HEIGHT_MEASURES)
    assert height_sums(np.zeros(0), np.zeros(0)) == HeightSums()


def test_adding_nothing_changes_nothing():
    sums = height_sums(HEIGHTS, PREDICTED)
    assert (HeightSums() + sums).measures() == pytest.approx(sums.measures())
    assert sums + HeightSums() == sums


@pytest.mark.parametrize("seed", range(5))
def test_sums_do_not_depend_on_how_pixels_are_split(seed):
    rng = np.random.default_rng(seed)
    heights, predicted = rng.gamma(1.0, 8.0, (2, 200)).astype("float32")
    cuts = np.sort(rng.integers(0, 200, 6))
    parts = zip(np.split(heights, cuts), np.split(predicted, cuts), strict=True)
    merged = sum((height_sums(*part) for part in parts), HeightSums())
    assert merged.measures() == pytest.approx(height_sums(heights, predicted).measures())


def test_r2_survives_a_large_offset():
    heights = HEIGHTS + 1e7  # the squares alone would need 10 digits more than float64 has
    sums = height_sums(heights[:2], heights[:2] + 1) + height_sums(heights[2:], heights[2:] + 1)
    assert sums.measures()["r2"] == pytest.approx(1 - 5 / 1604.8, rel=1e-9)
