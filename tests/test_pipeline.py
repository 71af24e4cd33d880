from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from datasets.folders import list_tiles
from datasets.pipeline import (
    CropPlan,
    feeding_order,
    place_crop,
    training_dataset,
    turn_sample,
)
from datasets.records import find_record

SHAPES = ((64, 64), (96, 64), (32, 40))  # 4, 6 and 2 crops of 32 px


def places(plan, indices):
    return [tuple(int(v) for v in place_crop(tf.constant(i, tf.int64), plan)) for i in indices]


def test_one_pass_takes_as_many_crops_of_a_tile_as_cover_it():
    plan = CropPlan(SHAPES, 32, seed=3)
    assert plan.crops == 12
    for first in (0, 12):
        tiles = Counter(tile for tile, *_ in places(plan, range(first, first + 12)))
        assert tiles == {0: 4, 1: 6, 2: 2}


def test_crops_lie_within_their_tile():
    for tile, row, column, turn in places(CropPlan(SHAPES, 32, seed=1), range(120)):
        rows, columns = SHAPES[tile]
        assert 0 <= row <= rows - 32 and 0 <= column <= columns - 32 and 0 <= turn < 8


def test_offsets_and_turns_reach_their_whole_range():
    found = places(CropPlan(((33, 34),), 32, seed=0), range(400))
    assert {row for _, row, _, _ in found} == {0, 1}
    assert {column for _, _, column, _ in found} == {0, 1, 2}
    assert {turn for *_, turn in found} == set(range(8))


def test_passes_and_seeds_differ_and_repeat():
    plan = CropPlan(SHAPES, 32, seed=1)
    assert places(plan, range(12)) == places(CropPlan(SHAPES, 32, seed=1), range(12))
    assert places(plan, range(12)) != places(plan, range(12, 24))
    assert places(plan, range(12)) != places(CropPlan(SHAPES, 32, seed=2), range(12))


def test_a_single_crop_is_possible():
    assert places(CropPlan(((32, 32),), 32, 0, augment=False), [0, 5]) == [(0, 0, 0, 0)] * 2


def test_eager_and_in_a_dataset_are_the_same():
    plan = CropPlan(SHAPES, 32, seed=5)
    dataset = tf.data.Dataset.range(30).map(lambda index: place_crop(index, plan))
    inside = [tuple(map(int, place)) for place in dataset.as_numpy_iterator()]
    assert inside == places(plan, range(30))


@pytest.mark.parametrize(
    "turn, expected",
    [(0, [[1, 2], [3, 4]]), (1, [[2, 4], [1, 3]]), (2, [[4, 3], [2, 1]]), (4, [[2, 1], [4, 3]])],
)
def test_turns_by_hand(turn, expected):
    raster = tf.constant([[1, 2], [3, 4]])[..., None]
    turned = turn_sample({"a": raster, "b": raster * 10}, tf.constant(turn))
    np.testing.assert_array_equal(turned["a"][..., 0], expected)
    np.testing.assert_array_equal(turned["b"][..., 0], np.array(expected) * 10)


def test_all_eight_turns_differ():
    raster = tf.reshape(tf.range(4), (2, 2, 1))
    turns = {turn_sample({"a": raster}, tf.constant(t))["a"].numpy().tobytes() for t in range(8)}
    assert len(turns) == 8


@pytest.fixture
def blocks_dataset(blocks):
    record = find_record("blocks", str(blocks))
    tiles = list_tiles(record, "train")
    plan = CropPlan(((64, 64),) * 4, 32, seed=0)
    return lambda order, steps: training_dataset(tiles, record, plan, order, steps)


def test_batches_hold_what_the_files_hold(blocks_dataset):
    (batch,) = blocks_dataset(np.arange(16), range(1)).as_numpy_iterator()
    assert batch["image"].shape == (16, 32, 32, 3) and batch["image"].max() > 100
    assert batch["heights"].shape == batch["valid"].shape == batch["classes"].shape
    np.testing.assert_array_equal(np.isnan(batch["heights"]), ~batch["valid"])
    assert set(np.unique(batch["classes"])) == {-1, 0, 1}
    roof = batch["valid"] & (batch["classes"] == 1)
    assert (batch["heights"][roof] > 3).all() and (batch["image"][roof[..., 0]].mean() > 140)


def test_a_later_start_gives_the_later_batches(blocks_dataset):
    whole = list(blocks_dataset(np.arange(3), range(6)).as_numpy_iterator())
    rest = list(blocks_dataset(np.arange(3), range(4, 6)).as_numpy_iterator())
    for early, late in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(early["image"], late["image"])


def test_batch_size_does_not_change_the_samples(blocks_dataset):
    one_by_one = blocks_dataset(np.arange(1), range(4)).as_numpy_iterator()
    single = np.concatenate([batch["image"] for batch in one_by_one])
    (together,) = blocks_dataset(np.arange(4), range(1)).as_numpy_iterator()
    np.testing.assert_array_equal(together["image"], single)


def test_each_part_of_all_replicas_together_is_consecutive():
    # Two replicas of two parts of two samples: the parts are samples 0 to 3 and 4 to 7.
    np.testing.assert_array_equal(feeding_order(2, 2, 2), [0, 1, 4, 5, 2, 3, 6, 7])
    np.testing.assert_array_equal(feeding_order(2, replicas=2), [0, 1, 2, 3])


def test_samples_are_fed_in_the_given_order(blocks_dataset):
    straight = list(blocks_dataset(np.arange(4), range(2)).as_numpy_iterator())[1]
    mixed = list(blocks_dataset(np.array([0, 2, 1, 3]), range(2)).as_numpy_iterator())[1]
    assert mixed["sample"].tolist() == [4, 6, 5, 7]
    np.testing.assert_array_equal(mixed["image"][1], straight["image"][2])
