import numpy as np
import pytest

from evaluation.measures.histograms import Bins, absolute_quantile, quantile

BINS = Bins(0.5, -4, 4)  # centres -2 m to 2 m


def test_values_count_in_the_nearest_bin_and_beyond_in_the_outermost():
    counts = BINS.count(np.array([-99.0, 0.2, -0.2, 0.3, 2.2, 7.0]))
    assert counts.tolist() == [1, 0, 0, 0, 2, 1, 0, 0, 2]
    assert BINS.centres[[0, 4, 8]].tolist() == [-2, 0, 2]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("pixels", [1, 2, 7, 100])
def test_quantiles_are_those_of_numpy(share, pixels):
    values = BINS.centres[np.random.default_rng(pixels).integers(0, 9, pixels)]
    counts = BINS.count(values)
    assert quantile(BINS.centres, counts, share) == pytest.approx(np.quantile(values, share))
    distances = np.abs(values - 0.7)
    assert absolute_quantile(BINS.centres, counts, share, 0.7) == pytest.approx(
        np.quantile(distances, share)
    )
