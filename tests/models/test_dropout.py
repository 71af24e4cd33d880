import numpy as np
import pytest

from models.dropout import SampleDropout, sample_uniform, samples_from

ONES = np.ones((4, 3, 5, 2), "float32")


def drop(first, inputs=ONES, seed=0, name="dropout"):
    with samples_from(first):
        return SampleDropout(0.25, seed, name=name)(inputs, training=True).numpy()


def test_a_sample_has_the_same_mask_in_whatever_batch_it_comes():
    whole = drop(8)
    np.testing.assert_array_equal(drop(8, ONES[:1]), whole[:1])
    np.testing.assert_array_equal(drop(10, ONES[:2]), whole[2:])


@pytest.mark.parametrize("other", [{"first": 9}, {"seed": 1}, {"name": "other"}])
def test_sample_seed_and_layer_change_the_mask(other):
    assert (drop(**{"first": 8} | other) != drop(8)).any()


def test_samples_differ_and_the_share_is_the_rate():
    masks = drop(0, np.ones((100, 10, 10, 10), "float32")) > 0
    assert len({mask.tobytes() for mask in masks}) == 100
    # 4 standard deviations of the mean of 100,000 draws
    assert masks.mean() == pytest.approx(0.75, abs=4 * (0.25 * 0.75 / 1e5) ** 0.5)


def test_what_stays_grows_to_keep_the_mean():
    assert set(np.unique(drop(0))) == {np.float32(0), np.float32(1 / 0.75)}


def test_numbers_are_uniform_and_reach_far_into_the_stream():
    values = sample_uniform(2**40, 10, 1001, key=3).numpy()
    assert values.shape == (10, 1001) and values.min() >= 0 and values.max() < 1
    assert values.mean() == pytest.approx(0.5, abs=4 * (1 / 12 / 10010) ** 0.5)


def test_nothing_is_dropped_outside_training():
    np.testing.assert_array_equal(SampleDropout(0.5)(ONES), ONES)


def test_training_without_sample_numbers_is_refused():
    with pytest.raises(ValueError, match=r"expected within models\.dropout\.samples_from"):
        SampleDropout(0.5)(ONES, training=True)
