import cv2
import numpy as np
import pytest

from evaluation.report.gallery import SPACED_TILES, Gallery, coloured, shrunk, thumbnails
from runs.start import evenly_spaced

TITLES = ["Photo", "True heights", "Predicted heights", "Predicted - true"]
TITLES += ["True heights, hillshade", "Predicted heights, hillshade"]


def sample(rows=6, columns=9, **changes):
    """Returns a tile of grey ground; 10 m high in its right half."""
    heights = np.where(np.arange(columns) < columns / 2, 0, 10).astype("float32")
    tile = {
        "image": np.full((rows, columns, 4), 99.0, "float32"),
        "heights": np.tile(heights, (rows, 1)),
        "valid": np.ones((rows, columns), bool),
        "classes": np.full((rows, columns), -1),
    }
    return tile | changes


def decoded(picture):
    """Returns the pixels of a picture, red first."""
    return cv2.imdecode(np.frombuffer(picture.data, "uint8"), cv2.IMREAD_COLOR)[..., ::-1]


def test_pictures_of_a_tile_with_their_ranges():
    tile = sample()
    pictures = thumbnails(tile, {"heights": tile["heights"] + 2}, 0, 0.5)
    assert [picture.title for picture in pictures] == TITLES
    notes = ["", "0 to 10.0 m", "0 to 10.0 m", "-2.0 to 2.0 m", "", ""]
    assert [picture.note for picture in pictures] == notes
    assert {decoded(picture).shape for picture in pictures} == {(6, 9, 3)}
    assert abs(decoded(pictures[0]).astype(int) - 99).max() <= 1


def test_large_tiles_are_shrunk_to_256_pixels_and_small_ones_are_not_enlarged():
    tile = sample(300, 1200)
    for picture in thumbnails(tile, {"heights": tile["heights"]}, 0, 0.5):
        assert decoded(picture).shape == (64, 256, 3)


def test_classes_have_their_colours_and_no_label_is_grey():
    classes = np.tile([-1, 0, 1], (6, 3))
    tile = sample(classes=classes)
    maps = {"heights": tile["heights"], "classes": np.maximum(classes, 0)}
    true, predicted = map(decoded, thumbnails(tile, maps, 2, 0.5)[-2:])
    assert true[0, :3].tolist() == [[224] * 3, [0xF0, 0xE4, 0x42], [0x00, 0x9E, 0x73]]
    assert predicted[0, 0].tolist() == [0xF0, 0xE4, 0x42]


@pytest.mark.parametrize("rubbish", [np.nan, -9999.0])
def test_heights_are_shrunk_to_the_mean_of_the_known(rubbish):
    heights = np.array([[1, 3, rubbish, 8], [1, 3, 4, rubbish], [rubbish] * 4, [rubbish] * 4])
    valid = np.array([[1, 1, 0, 1], [1, 1, 1, 0], [0] * 4, [0] * 4], bool)
    small = shrunk(heights.astype("float32"), valid, (2, 2))
    np.testing.assert_allclose(small, [[2, 6], [np.nan, np.nan]])


def test_the_ends_of_a_scale_and_unknown_values_have_their_colours():
    pixels = coloured(np.array([[0.0, 5.0, 99.0, np.nan]]), "viridis", 0.0, 5.0)
    assert pixels[0].tolist() == [[68, 1, 84], [253, 231, 36], [253, 231, 36], [224] * 3]


def test_a_tile_without_data_is_grey():
    tile = sample(valid=np.zeros((6, 9), bool), heights=np.full((6, 9), np.nan, "float32"))
    pictures = thumbnails(tile, {"heights": np.zeros((6, 9), "float32")}, 0, 0.5)
    for picture in pictures[1:]:
        assert abs(decoded(picture).astype(int) - 224).max() <= 1


def test_of_many_tiles_worst_best_and_spaced_ones_are_kept():
    tile = sample(2, 2)
    gallery = Gallery({"50", "70", "nodata"}, 0, 0.5)
    order = np.random.default_rng(0).permutation(120)
    for number in order:
        gallery.add(str(number), tile, {"heights": tile["heights"]}, {"rmse": float(number)})
    gallery.add("nodata", tile, {"heights": tile["heights"]}, {"rmse": None})
    names = [card.name for card in gallery.cards()]
    kept = [*range(119, 99, -1), 70, 50, *range(19, -1, -1)]
    assert names == [*map(str, kept), "nodata"] and gallery.tiles == 121


@pytest.mark.parametrize("count", [80, 100])
def test_all_of_at_most_a_hundred_tiles_are_kept(count):
    tile, names = sample(2, 2), [str(number) for number in range(count)]
    gallery = Gallery(evenly_spaced(names, SPACED_TILES), 0, 0.5)
    for number, name in enumerate(names):
        gallery.add(name, tile, {"heights": tile["heights"]}, {"rmse": float(number)})
    assert [card.name for card in gallery.cards()] == names[::-1]


def test_a_hundred_cards_of_blotchy_tiles_stay_below_20_megabytes():
    generator = np.random.default_rng(0)
    noise = cv2.GaussianBlur(generator.normal(0, 1, (512, 512, 3)), (0, 0), 6) * 600 + 100
    heights = (noise[..., 0] / 10).astype("float32")
    tile = sample(512, 512, image=noise, heights=heights, classes=(noise[..., 1] > 100) * 1)
    maps = {"heights": heights[::-1], "classes": tile["classes"][::-1]}
    size = sum(len(picture.data) for picture in thumbnails(tile, maps, 2, 0.5))
    assert size * 4 / 3 * 100 < 20e6
