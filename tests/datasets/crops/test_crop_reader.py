import errno
import os
import shutil
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from datasets.crops import crop_reader
from datasets.crops.crop_reader import CacheError, CropReader, Decoder, DiskCache, MemoryCache
from datasets.rasters.reading import RasterError, read_info
from datasets.rasters.writing import write_raster
from datasets.records.record import find_record
from datasets.tiles.folders import list_tiles
from datasets.tiles.samples import read_tile_window

SHAPES = ((64, 64),) * 4


class CountedDecoder(Decoder):
    """A `Decoder` that counts how often tiles are decoded."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.decoded = []

    def blocks(self, number):
        self.decoded.append(number)
        return super().blocks(number)


@pytest.fixture
def decoder(blocks, tmp_path, monkeypatch):
    monkeypatch.setattr(crop_reader, "BLOCK_PIXELS", 64 * 20)  # four blocks of a tile
    shutil.copytree(blocks, tmp_path / "data")
    record = find_record("blocks", str(tmp_path / "data"))
    return CountedDecoder(list_tiles(record, "train"), record, SHAPES, "uint8")


def test_crops_are_the_windows_of_the_tile_in_small_types(decoder):
    image, heights, classes = CropReader(decoder).read(2, 32, 10, 32).values()
    sample = read_tile_window(decoder.tiles[2], decoder.record, 32, 10, 32, 32)
    np.testing.assert_array_equal(image, sample["image"])
    np.testing.assert_array_equal(heights[..., 0], sample["heights"])
    np.testing.assert_array_equal(classes[..., 0], sample["classes"])
    assert (image.dtype, heights.dtype, classes.dtype) == ("uint8", "float32", "int16")
    assert np.isnan(heights[-2:]).all() and np.isfinite(heights[:-2]).all()


def test_an_unreadable_tile_is_an_error_or_left_out_and_counted(decoder, capsys):
    path = decoder.tiles[1].dsm
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(RasterError, match=r"dsm.train_1\.tif"):
        CropReader(decoder).read(1, 0, 0, 32)
    reader = CropReader(decoder, skip=True)
    for _ in range(3):
        image, heights, classes = reader.read(1, 0, 0, 32).values()
    assert (image == 0).all() and np.isnan(heights).all() and (classes == -1).all()
    assert image.shape == (32, 32, 3) and heights.shape == (32, 32, 1)
    crops, message = reader.skipped["train_1"]
    assert crops == 3 and "train_1.tif" in message
    assert capsys.readouterr().out.count("left out") == 1
    assert np.isfinite(reader.read(0, 0, 0, 32)["heights"]).any() and len(reader.skipped) == 1


@pytest.fixture(params=["memory", "disk"])
def make_cache(request, decoder, tmp_path):
    return lambda: (
        MemoryCache(decoder) if request.param == "memory" else DiskCache(decoder, tmp_path / "c")
    )


def assert_like_the_files(cache, decoder):
    plain, cached = CropReader(decoder), CropReader(decoder, cache)
    for place in [(0, 0, 0, 64), (3, 19, 5, 32), (0, 7, 32, 32)]:
        both = plain.read(*place), cached.read(*place)
        for expected, found in zip(*(crop.values() for crop in both), strict=True):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype and found.flags.owndata


def test_a_cache_gives_what_the_files_give_and_decodes_once(make_cache, decoder):
    cache = make_cache()
    assert_like_the_files(cache, decoder)
    assert_like_the_files(cache, decoder)
    assert sorted(decoder.decoded) == [0, 3]


@pytest.mark.parametrize("kind", ["dsm", "sem"])
def test_a_changed_file_is_decoded_again(make_cache, decoder, kind):
    cache = make_cache()
    assert_like_the_files(cache, decoder)
    path = getattr(decoder.tiles[0], kind)
    write_raster(path, np.full((64, 64), 6, "uint8"), read_info(path).grid)
    assert_like_the_files(cache, decoder)
    assert sorted(decoder.decoded) == [0, 0, 3]


def test_a_file_with_a_new_time_is_decoded_again(make_cache, decoder):
    path = decoder.tiles[0].dsm
    cache = make_cache()
    os.utime(path, ns=(1, 1))
    cache.read(0, (0, 0, 8, 8))
    os.utime(path, ns=(2, 2))  # the time alone
    cache.read(0, (0, 0, 8, 8))
    assert decoder.decoded == [0, 0]


def test_a_missing_file_is_named(make_cache, decoder):
    cache = make_cache()
    cache.read(0, (0, 0, 8, 8))
    decoder.tiles[0].rgb.unlink()
    with pytest.raises(RasterError, match="train_0.tif"):
        cache.read(0, (0, 0, 8, 8))


def test_threads_that_need_the_same_tile_decode_it_once(make_cache, decoder):
    cache = make_cache()
    threads = [threading.Thread(target=cache.read, args=(1, (0, 0, 8, 8))) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert decoder.decoded == [1]


def test_a_tile_that_cannot_be_read_is_tried_once_until_it_changes(make_cache, decoder):
    cache, path = make_cache(), decoder.tiles[0].dsm
    whole = path.read_bytes()
    path.write_bytes(whole[:-4000])
    for _ in range(3):
        with pytest.raises(RasterError, match="train_0.tif"):
            cache.read(0, (0, 0, 8, 8))
    assert decoder.decoded == [0]
    path.write_bytes(whole)
    assert_like_the_files(cache, decoder)


def test_a_later_run_finds_the_disk_cache(decoder, tmp_path):
    DiskCache(decoder, tmp_path / "c").read(2, (0, 0, 8, 8))
    assert_like_the_files(DiskCache(decoder, tmp_path / "c"), decoder)
    DiskCache(decoder, tmp_path / "c").read(2, (8, 8, 8, 8))
    assert decoder.decoded.count(2) == 1


def test_entries_unused_for_a_week_are_deleted(decoder, tmp_path):
    for number in (0, 1):
        DiskCache(decoder, tmp_path / "c").read(number, (0, 0, 8, 8))
    (tmp_path / "c" / ".killed").mkdir()
    week_ago = time.time() - 7.1 * 86400
    for entry in (tmp_path / "c").iterdir():
        os.utime(entry, (week_ago, week_ago))
    # Only what a run reads is kept fresh: decode tile 0 anew, and 1 not at all.
    DiskCache(decoder, tmp_path / "c").read(0, (0, 0, 8, 8))
    assert len(list((tmp_path / "c").iterdir())) == 1 and decoder.decoded == [0, 1, 0]


def test_two_processes_share_a_folder(decoder, tmp_path):
    caches = [DiskCache(decoder, tmp_path / "c") for _ in range(2)]  # each with locks of its own
    failures = []

    def use(cache):
        try:
            for place in 6 * [(0, (0, 0, 8, 8)), (1, (8, 8, 8, 8)), (2, (0, 8, 8, 8))]:
                assert cache.read(*place)["image"].shape == (8, 8, 3)
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=use, args=(cache,)) for cache in caches]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failures and len(list((tmp_path / "c").iterdir())) == 3


@pytest.mark.parametrize("spoil", [shutil.rmtree, lambda e: (e / "image.npy").write_bytes(b"no")])
def test_an_entry_that_others_delete_or_damage_is_restored(decoder, tmp_path, spoil):
    cache = DiskCache(decoder, tmp_path / "c")
    expected = cache.read(0, (5, 5, 8, 8))
    (entry,) = (tmp_path / "c").iterdir()
    spoil(entry)
    found = cache.read(0, (5, 5, 8, 8))
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_threads_that_meet_a_deleted_entry_restore_it_once(decoder, tmp_path):
    cache, failures = DiskCache(decoder, tmp_path / "c"), []
    cache.read(0, (0, 0, 8, 8))

    def use():
        try:
            for _ in range(20):
                cache.read(0, (0, 0, 64, 64))
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(8)]
    [thread.start() for thread in threads]
    (entry,) = (path for path in (tmp_path / "c").iterdir() if path.name[0] != ".")
    shutil.rmtree(entry, ignore_errors=True)
    [thread.join() for thread in threads]
    assert not failures and decoder.decoded in ([0, 0], [0])


def test_another_scale_is_another_entry_on_disk(decoder, tmp_path):
    DiskCache(decoder, tmp_path / "c").read(0, (0, 0, 8, 8))
    other = Decoder(decoder.tiles, replace(decoder.record, height_scale=0.1), SHAPES, "uint8")
    found = DiskCache(other, tmp_path / "c").read(0, (20, 20, 8, 8))
    expected = other.read(0, (20, 20, 8, 8))
    np.testing.assert_array_equal(found["heights"], expected["heights"])
    assert len(list((tmp_path / "c").iterdir())) == 2


def test_a_tile_that_fails_half_way_leaves_nothing_on_disk(decoder, tmp_path):
    cache = DiskCache(decoder, tmp_path / "c")
    path = decoder.tiles[0].rgb
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(RasterError):
        cache.read(0, (0, 0, 8, 8))
    assert not list((tmp_path / "c").iterdir())


def test_a_disk_that_is_too_small_is_reported(decoder, tmp_path, monkeypatch):
    space = SimpleNamespace(free=4 * 64 * 64 * 9)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: space)
    DiskCache(decoder, tmp_path / "c")
    space.free -= 1
    with pytest.raises(CacheError, match="cache=disk needs 0.0 GB more"):
        DiskCache(decoder, tmp_path / "c")


def test_a_disk_that_fills_up_while_writing_is_reported(decoder, tmp_path, monkeypatch):
    cache = DiskCache(decoder, tmp_path / "c")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CacheError, match="no space is left on its disk"):
        cache.read(0, (0, 0, 8, 8))
    assert not list((tmp_path / "c").iterdir())


def test_too_little_memory_is_reported(decoder, monkeypatch):
    monkeypatch.setattr(crop_reader, "free_memory", lambda: 1000)
    with pytest.raises(CacheError, match="cache=memory needs 0.0 GB, but 0.0 GB are free"):
        MemoryCache(decoder)


def test_bytes_by_hand(decoder):
    # 3 bytes of image, 4 of height, 2 of class; as float32 12 of image.
    assert decoder.tile_bytes == [64 * 64 * 9] * 4
    assert Decoder(decoder.tiles, decoder.record, SHAPES).tile_bytes == [64 * 64 * 18] * 4
