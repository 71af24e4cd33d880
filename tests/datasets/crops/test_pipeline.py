import shutil
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from datasets.crops.augmentation import Augmentation
from datasets.crops.crop_reader import CropReader, Decoder
from datasets.crops.pipeline import CropPlan, feeding_order, place_crop, training_dataset
from datasets.records.record import find_record
from datasets.tiles.folders import list_tiles

SHAPES = ((64, 64), (96, 64), (32, 40))  # 4, 6 and 2 crops of 32 px
BLOCKS = ((64, 64),) * 4  # of the data set "blocks"
TURNED = Augmentation(flips=True, turns=True)


def placed(plan, indices):
    """Returns what `place_crop` gives for numbers of the stream, as NumPy scalars."""
    numbers = tf.data.Dataset.from_tensor_slices(np.array(indices, "int64"))
    return list(numbers.map(lambda index: place_crop(index, plan)).as_numpy_iterator())


def numbers(place):
    return tuple(int(place[name]) for name in ("tile", "row", "column", "turn"))


def places(plan, indices):
    return [numbers(place) for place in placed(plan, indices)]


def test_one_pass_takes_as_many_crops_of_a_tile_as_cover_it():
    plan = CropPlan(SHAPES, 32, seed=3)
    assert plan.crops == 12
    for first in (0, 12):
        tiles = Counter(tile for tile, *_ in places(plan, range(first, first + 12)))
        assert tiles == {0: 4, 1: 6, 2: 2}


def test_crops_lie_within_their_tile():
    for tile, row, column, turn in places(CropPlan(SHAPES, 32, 1, TURNED), range(120)):
        rows, columns = SHAPES[tile]
        assert 0 <= row <= rows - 32 and 0 <= column <= columns - 32 and 0 <= turn < 8


def test_offsets_and_turns_reach_their_full_range():
    found = places(CropPlan(((33, 34),), 32, 0, TURNED), range(400))
    assert {row for _, row, _, _ in found} == {0, 1}
    assert {column for _, _, column, _ in found} == {0, 1, 2}
    assert {turn for *_, turn in found} == set(range(8))


def test_passes_and_seeds_differ_and_repeat():
    plan = CropPlan(SHAPES, 32, seed=1)
    assert places(plan, range(12)) == places(CropPlan(SHAPES, 32, seed=1), range(12))
    assert places(plan, range(12)) != places(plan, range(12, 24))
    assert places(plan, range(12)) != places(CropPlan(SHAPES, 32, seed=2), range(12))


def test_a_single_crop_is_possible():
    assert places(CropPlan(((32, 32),), 32, 0), [0, 5]) == [(0, 0, 0, 0)] * 2


def test_eager_and_in_a_dataset_are_the_same():
    plan = CropPlan(SHAPES, 32, 5, TURNED)
    eager = [numbers(place_crop(tf.constant(i, tf.int64), plan)) for i in range(30)]
    assert eager == places(plan, range(30))


def test_the_size_to_read_spreads_evenly_about_that_of_the_crop():
    found = placed(CropPlan(((200, 90),), 64, 0, Augmentation(scale=0.5)), range(300))
    sizes = [int(place["size"]) for place in found]
    assert min(sizes) in (43, 44) and max(sizes) == 90  # 64 / 1.5, and the tile's width
    assert 130 < sum(size < 64 for size in sizes) < 170
    assert all(int(place["row"]) + int(place["size"]) <= 200 for place in found)


@pytest.fixture
def blocks_dataset(blocks):
    record = find_record("blocks", str(blocks))
    tiles = list_tiles(record, "train")
    reader = CropReader(Decoder(tiles, record, BLOCKS, "uint8"))

    def make(order, steps, augmentation=TURNED):
        plan = CropPlan(BLOCKS, 32, 0, augmentation)
        return training_dataset(reader, plan, order, steps)

    return make


def test_batches_hold_what_the_files_hold(blocks_dataset):
    (batch,) = blocks_dataset(np.arange(16), range(1)).as_numpy_iterator()
    assert batch["image"].shape == (16, 32, 32, 3) and batch["image"].max() > 100
    assert batch["heights"].shape == batch["classes"].shape == (16, 32, 32, 1)
    assert {name: str(batch[name].dtype) for name in ("image", "heights", "classes")} == {
        "image": "uint8",
        "heights": "float32",
        "classes": "int16",
    }
    assert set(np.unique(batch["classes"])) == {-1, 0, 1} and (batch["gsd_factor"] == 1).all()
    roof = np.isfinite(batch["heights"]) & (batch["classes"] == 1)
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


def test_every_change_at_once_is_repeated(blocks_dataset):
    everything = Augmentation(True, True, 0.2, 0.2, 0.2, 0.3)
    first, second = (
        next(iter(blocks_dataset(np.arange(8), range(3, 4), everything))) for _ in range(2)
    )
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
    plain = next(iter(blocks_dataset(np.arange(8), range(3, 4))))
    assert (first["image"].numpy() != plain["image"].numpy()).mean() > 0.9


def test_each_crop_gets_its_own_brightness(blocks_dataset):
    plain, changed = (
        next(iter(blocks_dataset(np.arange(16), range(1), Augmentation(brightness=amount))))
        for amount in (0, 0.1)
    )
    shifts = changed["image"].numpy() - plain["image"].numpy().astype("int16")
    assert len(set(np.median(shifts, axis=(1, 2, 3)))) > 8  # of whole numbers up to 25


def test_a_crop_of_another_pixel_size_is_what_was_read(blocks_dataset):
    batch = next(iter(blocks_dataset(np.arange(64), range(1), Augmentation(scale=0.5))))
    factors = batch["gsd_factor"].numpy()
    assert factors.min() < 0.8 and factors.max() > 1.25
    np.testing.assert_array_equal(factors * 32, np.round(factors * 32))  # whole pixels were read
    assert batch["heights"].shape == (64, 32, 32, 1)


def test_a_file_that_disappears_in_mid_epoch_stops_or_is_counted(blocks, tmp_path):
    shutil.copytree(blocks / "blocks" / "train", tmp_path / "blocks" / "train")
    shutil.copy(blocks / "blocks" / "dataset.toml", tmp_path / "blocks")
    record = find_record("blocks", str(tmp_path))
    tiles = list_tiles(record, "train")
    plan, decoder = CropPlan(BLOCKS, 32, 0), Decoder(tiles, record, BLOCKS)
    readers = [CropReader(decoder, skip=skip) for skip in (False, True)]
    stopped, going = (
        iter(training_dataset(reader, plan, np.arange(2), range(40))) for reader in readers
    )
    next(stopped), next(going)
    tiles[3].sem.unlink()
    with pytest.raises(tf.errors.OpError, match=r"RasterError: .*sem.train_3\.tif"):
        list(stopped)
    batches = list(going)
    empty = sum(np.isnan(heights).all() for batch in batches for heights in batch["heights"])
    assert len(batches) == 39 and readers[1].skipped["train_3"][0] == empty > 10
