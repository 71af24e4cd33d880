import numpy as np
import pytest

from datasets.prepare.splitting import (
    cut_windows,
    near_groups,
    split_by_area,
    split_groups,
    tile_starts,
)
from datasets.rasters.grids import part_of_grid
from datasets.rasters.reading import Grid

SHARES = (0.7, 0.15, 0.15)


def test_tiles_start_every_step_and_the_remainder_is_left():
    assert list(tile_starts(100, 32)) == [0, 32, 64]
    assert list(tile_starts(100, 32, overlap=0.5)) == [0, 16, 32, 48, 64]
    assert not tile_starts(31, 32)


def test_part_of_a_grid_lies_where_it_was():
    grid = Grid(100, 200, (10.0, 0.5, 0.0, 90.0, 0.0, -0.5), "wkt")
    assert part_of_grid(grid, 4, 6, 8, 9) == Grid(8, 9, (13.0, 0.5, 0.0, 88.0, 0.0, -0.5), "wkt")
    assert part_of_grid(Grid(9, 9, None, ""), 4, 6, 3, 3) == Grid(3, 3, None, "")


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("length", [(700, 900), (900, 700), (400, 2000)])
@pytest.mark.parametrize("seed", range(4))
def test_no_pixel_of_a_split_is_within_a_tile_of_another(overlap, length, seed):
    size = 50
    rows, columns = (tile_starts(pixels, size, overlap) for pixels in length)
    used = {split: np.zeros(length, bool) for split in ("train", "valid", "test")}
    for (row, column), split in split_by_area(rows, columns, size, SHARES, seed).items():
        used[split][row : row + size, column : column + size] = True
    for split, mask in used.items():
        others = np.any([m for name, m in used.items() if name != split], axis=0)
        axis = 0 if length[0] > length[1] else 1
        places, strangers = (np.flatnonzero(m.any(axis=1 - axis)) for m in (mask, others))
        assert mask.any() and np.abs(places[:, None] - strangers).min() > size


def test_shares_are_kept_and_nothing_else_decides():
    starts = tile_starts(102 * 10, 10)
    split_of = split_by_area([0, 10, 20], starts, 10, SHARES, seed=3)
    counts = [sum(s == split for s in split_of.values()) for split in ("train", "valid", "test")]
    assert counts == [210, 45, 45]  # of 3 x 100: two columns of 102 are gaps
    assert split_of == split_by_area([0, 10, 20], starts, 10, SHARES, seed=3)
    assert split_of != split_by_area([0, 10, 20], starts, 10, SHARES, seed=1)


def test_a_share_of_0_gives_no_stripe_and_no_gap():
    split_of = split_by_area([0], [0, 10, 20], 10, (1.0, 0.0, 0.0), seed=0)
    assert set(split_of.values()) == {"train"} and len(split_of) == 3


def test_a_small_share_still_gets_one_stripe():
    split_of = split_by_area([0], tile_starts(120, 10), 10, (0.98, 0.01, 0.01), seed=0)
    assert sorted(split_of.values()) == ["test"] + ["train"] * 8 + ["valid"]


def test_too_few_tiles_are_refused():
    with pytest.raises(ValueError, match="1 x 4 tiles of 10 pixels.*smaller tiles"):
        split_by_area([0], [0, 10, 20, 30], 10, SHARES, seed=0)


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.2), (1.2, -0.1, -0.1), (0.5, 0.5)])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ValueError, match="sum to 1"):
        split_by_area([0], [0, 10, 20], 10, shares, seed=0)


def test_groups_stay_together_and_share():
    names = [f"place_{n % 20}" for n in range(100)]
    split_of = split_groups(names, (0.5, 0.25, 0.25), seed=1)
    assert sorted(split_of.values()) == ["test"] * 5 + ["train"] * 10 + ["valid"] * 5
    assert split_of == split_groups(reversed(names), (0.5, 0.25, 0.25), seed=1)


def test_places_are_joined_by_way_of_others():
    places = [(0, 0), (0, 0.008), (0, 0.016), (0, 0.03)]  # 0.008 degrees are 890 m
    groups = near_groups(places, 1000)
    assert groups[0] == groups[1] == groups[2] != groups[3]
    assert len(set(near_groups([(60, 0), (60, 0.016)], 1000))) == 1  # 890 m there, too


def test_more_tiles_than_a_disk_holds_are_refused():
    with pytest.raises(ValueError, match="makes 4000000000000 tiles of 1000; 1000000 are possible"):
        cut_windows(Grid(2 * 10**9, 2 * 10**9, None, ""), 1000, 0.0, "a.tif")
