import cv2
import numpy as np
import pytest

from evaluation.report.figures import class_maps, tile_figure

ROWS, COLUMNS = 12, 20
IMAGE = np.full((ROWS, COLUMNS, 3), 100.0, "float32")
HEIGHTS = np.tile(np.arange(COLUMNS, dtype="float32"), (ROWS, 1))
VALID = np.ones((ROWS, COLUMNS), bool)
NAMES = ("ground", "vegetation", "building")
CLASSES = np.where(HEIGHTS > 10, 2, 0)
SAMPLE = {"image": IMAGE, "heights": HEIGHTS, "valid": VALID, "classes": np.full(VALID.shape, -1)}


def drawn(path, sample, maps, **named):
    """Draws a figure and returns its pixels, uint8 (rows, columns, 3), red first."""
    tile_figure(path, SAMPLE | sample, maps, **named)
    return cv2.imread(str(path))[..., ::-1]


def share_of(pixels, colour):
    """Returns the share of pixels of this colour (#rrggbb), to one step of each band."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(pixels.astype(int) - wanted) <= 1).all(axis=-1).mean()


def test_figure_without_classes_is_a_picture(tmp_path):
    pixels = drawn(tmp_path / "new" / "tile.png", {}, {"heights": HEIGHTS + 1}, gsd=0.5)
    assert pixels.shape[1] > 800
    assert share_of(pixels, "#646464") > 0.01  # the photo, grey value 100
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["tile.png"]


def test_classes_have_their_colours(tmp_path):
    maps = {"heights": HEIGHTS, "classes": CLASSES}
    pixels = drawn(tmp_path / "tile.png", {"classes": CLASSES}, maps, class_names=NAMES)
    assert share_of(pixels, "#F0E442") > 0.02  # ground
    assert share_of(pixels, "#D55E00") > 0.02  # building
    assert share_of(pixels, "#009E73") == 0  # vegetation does not occur, so it has no entry


def test_truth_and_prediction_share_one_scale(tmp_path):
    truth = drawn(tmp_path / "a.png", {}, {"heights": np.zeros_like(HEIGHTS)})
    scaled = drawn(tmp_path / "b.png", {}, {"heights": 0 * HEIGHTS + 500.0})
    assert share_of(truth, "#440154") > share_of(scaled, "#440154") + 0.05  # 0 m, viridis
    assert share_of(scaled, "#fde725") > share_of(truth, "#fde725") + 0.05  # beyond the top


@pytest.mark.parametrize("valid", [~VALID, VALID & (HEIGHTS > 5)])
def test_nodata_is_hatched_and_its_values_do_not_matter(tmp_path, valid):
    pictures = [
        drawn(
            tmp_path / "a.png",
            {"heights": np.where(valid, HEIGHTS, rubbish), "valid": valid},
            {"heights": HEIGHTS},
        )
        for rubbish in (np.nan, -9999.0)
    ]
    np.testing.assert_array_equal(*pictures)
    assert share_of(pictures[0], "#E0E0E0") > 0.02


def test_twenty_classes_and_an_ignored_one_can_be_drawn(tmp_path):
    classes = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) % 21 - 1
    names = [f"a rather long class name {i}" for i in range(20)]
    maps = {"heights": HEIGHTS, "classes": np.maximum(classes, 0)}
    pixels = drawn(tmp_path / "a.png", {"classes": classes}, maps, class_names=names)
    assert pixels.size


def test_true_classes_are_drawn_where_there_are_labels():
    maps = {"heights": HEIGHTS, "classes": CLASSES}
    assert list(class_maps(SAMPLE, maps)) == ["Predicted classes"]
    labelled = SAMPLE | {"classes": CLASSES}
    assert list(class_maps(labelled, maps)) == ["True classes", "Predicted classes"]
    assert class_maps(labelled, {"heights": HEIGHTS}) == {}
