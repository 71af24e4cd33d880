from dataclasses import replace
from pathlib import Path

import pytest

from datasets.checks.leakage import MOST_LISTED, Footprint, footprint, leaks, misplaced, overlaps
from datasets.rasters.grids import projection_wkt
from datasets.rasters.reading import Grid, RasterInfo
from datasets.records.record import Record

UTM = projection_wkt(32632)


def info(geotransform, projection=UTM, rows=20, columns=10):
    grid = Grid(rows, columns, geotransform, projection)
    return RasterInfo(Path("a.tif"), grid, 3, "uint8", None)


def at(left, lower, size=10.0, projection=UTM):
    return Footprint(projection, (left, lower, left + size, lower + size), 0.5)


def test_footprint_is_the_box_of_all_corners():
    straight = footprint([info((100, 0.5, 0, 50, 0, -0.5))])
    assert (straight.box, straight.pixel) == ((100, 40, 105, 50), 0.5)
    turned = footprint([info((0, 0.3, 0.4, 0, 0.4, -0.3))])  # 3-4-5; corners 3,4  8,-6  11,-2
    assert turned.box == pytest.approx((0, -6, 11, 4)) and turned.pixel == pytest.approx(0.5)


def test_footprint_needs_place_and_projection():
    place = (100, 0.5, 0, 50, 0, -0.5)
    assert footprint([info(None), info(place, "")]) is None
    assert footprint([info(None), info(place)]).box == (100, 40, 105, 50)


def test_overlap_is_a_share_of_the_smaller_tile():
    train = {"a": at(0, 0), "b": at(100, 0)}
    test = {"c": at(5, 0), "d": at(109, 9), "e": at(2, 2, 5.0)}  # 5 x 10, 1 x 1, all 25 of 100
    pairs = overlaps({"train": train, "test": test})
    expected = [["train/a", "test/e", 1.0], ["train/a", "test/c", 0.5], ["train/b", "test/d", 0.01]]
    assert pairs == expected


@pytest.mark.parametrize("other", [at(10, 0), at(9.6, 0), at(0, -10)])
def test_neighbours_do_not_overlap(other):
    assert overlaps({"train": {"a": at(0, 0)}, "test": {"b": other}}) == []


def test_same_ground_in_another_projection_is_not_found():
    other = at(0, 0, projection=projection_wkt(32633))
    assert overlaps({"train": {"a": at(0, 0)}, "test": {"b": other}}) == []


def test_tiles_of_one_split_may_overlap():
    assert overlaps({"train": {"a": at(0, 0), "b": at(0, 0)}, "test": {}}) == []


def test_tile_or_crop_in_another_split_than_the_record_says():
    record = Record("mine", Path("mine"), splits={"train": 9, "valid": ["area1", "area1_7"]})
    names = {"valid": ["area1", "area1_3"], "test": ["area11", "area1_7_64", "area1-x", "area"]}
    crop, other = misplaced(record, names)
    assert crop.startswith("test/area1_7_64: the record has area1_7 in the valid split")
    assert other.startswith("test/area1-x: the record has area1 in the valid split")
    assert misplaced(replace(record, splits={"train": 9}), names) == []


def test_long_lists_end_with_a_count():
    record = Record("mine", Path("mine"))
    groups = [[f"train/{i}", f"test/{i}"] for i in range(MOST_LISTED + 3)]
    texts = leaks(record, groups, [["train/a", "test/b", 0.256]], {})
    assert len(texts) == MOST_LISTED + 2 and texts[MOST_LISTED] == "... and 3 more like that."
    assert texts[-1].startswith("train/a, test/b: 26% of the smaller one is the same ground.")
