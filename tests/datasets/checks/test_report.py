import numpy as np
import pytest
from matplotlib.colors import to_hex

from datasets.checks.inspection import Drawing
from datasets.checks.report import contact_sheet
from project.drawing import png_bytes
from project.palette import CLASS_COLOURS, class_colours


def drawing(name="train/a$_{$", classes=((0, 1), (1, 2)), heights=((0, 40), (-2, 9)), verdict=""):
    thumbnail = {
        "image": np.full((2, 2, 3), 99, "uint8"),
        "heights": np.array(heights, "float32"),
        "classes": np.array(classes, "int16"),
    }
    return Drawing(name, verdict, thumbnail)


def legend_of(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def images(figure):
    """Returns the pictures of the first tile: photo, heights and, if there are any, classes."""
    return [image for axes in figure.axes for image in axes.images]


def test_classes_have_the_colours_of_all_pictures_and_a_legend():
    figure = contact_sheet([drawing()], ["ground", "tree", "$_{$", "water"])
    assert legend_of(figure) == ["ground", "tree", "$_{$"]  # water does not occur
    classes = images(figure)[2]
    found = classes.to_rgba(np.array([0, 1, 2, 3]))
    assert [to_hex(colour).upper() for colour in found] == list(CLASS_COLOURS[:4])


def test_heights_have_a_bar_in_metres():
    figure = contact_sheet([drawing()], [])
    (bar,) = [axes for axes in figure.axes if axes.get_ylabel() == "height (m)"]
    assert bar.get_ylim() == (0, 30) and images(figure)[1].get_clim() == (0, 30)


def test_what_has_no_data_is_explained():
    hole = drawing(heights=((np.nan, 1), (1, 1)))
    assert legend_of(contact_sheet([hole], [])) == ["no data"]
    unlabelled = drawing(classes=((-1, 1), (1, 1)))
    assert legend_of(contact_sheet([drawing(), unlabelled], ["a", "b", "c"]))[-1] == "no data"
    assert legend_of(contact_sheet([drawing()], [])) == []


@pytest.mark.parametrize("count", [1, 6, 20])
def test_a_sheet_can_be_drawn_whatever_the_number_of_classes(count):
    names = [f"$_{{$ {'long ' * 20}{i}" for i in range(count)]
    indices = np.arange(20).reshape(4, 5) % count
    tiles = [drawing(f"train/{'a' * 200}{i}", indices, verdict="unusable") for i in range(3)]
    figure = contact_sheet([*tiles[:-1], Drawing("valid/unread", "", {})], names)
    assert png_bytes(figure, 20).startswith(b"\x89PNG")
    assert len(legend_of(figure)) == count
    found = images(figure)[2].cmap.colors
    assert list(map(to_hex, found)) == list(map(to_hex, class_colours(count)))


def test_a_sheet_without_tiles_can_be_drawn():
    assert png_bytes(contact_sheet([], ["a"]), 20).startswith(b"\x89PNG")
