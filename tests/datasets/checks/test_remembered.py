import os
import shutil
from dataclasses import replace

import pytest

from datasets.checks import remembered
from datasets.checks.remembered import remembered_check
from datasets.checks.validation import check_split
from datasets.records.record import find_record
from datasets.tiles.folders import DataError, list_tiles


@pytest.fixture
def checked(blocks, tmp_path, monkeypatch):
    """Returns (check, record, calls): a check of a copy of the training split, and what it did."""
    shutil.copytree(blocks, tmp_path / "data")
    record = find_record("blocks", str(tmp_path / "data"))
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return check_split(*arguments)

    monkeypatch.setattr(remembered, "check_split", counted)

    def check(record=record, crop_size=32, skip=False):
        tiles = list_tiles(record, "train")
        path = tmp_path / "output" / "train.json"
        return remembered_check(path, record, "train", tiles, crop_size, skip=skip)

    return check, record, calls


def test_a_second_check_repeats_the_first(checked):
    check, record, calls = checked
    assert check() == check() == check_split(record, "train", list_tiles(record, "train"), 32)
    assert len(calls) == 1


def test_whatever_changes_is_checked_anew(checked):
    check, record, calls = checked
    check()
    os.utime(record.folder / "train" / "dsm" / "train_0.tif", ns=(1, 1))
    check()
    (record.folder / "train" / "rgb" / "train_1.tif.msk").write_bytes(b"")
    with pytest.raises(DataError, match="train_1.tif"):
        check()
    (record.folder / "train" / "rgb" / "train_1.tif.msk").unlink()
    check(crop_size=64)
    check(replace(record, height_scale=0.5))
    assert len(calls) == 5


def test_a_damaged_memory_is_no_harm(checked, tmp_path):
    check, _, calls = checked
    first = check()
    (tmp_path / "output" / "train.json").write_text('{"key": 1')
    assert check() == first and len(calls) == 2


def test_parts_of_a_vrt_are_looked_at_each_time(checked):
    check, record, calls = checked
    from osgeo import gdal

    folder = record.folder / "train" / "rgb"
    gdal.GetDriverByName("VRT").CreateCopy(
        str(folder / "copy.vrt"), gdal.Open(str(folder / "train_0.tif"))
    )
    (folder / "train_0.tif").rename(record.folder / "train_0.tif")
    text = (folder / "copy.vrt").read_text().replace("train_0.tif", "../../train_0.tif")
    (folder / "train_0.vrt").write_text(text)
    (folder / "copy.vrt").unlink()
    assert check() == check() and len(calls) == 2


def test_a_fault_that_passes_is_not_remembered(checked):
    check, record, calls = checked
    path = record.folder / "train" / "dsm" / "train_0.tif"
    whole, times = path.read_bytes(), path.stat()
    path.write_bytes(whole[:700])
    assert check(skip=True).unusable == ("train_0",)
    path.write_bytes(whole)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert check(skip=True).unusable == () and len(calls) == 2


def test_other_rights_are_looked_at(checked):
    check, record, calls = checked
    check()
    (record.folder / "train" / "sem" / "train_0.tif").chmod(0o600)
    check()
    assert len(calls) == 2
