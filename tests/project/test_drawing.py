import ast
import warnings
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from project.drawing import LETTERS, add_legend, png_bytes, shortened
from project.palette import CLASS_COLOURS, class_colours

ROOT = Path(__file__).parents[2]
NASTY = "$_{$ a$b"


def imported(path):
    """Returns the names of the modules that a file imports."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.module for node in nodes if isinstance(node, ast.ImportFrom)}


def test_every_file_that_makes_figures_draws_names_as_they_are():
    packages = ("benchmarks", "commands", "training", "evaluation", "prediction", "datasets")
    files = [file for name in packages for file in (ROOT / name).rglob("*.py")]
    makers = [file for file in files if "matplotlib.figure" in imported(file)]
    assert len(makers) >= 4
    assert not [file for file in makers if "project.drawing" not in imported(file)]


@pytest.mark.parametrize("name", [NASTY, "\x00\x07 a", "日本", "_name", "two\nlines"])
def test_any_name_can_be_drawn_anywhere(name):
    figure = Figure(layout="constrained")
    panel = figure.subplots()
    panel.set(title=name, xlabel=name)
    panel.set_xticks([0], [name])
    panel.text(0, 0, name)
    add_legend(figure, [name], [0], False)
    with warnings.catch_warnings(action="error"):
        png_bytes(figure, 20)
    assert not any(text.get_parse_math() for text in figure.findobj(Text))
    (shown,) = figure.legends[0].get_texts()
    assert shown.get_text() == " ".join(name.split())


def test_a_legend_shows_the_classes_that_occur_in_their_colours():
    figure = Figure(layout="constrained")
    add_legend(figure, ["a", "b", "c"], [2, 0], True)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "c", "no data"]
    found = [to_hex(patch.get_facecolor()).upper() for patch in legend.get_patches()[:2]]
    assert found == [CLASS_COLOURS[0], CLASS_COLOURS[2]]


@pytest.mark.parametrize("count", [1, 6, 20, 50])
def test_a_legend_of_any_length_fits_and_takes_nothing_from_the_panels(count):
    figure = Figure(figsize=(9, 4), layout="constrained")
    panel = figure.subplots()
    png_bytes(figure, 20)
    before = panel.bbox.height / figure.dpi
    add_legend(figure, [f"{'long ' * 20}{i}" for i in range(count)], range(count), False)
    png_bytes(figure, 20)
    found, size = figure.get_tightbbox(), figure.get_size_inches()
    assert (found.min >= 0).all() and (found.max <= size).all()
    assert panel.bbox.height / figure.dpi > before - 0.3


def test_there_is_no_legend_of_nothing():
    figure = Figure()
    add_legend(figure, ["a"], [], False)
    assert not figure.legends


def test_a_long_name_keeps_its_beginning_and_its_end():
    assert shortened("building of\none  storey") == "building of one storey"
    short = shortened("roof " + 100 * "x" + " 17")
    assert len(short) == LETTERS and short.startswith("roof x") and short.endswith("x 17")
    assert "..." in short


@pytest.mark.parametrize("count", [0, 1, 8, 9, 20, 21, 60])
def test_every_class_has_its_own_colour(count):
    assert len({to_hex(colour) for colour in class_colours(count)}) == count
