"""The measurements of benchmarks.inference: overlaps, speed, and a large scene."""

import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows

# isort: split
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.shared import seconds
from datasets.rasters.grids import projection_wkt
from datasets.rasters.reading import Grid, read_info
from datasets.rasters.writing import Layer, RowFile
from evaluation.tiles import evaluate_tiles
from models.height_network import make_height_network
from prediction.predictor import Predictor
from prediction.streaming import Windows, blend_weights
from prediction.tiles import make_predictor, predict_maps
from runs.networks import build_stage1, build_stage2, load_networks
from runs.start import prepare_data, start_strategy, tile_reader
from runs.stored import adopt_stored_network
from settings.loading import Settings

OVERLAPS = (0.0, 1 / 4, 0.33, 1 / 2, 2 / 3, 3 / 4, 5 / 6)
PUBLISHED_OVERLAP = 5 / 6
PRODUCT_SIZE = 4096  # rows and columns of the timed matrix product
PRODUCTS = 5


def measure_overlaps(settings: Settings) -> list[dict]:
    """Measures trained weights on a split, with each of `OVERLAPS`."""
    settings = adopt_stored_network(settings)
    strategy = start_strategy(settings)
    split = settings.options.splits
    data = prepare_data(settings, (split,))
    predict = make_predictor(strategy, make_height_network(*load_networks(settings, strategy)))
    read, size = tile_reader(data.record), settings.window_size
    batch = settings.batch_windows * strategy.num_replicas_in_sync
    shapes = [read(tile)["image"].shape[:2] for tile in data.tiles[split]]
    results = []
    for overlap in (0.0, *OVERLAPS):
        maps = partial(
            predict_maps,
            predict=predict,
            window_size=size,
            overlap=overlap,
            batch_windows=batch,
        )
        start = time.perf_counter()
        metrics = evaluate_tiles(data.tiles[split], read, maps, data.record).result()
        row = {
            "overlap": overlap,
            "rmse": metrics["pooled"]["rmse"],
            "windows": sum(Windows(rows, cols, size, overlap).count for rows, cols in shapes),
            "seconds": time.perf_counter() - start,
        }
        results.append(row)
    return results[1:]  # the first one includes compilation


def operations(network: Callable, size: int) -> int:
    """Counts the floating-point operations of the convolutions on one window.

    A multiplication and an addition count as two. In a transposed convolution each input pixel is
    multiplied with the whole kernel.

    Args:
        network: image (1, size, size, 3) -> dict of tensors.
        size: pixels.
    """
    spec = tf.TensorSpec((1, size, size, 3))
    total = 0
    for operation in tf.function(network).get_concrete_function(spec).graph.get_operations():
        if operation.type in ("Conv2D", "Conv2DBackpropInput"):
            forward = operation.type == "Conv2D"
            pixels = operation.outputs[0] if forward else operation.inputs[2]
            total += 2 * np.prod(pixels.shape) * np.prod(operation.inputs[1].shape[:3])
    return int(total)


def matrix_product_rate(dtype: str = "float32") -> float:
    """Returns the speed of a matrix product, operations per second, the best of `PRODUCTS`."""
    values = np.random.default_rng(0).normal(size=(PRODUCT_SIZE, PRODUCT_SIZE))
    matrix = tf.cast(values, dtype)
    product_of = tf.function(lambda a: tf.reduce_sum(tf.matmul(a, a)))
    product_of(matrix).numpy()  # compiles
    times = [seconds(lambda: product_of(matrix).numpy()) for _ in range(PRODUCTS)]
    return 2 * PRODUCT_SIZE**3 / min(times)


def plain_loop(image: np.ndarray, network: Callable, windows: Windows, count: int) -> float:
    """Predicts the first windows of an image as the published code does: eager, one at a time.

    Returns:
        Seconds per window.
    """
    size, weights = windows.size, blend_weights(windows.size)
    total, weight = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    corners = list(product(windows.row_origins, windows.column_origins))[:count]
    start = time.perf_counter()
    for row, column in corners:
        place = np.s_[row : row + size, column : column + size]
        total[place] += network(image[place][None])["heights"].numpy()[0, ..., 0] * weights
        weight[place] += weights
    return (time.perf_counter() - start) / len(corners)


def measure_speed(settings: Settings) -> dict:
    """Times the plain loop, before and after the engine of predict.py, and that engine."""
    strategy = start_strategy(settings)
    with strategy.scope():
        mtl, dae = build_stage1(settings), build_stage2(settings)
    network = make_height_network(mtl, dae)
    predict = make_predictor(strategy, lambda image: {"heights": network(image)["heights"]})
    pixels, size = settings.options.pixels or 1024, settings.window_size
    batch = settings.batch_windows * strategy.num_replicas_in_sync
    image = np.random.default_rng(0).uniform(0, 255, (pixels, pixels, 3)).astype("float32")
    published = Windows(pixels, pixels, size, PUBLISHED_OVERLAP)
    dtype = tf.as_dtype(mtl.compute_dtype).name
    rates, engine = [matrix_product_rate(dtype)], {}
    half = max(1, settings.options.eager_windows // 2)
    plain_loop(image, network, published, 1)  # includes what happens only once
    loops = [plain_loop(image, network, published, half)]
    for overlap in dict.fromkeys((PUBLISHED_OVERLAP, settings.overlap)):
        windows = Windows(pixels, pixels, size, overlap)
        predict_maps(image[: 2 * size, : 2 * size], predict, size, overlap, batch)  # compiles
        spent = seconds(partial(predict_maps, image, predict, size, overlap, batch))
        engine[f"{overlap:.3f}"] = {"windows": windows.count, "seconds": spent}
    loops.append(plain_loop(image, network, published, half))
    rates.append(matrix_product_rate(dtype))
    result = speed_result(engine, operations(network, size), rates, loops, published.count)
    return result | {"dtype": dtype, "pixels": pixels, "batch": batch}


def speed_result(
    engine: dict[str, dict],
    per_window: int,
    rates: Sequence[float],
    loops: Sequence[float],
    windows: int,
) -> dict:
    """Derives ratios and shares from the measurements of `measure_speed`.

    Args:
        engine: `windows` and `seconds` by overlap.
        per_window: operations.
        rates: of the matrix product, operations per second.
        loops: seconds per window of the plain loop.
        windows: number at the published overlap.
    """
    loop, rate = statistics.mean(loops) * windows, max(rates)
    for row in engine.values():
        row["to_plain_loop"] = row["seconds"] / loop
        row["share_of_product"] = row["windows"] * per_window / row["seconds"] / rate
    return {
        "plain_loop": {"windows": windows, "seconds": loop, "per_window": loops},
        "engine": engine,
        "gflop_per_window": per_window / 1e9,
        "product_gflop_per_second": [value / 1e9 for value in rates],
    }


def measure_large_scene(settings: Settings) -> dict:
    """Predicts a large scene of which 90 % has no data."""
    folder = Path(settings.output_dir) / "large"
    folder.mkdir(parents=True, exist_ok=True)
    scene, output = folder / "scene.tif", folder / "heights.tif"
    pixels = settings.options.pixels or 20000
    write_scene(scene, pixels)
    predictor = Predictor(adopt_stored_network(settings))
    loaded = resident_memory("VmRSS")  # the weights, and nothing computed
    predictor.estimate(scene)  # compiles
    reset_peak()
    predictor.estimate(scene)
    network = resident_memory("VmHWM")  # with the features of a batch
    reset_peak()
    spent = seconds(lambda: predictor.predict(scene, output))
    peak = resident_memory("VmHWM")
    return {
        "pixels": pixels,
        "seconds": spent,
        "loaded_gib": loaded,
        "network_gib": network,
        "beyond_loaded_gib": peak - loaded,
        "beyond_network_gib": peak - network,
        "same_place": read_info(output).grid.geotransform == read_info(scene).grid.geotransform,
        "megabytes": output.stat().st_size / 1e6,
    }


def write_scene(path: Path, pixels: int) -> None:
    """Writes a scene of noise in ten squares along the diagonal; the rest has no data."""
    path.unlink(missing_ok=True)
    place = (5e5, 0.5, 0.0, 5e6, 0.0, -0.5)
    layer = Layer("uint8", 0, ("red", "green", "blue"))
    rows = RowFile(path, layer, Grid(pixels, pixels, place, projection_wkt(32632)))
    side, generator = pixels // 10, np.random.default_rng(0)
    for start in range(0, 10 * side, side):
        strip = np.zeros((side, pixels, 3), "uint8")
        strip[:, start : start + side] = generator.integers(1, 256, (side, side, 3))
        rows.write(start, strip)
    rows.close()


def reset_peak() -> None:
    """Restarts the kernel's measurement of this process's peak memory (proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")


def resident_memory(field: str) -> float:
    """Returns GiB of resident memory of this process: VmRSS, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 2**20


PARTS: dict[str, Callable[[Settings], Any]] = {
    "overlap": measure_overlaps,
    "speed": measure_speed,
    "large": measure_large_scene,
}
