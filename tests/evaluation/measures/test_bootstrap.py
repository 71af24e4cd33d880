import numpy as np
import pytest
from scipy import stats

from evaluation.measures.bootstrap import (
    column,
    draw_counts,
    draw_means,
    headline_intervals,
    interval,
)

NO_CLASSES = np.zeros((2, 0, 0), int)


def row(pixels, mse, **others):
    cells = {"mae": mse**0.5, "bias": 0.0, "delta1": 0.5, "miou": None}
    return {"valid_pixels": pixels, "mse": mse, "rmse": mse**0.5, **cells, **others}


def test_every_draw_has_as_many_tiles_and_is_always_the_same():
    counts = draw_counts(7)
    assert counts.shape == (1000, 7) and set(counts.sum(axis=1)) == {7}
    np.testing.assert_array_equal(counts, draw_counts(7))


def test_interval_holds_95_percent_of_the_draws_that_have_a_value():
    assert interval(np.append(np.arange(1001.0), np.nan)) == pytest.approx((25, 975))
    assert interval(np.full(3, np.nan)) == (None, None)


def test_interval_of_the_mean_is_that_of_scipy():
    values = np.random.default_rng(0).gamma(2.0, 3.0, 60)
    ours = interval(draw_means(values, np.ones(60), draw_counts(60)))
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=1000, rng=1
    ).confidence_interval
    assert ours == pytest.approx(theirs, rel=0.05)


def test_two_tiles_have_an_interval_from_the_one_to_the_other():
    found = headline_intervals([row(10, 4.0), row(30, 16.0)], NO_CLASSES)
    mean, pooled = found["mean_of_tiles"]["rmse"], found["pooled"]["rmse"]
    assert mean == {"value": 3.0, "low": 2.0, "high": 4.0}
    assert pooled == {"value": pytest.approx(13**0.5), "low": 2.0, "high": 4.0}


def test_one_tile_has_no_interval():
    assert headline_intervals([row(10, 4.0)], NO_CLASSES[:1]) is None


def test_tiles_without_value_take_no_part():
    empty = row(0, 4.0) | dict.fromkeys(("mse", "rmse", "mae", "bias", "delta1"))
    found = headline_intervals([row(10, 4.0), row(10, 16.0), empty], np.zeros((3, 0, 0), int))
    assert found["mean_of_tiles"]["rmse"]["value"] == 3.0
    assert found["mean_of_tiles"]["miou"] == {"value": None, "low": None, "high": None}


def test_pooled_miou_comes_from_the_drawn_confusion_matrices():
    confusions = np.array([[[4, 0], [0, 4]], [[2, 2], [2, 2]]])  # IoUs 1, 1 and 1/3, 1/3
    rows = [row(8, 1.0, miou=1.0), row(8, 1.0, miou=1 / 3)]
    found = headline_intervals(rows, confusions)
    pooled = {"value": 6 / 10, "low": 1 / 3, "high": 1.0}
    assert found["pooled"]["miou"] == pytest.approx(pooled)
    assert found["mean_of_tiles"]["miou"]["value"] == pytest.approx(2 / 3)


def test_columns_have_nan_for_none_and_for_missing_cells():
    np.testing.assert_array_equal(column([{"a": 1}, {"a": None}, {}], "a"), [1, np.nan, np.nan])
