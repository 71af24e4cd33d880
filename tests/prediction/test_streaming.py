import tracemalloc
from itertools import product

import numpy as np
import pytest
import tensorflow as tf

from models.dae import build_dae, dae_channels
from models.height_network import make_height_network
from models.mtl import NetworkOptions, build_mtl
from prediction.streaming import (
    Windows,
    band_bytes,
    blend_weights,
    stream_windows,
    window_origins,
)
from prediction.tiles import make_predictor, predict_tile


def noisy(batch):
    """A network that sees the whole window: another value in each window and pixel."""
    mean = batch.mean(axis=(1, 2, 3), keepdims=True)
    return {"heights": (batch[..., :1] * mean + np.sin(batch[..., 1:2] * mean)).astype("float32")}


class Scene:
    """An image in memory that keeps account of what is read and written of it."""

    def __init__(self, rows, columns, gap=None, seed=3):
        generator = np.random.default_rng(seed)
        self.image = generator.uniform(0, 255, (rows, columns, 3)).astype("float32")
        self.valid = np.ones((rows, columns), bool)
        if gap:
            self.valid[gap] = False
        self.heights = np.full((rows, columns), np.nan, "float32")
        self.reads, self.writes = [], []

    def read(self, row, rows):
        self.reads.append((row, rows))
        return self.image[row : row + rows], self.valid[row : row + rows]

    def write(self, row, values, valid):
        self.writes.append((row, len(valid)))
        np.testing.assert_array_equal(valid, self.valid[row : row + len(valid)])
        if values:
            self.heights[row : row + len(valid)] = values["heights"][..., 0]

    def stream(self, overlap=0.5, network=noisy, size=16, batch=3, finished_rows=0):
        windows = Windows(*self.valid.shape, size, overlap)
        stream_windows(windows, self.read, network, self.write, batch, finished_rows)
        return self.heights


def test_published_overlap_agrees_with_a_direct_computation():
    options = NetworkOptions("tiny", 0.02, decoder_norm="batch", decoder_skips=True)
    mtl, dae = build_mtl(options, 2), build_dae(dae_channels(2), options)
    network, scene = make_height_network(mtl, dae), Scene(56, 45)
    total, weight = np.zeros((56, 45)), np.zeros((56, 45))
    axis = np.linspace(-1, 1, 32)
    gauss = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * 0.2**2))
    for r, c in product([0, 5, 10, 15, 20, 24], [0, 5, 10, 13]):  # every 32 / 6 px, to the border
        heights = network(scene.image[None, r : r + 32, c : c + 32])["heights"].numpy()
        total[r : r + 32, c : c + 32] += gauss * heights[0, ..., 0]
        weight[r : r + 32, c : c + 32] += gauss

    predict = make_predictor(tf.distribute.get_strategy(), network)
    blended = predict_tile(scene.image, predict, 32, 5 / 6, 8)["heights"][..., 0]
    assert np.ptp(blended) > 0.01
    np.testing.assert_allclose(blended, total / weight, rtol=0, atol=1e-4)


def test_rows_are_read_once_and_written_once_in_order():
    scene = Scene(50, 40)
    assert np.isfinite(scene.stream()).all()
    # windows at rows 0, 8, 16, 24, 32, 34: a window first, then a step at a time
    assert scene.reads == [(0, 16), (16, 8), (24, 8), (32, 8), (40, 8), (48, 2)]
    assert scene.writes == [(0, 8), (8, 8), (16, 8), (24, 8), (32, 2), (34, 16)]


def test_memory_does_not_grow_with_the_rows():
    low, high = Windows(100, 400, 32, 0.5), Windows(2**31, 400, 32, 0.5)
    assert band_bytes(low, 3, 1) == band_bytes(high, 3, 1) == 4 * 32 * 400 * (9 + 8)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 5 / 6])
def test_no_more_memory_is_taken_than_stated(overlap):
    windows, depth = Windows(160, 5000, 32, overlap), 10

    def network(batch):
        return {"semantics": np.ones((*batch.shape[:3], depth), "float32")}

    def read(row, rows):
        return np.zeros((rows, 5000, 3), "float32"), np.ones((rows, 5000), bool)

    def write(row, values, valid):
        np.where(valid[..., None], values["semantics"], np.float32(-9999))

    tracemalloc.start()
    stream_windows(windows, read, network, write, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.5 < peak / band_bytes(windows, 3, depth) < 1


@pytest.mark.parametrize("finished", [1, 8, 9, 17, 34, 49])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 5 / 6])
def test_resuming_gives_the_same_bits(finished, overlap):
    scene = Scene(50, 40, np.s_[10:30, :25])
    whole = scene.stream(overlap).copy()
    rest = Scene(50, 40, np.s_[10:30, :25])
    rest.stream(overlap, finished_rows=finished)
    np.testing.assert_array_equal(rest.heights[finished:], whole[finished:])
    assert np.isnan(rest.heights[:finished]).all()


def test_nothing_is_left_to_do_after_the_last_row():
    scene = Scene(50, 40)
    scene.stream(finished_rows=50)
    assert not scene.reads and not scene.writes


def test_windows_without_data_are_left_out():
    seen = []

    def count(batch):
        seen.append(len(batch))
        return noisy(batch)

    scene = Scene(64, 64, np.s_[:32])  # the upper half
    heights = scene.stream(0.0, count, batch=8)
    assert seen == [4, 4]  # of four rows of four windows the lower two
    assert np.isnan(heights[:32]).all() and np.isfinite(heights[32:]).all()


def test_every_valid_pixel_has_a_value_beside_a_gap():
    scene = Scene(64, 64, np.s_[5:60, 5:60])
    full = Scene(64, 64).stream()
    heights = scene.stream()
    assert (heights[scene.valid] != 0).all()
    np.testing.assert_array_equal(heights[:2, :2], full[:2, :2])


def test_batches_do_not_cross_rows_of_windows():
    sizes = []

    def count(batch):
        sizes.append(len(batch))
        return noisy(batch)

    Scene(32, 64).stream(0.0, count, batch=3)
    assert sizes == [3, 1, 3, 1]


def test_windows_are_counted_whether_computed_or_left_out():
    scene, told = Scene(64, 64, np.s_[:32]), []
    windows = Windows(64, 64, 16, 0.0)
    stream_windows(windows, scene.read, noisy, scene.write, 3, advance=told.append)
    assert sum(told) == windows.count == 16


@pytest.mark.parametrize("overlap", [0.25, 0.5, 5 / 6])
def test_a_smooth_scene_has_no_jump_at_the_borders_of_windows(overlap):
    ramp = np.linspace(0, 25, 100, dtype="float32")  # a quarter of a metre per pixel

    def wrong_at_the_border(batch):
        """Adds up to a metre of error towards the border of each window, as networks do."""
        axis = np.linspace(-1, 1, batch.shape[1])
        error = np.maximum(np.abs(axis)[:, None], np.abs(axis))[None, ..., None] ** 2
        return {"heights": batch[..., :1] + error.astype("float32")}

    image = np.broadcast_to(ramp[None, :, None], (100, 100, 3)).copy()
    heights = predict_tile(image, wrong_at_the_border, 32, overlap, 4)["heights"][..., 0]
    inner = heights[16:-16, 16:-16]
    across, along = np.diff(inner, axis=1) - ramp[1], np.diff(inner, axis=0)
    # Side by side the windows would jump by up to a metre at their borders.
    assert max(np.abs(across).max(), np.abs(along).max()) < 0.2


@pytest.mark.parametrize(
    ("thread", "row"), [("read", 0), ("read", 48), ("write", 0), ("write", 34)]
)
def test_errors_of_the_threads_come_out(thread, row):
    scene = Scene(50, 40)
    working = getattr(scene, thread)

    def broken(first, *others):
        if first == row:
            raise OSError("disk full")
        return working(first, *others)

    setattr(scene, thread, broken)
    with pytest.raises(OSError, match="disk full"):
        scene.stream()


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
