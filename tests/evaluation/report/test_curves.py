import cv2
import numpy as np
import pytest

from evaluation.report.curves import curves_figure, read_rows, training_curves
from evaluation.report.tables import MEASURES
from project.drawing import png_bytes
from project.files import write_rows


def history(steps):
    """Rows of history.csv without normals; losses fall from 100."""
    return [
        {"step": i + 1, "loss": 100 / (i + 1), "height_loss": 90 / (i + 1), "normal_loss": ""}
        for i in range(steps)
    ]


def orange_shapes(path):
    """Counts the separate shapes in the colour of height_loss and rmse."""
    orange = (cv2.imread(str(path))[..., ::-1] == [0xD5, 0x5E, 0x00]).all(axis=-1)
    return cv2.connectedComponents(orange.astype("uint8"))[0] - 1  # less the background


def test_numbers_texts_and_empty_cells_are_distinguished(tmp_path):
    write_rows(tmp_path / "a.csv", [{"step": 1, "loss": 0.5, "normal_loss": None, "note": "x"}])
    assert read_rows(tmp_path / "a.csv") == [
        {"step": 1.0, "loss": 0.5, "normal_loss": None, "note": "x"}
    ]


def test_curves_are_drawn(tmp_path):
    training_curves(tmp_path / "empty.png", [], [])
    validation = [{"step": 10 * i, "rmse": 5 - i, "mae": 3 - i, "miou": None} for i in range(3)]
    training_curves(tmp_path / "full.png", history(30), validation)
    assert orange_shapes(tmp_path / "empty.png") == 0
    assert orange_shapes(tmp_path / "full.png") >= 4  # two curves, two legends


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_short_runs_can_be_drawn(tmp_path, steps):
    rows = history(steps)
    training_curves(tmp_path / "a.png", rows, [{"step": row["step"], "rmse": 2.0} for row in rows])
    assert (orange_shapes(tmp_path / "a.png") > 0) == (steps > 0)


def test_the_one_finite_loss_is_a_visible_point(tmp_path):
    losses = [np.nan, np.inf, 1.0]
    rows = [{"step": step, "height_loss": loss} for step, loss in enumerate(losses)]
    training_curves(tmp_path / "a.png", rows, [])
    assert orange_shapes(tmp_path / "a.png") == 2  # the point and its entry in the legend


def test_legends_have_the_words_of_the_tables_and_hide_no_curve():
    validation = [{"step": i, "rmse": 5.0, "mae": 3.0, "miou": 0.5} for i in range(3)]
    figure = curves_figure(history(30), validation)
    png_bytes(figure, 50)  # lays it out
    losses, errors, shares = figure.axes
    labels = [text.get_text() for text in errors.get_legend().get_texts()]
    assert labels == [MEASURES[("rmse",)], MEASURES[("mae",)]] == ["RMSE (m)", "MAE (m)"]
    assert [text.get_text() for text in shares.get_legend().get_texts()] == ["mIoU"]
    for panel in figure.axes:
        assert not panel.get_legend().get_window_extent().overlaps(panel.get_window_extent())


def test_a_logarithmic_axis_has_plain_numbers():
    figure = curves_figure(history(30), [])
    png_bytes(figure, 50)
    losses = figure.axes[0]
    assert losses.get_yscale() == "log"
    assert {"10", "100"} <= {text.get_text() for text in losses.get_yticklabels()}


def test_rows_that_are_damaged_are_drawn_as_far_as_they_are_numbers(tmp_path):
    text = b"step,loss\n1,2.0\n2,1.0\n"
    rows = []
    for rubbish in (b"\x80\x00\n", b"4,high,,,\n", b"4\n", b"x,1.0\n", b'4,"' + bytes(200_000)):
        for content in (text + rubbish, rubbish + text, rubbish):
            (tmp_path / "history.csv").write_bytes(content)
            rows += read_rows(tmp_path / "history.csv")
    assert {"step": 2.0, "loss": 1.0} in rows
    training_curves(tmp_path / "a.png", rows, rows)
