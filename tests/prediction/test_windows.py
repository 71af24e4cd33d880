import numpy as np
import pytest

from prediction.tiles import predict_tile
from prediction.windows import Windows, blend_weights, window_origins


def ramp_image(rows, columns):
    """Bands: row number, column number, zero; float32 (rows, columns, 3)."""
    row, column = np.mgrid[:rows, :columns]
    return np.stack([row, column, np.zeros_like(row)], axis=-1).astype("float32")


def first_bands(windows):
    """A network that returns its first two input bands as heights and its third as classes."""
    return {"height": windows[..., :2], "semantic": windows[..., 2:]}


def test_last_window_ends_at_the_border():
    assert window_origins(10, 4, 3) == [0, 3, 6]
    assert window_origins(11, 4, 3) == [0, 3, 6, 7]


@pytest.mark.parametrize(
    ("size", "overlap", "step"),
    # int(crop / 6) of the published code; overlaps that binary fractions miss
    [(256, 5 / 6, 42), (320, 5 / 6, 53), (256, 0.75, 64), (320, 0.9, 32), (96, 1 / 3, 64)],
)
def test_steps_are_rounded_down(size, overlap, step):
    assert Windows(1024, 1024, size, overlap).step == step


def test_a_scene_has_as_many_windows_as_the_published_code_cuts():
    assert Windows(1024, 1024, 256, 5 / 6).count == 400


def test_one_window_where_it_covers_the_axis():
    assert window_origins(4, 4, 3) == [0]
    assert window_origins(2, 4, 3) == [0]


@pytest.mark.parametrize("arguments", [(10, 4, 5), (10, 4, 0), (0, 4, 3)])
def test_origins_with_gaps_are_refused(arguments):
    with pytest.raises(ValueError, match="step"):
        window_origins(*arguments)


def test_weights_are_the_published_gaussian():
    weights = blend_weights(5)  # grid -1, -0.5, 0, 0.5, 1
    assert weights.dtype == np.float32
    assert weights[2, 2] == 1.0
    np.testing.assert_allclose(weights[2, 3], np.exp(-0.25 / 0.08), rtol=1e-6)
    np.testing.assert_allclose(weights[0, 4], np.exp(-2 / 0.08), rtol=1e-6)


@pytest.mark.parametrize(("window", "sigma"), [(1, 0.2), (2, 0.2), (64, 0.01)])
def test_weights_are_positive(window, sigma):
    assert (blend_weights(window, sigma) > 0).all()


def test_constant_prediction_stays_constant():
    def constant(windows):
        return {"height": np.full((*windows.shape[:3], 1), 7.3, "float32")}

    result = predict_tile(ramp_image(37, 50), constant, 16, 5 / 6, 8)["height"]
    assert result.shape == (37, 50, 1)
    np.testing.assert_allclose(result, 7.3, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(37, 50), (16, 16), (5, 7), (5, 50), (37, 7), (1, 1)])
def test_every_value_returns_to_its_own_place(size):
    result = predict_tile(ramp_image(*size), first_bands, 16, 0.5, 3)
    np.testing.assert_allclose(result["height"], ramp_image(*size)[..., :2], atol=1e-4)
    assert result["semantic"].shape == (*size, 1)


def test_blend_is_the_weighted_mean_of_the_windows():
    calls = iter([10.0, 20.0])  # the first window says 10, the second 20

    def numbered(windows):
        return {"height": np.full((*windows.shape[:3], 1), next(calls))}

    result = predict_tile(np.zeros((4, 6, 3), "float32"), numbered, 4, 0.5, 1)["height"]
    # Column 2 is column 2 of the first window (grid 1/3) and column 0 of the second (grid -1).
    near, far = np.exp(-1 / 9 / 0.08), np.exp(-1 / 0.08)
    np.testing.assert_allclose(result[0, 2, 0], (10 * near + 20 * far) / (near + far), rtol=1e-6)
    np.testing.assert_array_equal(result[:, :2], np.full((4, 2, 1), 10.0))
    np.testing.assert_allclose(result[:, 4:], 20.0, rtol=1e-6)


def test_small_image_is_mirrored_around_its_middle():
    seen = []

    def remember(windows):
        seen.append(windows)
        return first_bands(windows)

    predict_tile(ramp_image(4, 2), remember, 4, 0.0, 1)
    np.testing.assert_array_equal(seen[0][0, 0, :, 1], [0, 0, 1, 1])


def test_batches_hold_at_most_batch_windows():
    sizes = []

    def count(windows):
        sizes.append(len(windows))
        return first_bands(windows)

    predict_tile(ramp_image(8, 20), count, 8, 0.5, 3)  # origins 0, 4, 8, 12 along the columns
    assert sizes == [3, 1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"overlap": 1.0}, "overlap"),
        ({"window_size": 0}, "window_size"),
        ({"batch_windows": 0}, "batch_windows"),
    ],
)
def test_wrong_arguments_are_named(changed, message):
    arguments = {"window_size": 8, "overlap": 0.5, "batch_windows": 2} | changed
    with pytest.raises(ValueError, match=message):
        predict_tile(ramp_image(8, 8), first_bands, **arguments)


def test_image_without_bands_is_refused():
    with pytest.raises(ValueError, match=r"\(8, 8\)"):
        predict_tile(np.zeros((8, 8), "float32"), first_bands, 8, 0.5, 2)


def test_output_of_another_size_is_named():
    with pytest.raises(ValueError, match="'height'.*per pixel"):
        predict_tile(ramp_image(8, 8), lambda w: {"height": w[:, ::2]}, 8, 0.5, 2)
