import numpy as np
import pytest
from scipy.stats import median_abs_deviation
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from evaluation.measures.height_metrics import HEIGHT_MEASURES, HeightSums, height_sums

HEIGHTS = np.array([0.0, 4.0, 10.0, 20.0, 50.0])
PREDICTED = np.array([-1.0, 5.0, 25.0, 20.0, 40.0])  # errors -1, 1, 15, 0, -10


def test_measures_worked_out_by_hand():
    measures = height_sums(HEIGHTS, PREDICTED).measures()
    assert tuple(measures) == HEIGHT_MEASURES
    assert measures["mse"] == pytest.approx(327 / 5)
    assert measures["rmse"] == pytest.approx((327 / 5) ** 0.5)
    assert measures["mae"] == pytest.approx(27 / 5)
    assert measures["r2"] == pytest.approx(1 - 327 / 1604.8)  # squares about the mean, 16.8
    assert measures["bias"] == pytest.approx(5 / 5)
    assert measures["median_error"] == pytest.approx(0)
    assert measures["nmad"] == pytest.approx(1.4826 * 1)  # median of 0, 1, 1, 10, 15
    assert measures["p90_absolute_error"] == pytest.approx(10 + 0.6 * 5)  # place 3.6 of 0 to 4


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


def test_measures_are_those_of_scikit_learn_and_scipy():
    heights, predicted = np.random.default_rng(1).gamma(2.0, 8.0, (2, 999))
    measures = height_sums(heights, predicted).measures()
    assert measures["rmse"] == pytest.approx(root_mean_squared_error(heights, predicted))
    assert measures["mae"] == pytest.approx(mean_absolute_error(heights, predicted))
    assert measures["r2"] == pytest.approx(r2_score(heights, predicted))
    spread = median_abs_deviation(predicted - heights, scale=1 / 1.4826)
    assert measures["nmad"] == pytest.approx(spread, abs=0.015)


@pytest.mark.parametrize("scale", [0.004, 1.0, 60.0])
def test_quantiles_of_tiles_are_at_most_half_a_bin_off(scale):
    errors = np.random.default_rng(2).laplace(0.3, scale, (4, 251))
    sums = sum((height_sums(np.zeros(251), part) for part in errors), HeightSums())
    measures = sums.measures()
    median = np.median(errors)
    deviation = 1.4826 * np.median(np.abs(errors - median))
    assert measures["median_error"] == pytest.approx(median, abs=0.005)
    assert measures["p90_absolute_error"] == pytest.approx(
        np.quantile(np.abs(errors), 0.9), abs=0.005
    )
    assert measures["nmad"] == pytest.approx(deviation, abs=1.4826 * 0.01)


def test_errors_beyond_300_m_count_as_300_m():
    measures = height_sums(np.zeros(3), np.array([1e4, 1e5, 1e6])).measures()
    assert measures["median_error"] == pytest.approx(300)
    assert measures["bias"] == pytest.approx(370_000)
