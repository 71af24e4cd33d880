import numpy as np
import pytest

from datasets.demo.canvas import BUILDING, Canvas, Rect, smooth_noise


@pytest.fixture
def canvas():
    """20 x 20 m of level ground at 0.5 m."""
    level = np.zeros((40, 40), "float32")
    return Canvas(level, 0.5, level)


def test_a_painted_rectangle_covers_its_place(canvas):
    canvas.paint(Rect(10, 5, 0.0, 4, 2), [1, 0, 0])
    rows, columns = np.nonzero(canvas.colours[..., 0] == 1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 11, 16, 23)


def test_a_quarter_turn_exchanges_length_and_width(canvas):
    _, lying = canvas.inside(Rect(10, 10, 0.0, 6, 2))
    _, standing = canvas.inside(Rect(10, 10, np.pi / 2, 6, 2))
    assert lying.sum() == standing.sum() == 6 * 2 * 4
    np.testing.assert_array_equal(lying, standing.T)


def test_turned_is_the_same_area(canvas):
    rect = Rect(10, 10, 0.4, 6, 2)
    np.testing.assert_array_equal(canvas.inside(rect)[1], canvas.inside(rect.turned())[1])


def test_a_part_is_rotated_with_its_rectangle():
    part = Rect(10, 10, np.pi / 2, 6, 2).part(2, 1, 1, 1)
    assert (part.x, part.y) == pytest.approx((9, 12))  # along runs south, across west


def test_a_place_is_claimed_once_with_its_margin(canvas):
    assert canvas.claim(Rect(5, 5, 0.0, 4, 4), 1.0)
    assert not canvas.claim(Rect(9.4, 5, 0.0, 4, 4), 0.0)
    assert canvas.claim(Rect(11, 5, 0.0, 4, 4), 0.0)


def test_what_is_higher_stays(canvas):
    window = (slice(0, 1), slice(0, 2))
    canvas.raise_to(window, np.array([[5.0, -np.inf]]), BUILDING, [1, 1, 1])
    canvas.raise_to(window, np.array([[4.0, 4.0]]), BUILDING, [0, 0, 0])
    np.testing.assert_array_equal(canvas.heights[0, :2], [5, 4])
    np.testing.assert_array_equal(canvas.colours[0, :2, 0], [1, 0])


def test_beyond_the_canvas_nothing_is_painted(canvas):
    before = canvas.colours.copy()
    canvas.paint(Rect(-30, 60, 0.3, 8, 8), [1, 0, 0])
    np.testing.assert_array_equal(canvas.colours, before)


def test_noise_has_deviation_one_and_is_smooth():
    noise = smooth_noise(np.random.default_rng(0), (300, 200), 4)
    assert noise.shape == (300, 200)
    assert noise.std() == pytest.approx(1, abs=0.1)
    assert np.diff(noise, axis=0).std() < 0.5  # white noise: 1.4
