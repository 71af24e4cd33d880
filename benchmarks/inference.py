"""Measures how scenes are predicted: --part=overlap, speed or large; see benchmarks/README.md.

overlap: trained weights on a split, for several overlaps: pooled RMSE, windows, seconds. speed: the
published way (a plain loop over windows, eager, one at a time) against predict.py's, and its share
of this machine's matrix product; the weights are random. large: trained weights on a scene of
--pixels, 90 % of it without data: seconds, memory beyond the network and beyond a batch.
"""

import statistics
import time
from itertools import product
from pathlib import Path

import numpy as np

from datasets.records.record import SPLITS
from project.files import write_json
from settings.loading import load_named

PARTS = ("overlap", "speed", "large")
OPTIONS = (
    ("--part", {"choices": PARTS, "required": True, "help": "what to measure"}),
    ("--splits", {"default": "test", "choices": SPLITS, "help": "of part overlap [test]"}),
    ("--pixels", {"type": int, "metavar": "INT", "help": "sides of the scene [1024; 20000]"}),
    (
        "--eager_windows",
        {"default": 20, "type": int, "metavar": "INT", "help": "timed of the plain loop [20]"},
    ),
    # What evaluation of a scene asks its options for.
    ("--outputs", {"default": "", "metavar": "LIST", "help": "of predict.py"}),
    ("--sar", {"metavar": "FILE", "help": "of predict.py"}),
)
OVERLAPS = (0.0, 1 / 4, 0.33, 1 / 2, 2 / 3, 3 / 4, 5 / 6)
PUBLISHED_OVERLAP = 5 / 6
TOLERANCE = 0.01  # share of the RMSE at the published overlap
PRODUCT_SIZE = 4096  # rows and columns of the timed matrix product
PRODUCTS = 5


def overlap_rows(settings, overlaps=OVERLAPS):
    """Measures trained weights on a split; returns a list of dict, one per overlap."""
    from evaluation.tiles import evaluate_tiles
    from models.height_network import make_height_network
    from prediction.tiles import make_predictor, predict_maps
    from prediction.streaming import Windows
    from runs.networks import load_networks
    from runs.start import prepare_data, start_strategy, tile_reader
    from runs.stored import adopt_stored_network

    settings = adopt_stored_network(settings)
    strategy = start_strategy(settings)
    split = settings.options.splits
    data = prepare_data(settings, (split,))
    predict = make_predictor(strategy, make_height_network(*load_networks(settings, strategy)))
    read, size = tile_reader(data.record), settings.window_size
    batch = settings.batch_windows * strategy.num_replicas_in_sync
    shapes = [read(tile)["image"].shape[:2] for tile in data.tiles[split]]

    def measure(overlap):
        def maps(image):
            return predict_maps(image, predict, size, overlap, batch)

        start = time.perf_counter()
        metrics = evaluate_tiles(data.tiles[split], read, maps, data.record).result()
        seconds = time.perf_counter() - start
        windows = sum(Windows(*shape, size, overlap).count for shape in shapes)
        return {
            "overlap": overlap,
            "rmse": metrics["pooled"]["rmse"],
            "windows": windows,
            "seconds": seconds,
        }

    measure(0.0)  # compiles
    return [measure(overlap) for overlap in overlaps]


def smallest_overlap(rows, tolerance=TOLERANCE):
    """Returns the smallest overlap whose RMSE is within a share of that of the largest."""
    rows = sorted(rows, key=lambda row: row["overlap"])
    limit = rows[-1]["rmse"] * (1 + tolerance)
    return next(row["overlap"] for row in rows if row["rmse"] <= limit)


def overlap_table(rows):
    """Lays the rows of `overlap_rows` out as a Markdown table."""
    best = max(rows, key=lambda row: row["overlap"])["rmse"]
    lines = ["| overlap | RMSE (m) | to the published | windows | s |"]
    lines.append("| ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        cells = [f"{row['overlap']:.3f}", f"{row['rmse']:.4f}", f"{row['rmse'] / best - 1:+.2%}"]
        cells += [str(row["windows"]), f"{row['seconds']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def operations(network, size):
    """Counts the floating-point operations of the convolutions on one window.

    Two per multiplication and addition; of a transposed convolution each input pixel meets the
    whole kernel.

    Args:
        network: function (image (1, size, size, 3)) -> dict of tensors.
        size: int, pixels.
    """
    import tensorflow as tf

    spec = tf.TensorSpec((1, size, size, 3))
    total = 0
    for operation in tf.function(network).get_concrete_function(spec).graph.get_operations():
        if operation.type == "Conv2D":
            total += (
                2 * np.prod(operation.outputs[0].shape) * np.prod(operation.inputs[1].shape[:3])
            )
        if operation.type == "Conv2DBackpropInput":
            total += 2 * np.prod(operation.inputs[2].shape) * np.prod(operation.inputs[1].shape[:3])
    return int(total)


def matrix_product_rate(dtype="float32"):
    """Measures this machine's matrix product; returns operations per second, the best of some."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    matrix = tf.cast(generator.normal(size=(PRODUCT_SIZE, PRODUCT_SIZE)), dtype)
    product_of = tf.function(lambda a: tf.reduce_sum(tf.matmul(a, a)))
    product_of(matrix).numpy()  # compiles
    times = [_seconds(lambda: product_of(matrix).numpy()) for _ in range(PRODUCTS)]
    return 2 * PRODUCT_SIZE**3 / min(times)


def plain_loop(image, network, windows, count):
    """Predicts the first windows of an image as the published code does: eager, one at a time.

    Returns:
        float, seconds per window.
    """
    from prediction.streaming import blend_weights

    size, weights = windows.size, blend_weights(windows.size)
    total, weight = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    corners = list(product(windows.row_origins, windows.column_origins))[:count]
    start = time.perf_counter()
    for row, column in corners:
        place = np.s_[row : row + size, column : column + size]
        total[place] += network(image[place][None])["heights"].numpy()[0, ..., 0] * weights
        weight[place] += weights
    return (time.perf_counter() - start) / len(corners)


def speed(settings):
    """Times the plain loop, before and after, and the engine; returns a dict."""
    import tensorflow as tf

    from models.height_network import make_height_network
    from prediction.tiles import make_predictor, predict_maps
    from prediction.streaming import Windows
    from runs.networks import build_stage1, build_stage2
    from runs.start import start_strategy

    strategy = start_strategy(settings)
    with strategy.scope():
        mtl, dae = build_stage1(settings), build_stage2(settings)
    network = make_height_network(mtl, dae)
    predict = make_predictor(strategy, lambda image: {"heights": network(image)["heights"]})
    pixels, size = settings.options.pixels or 1024, settings.window_size
    batch = settings.batch_windows * strategy.num_replicas_in_sync
    generator = np.random.default_rng(0)
    image = generator.uniform(0, 255, (pixels, pixels, 3)).astype("float32")
    published = Windows(pixels, pixels, size, PUBLISHED_OVERLAP)
    dtype = tf.as_dtype(mtl.compute_dtype).name
    rates, loops, engine = [matrix_product_rate(dtype)], [], {}
    half = max(1, settings.options.eager_windows // 2)
    plain_loop(image, network, published, 1)  # what happens once
    loops.append(plain_loop(image, network, published, half))
    for overlap in dict.fromkeys((PUBLISHED_OVERLAP, settings.overlap)):
        windows = Windows(pixels, pixels, size, overlap)
        predict_maps(image[: 2 * size, : 2 * size], predict, size, overlap, batch)  # compiles
        seconds = _seconds(lambda o=overlap: predict_maps(image, predict, size, o, batch))
        engine[f"{overlap:.3f}"] = {"windows": windows.count, "seconds": seconds}
    loops.append(plain_loop(image, network, published, half))
    rates.append(matrix_product_rate(dtype))
    return _speed_result(engine, operations(network, size), rates, loops, published.count) | {
        "dtype": dtype,
        "pixels": pixels,
        "batch": batch,
    }


def _speed_result(engine, per_window, rates, loops, windows):
    """Derives ratios and shares from what `speed` has measured."""
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


def large(settings):
    """Predicts a large scene with little data in it; returns a dict."""
    from datasets.rasters.reading import read_info
    from prediction.predictor import Predictor
    from runs.stored import adopt_stored_network

    folder = Path(settings.output_dir) / "large"
    folder.mkdir(parents=True, exist_ok=True)
    scene, output = folder / "scene.tif", folder / "heights.tif"
    pixels = settings.options.pixels or 20000
    _make_scene(scene, pixels)
    predictor = Predictor(adopt_stored_network(settings))
    loaded = _resident("VmRSS")  # the weights, and nothing computed
    predictor.estimate(scene)  # compiles
    _reset_peak()
    predictor.estimate(scene)
    network = _resident("VmHWM")  # with the features of a batch
    _reset_peak()
    seconds = _seconds(lambda: predictor.predict(scene, output))
    peak = _resident("VmHWM")
    place = read_info(output).grid.geotransform == read_info(scene).grid.geotransform
    return {
        "pixels": pixels,
        "seconds": seconds,
        "loaded_gib": loaded,
        "network_gib": network,
        "beyond_loaded_gib": peak - loaded,
        "beyond_network_gib": peak - network,
        "same_place": place,
        "megabytes": output.stat().st_size / 1e6,
    }


def _make_scene(path, pixels):
    """Writes a scene of noise in ten squares along the diagonal; the rest has no data."""
    from datasets.rasters.grids import projection_wkt
    from datasets.rasters.reading import Grid
    from datasets.rasters.writing import Layer, RowFile

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


def _reset_peak():
    """Lets the kernel count the peak of this process' memory from here on (proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")


def _resident(field):
    """Returns GiB of resident memory of this process: VmRSS, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 2**20


def _seconds(function):
    """Returns how long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main(arguments=None):
    settings = load_named(__doc__, arguments, OPTIONS)
    part = settings.options.part
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    from commands.errors import clear_errors

    with clear_errors():
        result = {"overlap": overlap_rows, "speed": speed, "large": large}[part](settings)
    path = Path(settings.output_dir) / settings.dataset_name / f"inference_{part}.json"
    write_json(path, {"result": result, "settings": settings.values})
    if part == "overlap":
        print(f"{overlap_table(result)}\nSmallest within 1 %: {smallest_overlap(result):.3f}")
    else:
        print("\n".join(f"{name}: {value}" for name, value in result.items()))
    print(f"Written to {path}")


if __name__ == "__main__":
    main()
