"""Measures how fast training is fed; benchmarks/README.md has the recorded table.

python -m benchmarks.input creates its files below the folder --files once: Demo's training tiles
(256 x 256 pixels, compressed GeoTIFFs), and one tile of 10,000 x 10,000 pixels assembled from them.
Each row is measured in a new process; the files may be in the file cache of the system.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, product
from pathlib import Path

from benchmarks.shared import MeasurementError, in_a_process, process_memory

SIDE = 10_000  # pixels of the large tile
BATCH = 4
PAUSE = 0.02  # seconds that a consumer works on each batch
ROWS = {  # name: (data set, cache, passes before the measurement, what is measured)
    "256 px tiles, no cache": ("Demo", "none", 0, "rate"),
    "256 px tiles, memory": ("Demo", "memory", 1, "rate"),
    "256 px tiles, disk": ("Demo", "disk", 1, "rate"),
    "large tile, no cache": ("large", "none", 0, "rate"),
    "large tile, disk": ("large", "disk", 1, "rate"),
    "256 px tiles, no cache, 4 samples every 20 ms": ("Demo", "none", 0, "waiting"),
    "large tile, disk, 4 samples every 20 ms": ("large", "disk", 1, "waiting"),
}


def make_large_tile(source: Path, folder: Path) -> None:
    """Writes the tile of `SIDE` pixels: the tiles in `source` side by side, over and over."""
    from osgeo import gdal

    from datasets.rasters.reading import read_raster
    from project.files import whole_file

    options = ["TILED=YES", "COMPRESS=DEFLATE", "BIGTIFF=YES"]
    for kind, bands, code in (("rgb", 3, gdal.GDT_Byte), ("dsm", 1, gdal.GDT_Float32)):
        path = folder / "large" / "train" / kind / "large.tif"
        if path.is_file():
            continue
        tiles = [read_raster(file).pixels for file in sorted((source / kind).glob("*.tif"))]
        corners = product(range(0, SIDE, tiles[0].shape[0]), repeat=2)
        with whole_file(path) as part:
            driver = gdal.GetDriverByName("GTiff")
            raster = driver.Create(str(part), SIDE, SIDE, bands, code, options)
            for (row, column), tile in zip(corners, cycle(tiles), strict=False):
                pixels = tile[: SIDE - row, : SIDE - column]
                raster.WriteArray(pixels.transpose(2, 0, 1), column, row)
            raster = None
    (folder / "large" / "dataset.toml").write_text("gsd = 0.5\ncrop_size = 256\n")


def batches(folder: Path, dataset_name: str, cache: str) -> tuple[Iterator, Callable, int]:
    """Returns (iterator over batches, function that adds the targets, batches of one pass)."""
    import tensorflow as tf

    from datasets.crops.targets import cast_batch, unit_normals
    from runs.start import prepare_data
    from settings.loading import load
    from training.stages.feeding import distributed_batches
    from training.stages.stage import StageRun, mtl_stage

    arguments = [
        f"--shortcut_path={folder}",
        f"--output_dir={folder / 'output'}",
        f"--dataset_name={dataset_name}",
        f"--cache={cache}",
        f"--batch_size={BATCH}",
        "--crop_size=256",
        "--backbone=tiny",  # a network is built, but not run
    ]
    settings = load("", arguments)
    data = prepare_data(settings, ("train",))

    @tf.function(jit_compile=True)
    def with_targets(batch):
        batch = cast_batch(batch)
        return batch | {"normals": unit_normals(batch["heights"], data.gsd * batch["gsd_factor"])}

    strategy = tf.distribute.get_strategy()
    run = StageRun.begin(settings, data, strategy, mtl_stage(settings, data, strategy))
    return distributed_batches(run, range(10**6)), with_targets, run.crops.crops // BATCH


def measure(folder: Path, row: str, seconds: float) -> dict:
    """Measures one of `ROWS` in this process."""
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows

    dataset_name, cache, passes, what = ROWS[row]
    fed, with_targets, one_pass = batches(folder, dataset_name, cache)
    for _ in range(10 + passes * one_pass):  # the first ones start threads and compile
        with_targets(next(fed))
    worked, start, waited, count = time.process_time(), time.perf_counter(), 0.0, 0
    while (spent := time.perf_counter() - start) < seconds:
        asked = time.perf_counter()
        batch = next(fed)
        waited += time.perf_counter() - asked
        with_targets(batch)["normals"].numpy()
        count += 1
        time.sleep(PAUSE if what == "waiting" else 0.0)
    return {
        "row": row,
        "samples_per_second": round(count * BATCH / spent),
        "core_ms": round((time.process_time() - worked) / count / BATCH * 1000, 2),
        "waiting": round(waited / spent, 3),
        "peak_mib": round(process_memory() * 1024),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Creates the files, measures each row in a process of its own and prints the table."""
    # Without the line of usage, --help begins with the purpose.
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, description=__doc__)
    parser.add_argument("--files", default="output/benchmark_input", help="folder for the files")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--row", choices=ROWS, help="measure only this one, in this process")
    options = parser.parse_args(arguments)
    folder = Path(options.files)
    if options.row:
        print(json.dumps(measure(folder, options.row, options.seconds)))
        return
    from datasets.demo.data_set import ensure_demo

    ensure_demo(folder / "Demo")
    make_large_tile(folder / "Demo" / "train", folder)
    print(f"{os.cpu_count()} cores; batches of {BATCH} samples of 256 px with normals and mask")
    print(f"{'':46} samples/s  core ms/sample  waiting  peak MiB")
    for row in ROWS:
        try:
            found = in_a_process(
                "benchmarks.input", {"files": folder, "row": row, "seconds": options.seconds}
            )
        except MeasurementError as error:
            sys.exit(f"error: {error}")
        waiting = f"{found['waiting']:.1%}" if ROWS[row][3] == "waiting" else "-"
        print(
            f"{row:46} {found['samples_per_second']:9}  {found['core_ms']:14}  {waiting:>7}  "
            f"{found['peak_mib']:8}"
        )


if __name__ == "__main__":
    main()
