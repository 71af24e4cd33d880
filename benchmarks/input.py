"""Measures how fast training is fed; benchmarks/README.md has the recorded table.

python -m benchmarks.input makes its files below the folder --files once: Demo's training tiles
(256 x 256 pixels, compressed GeoTIFFs), and one tile of 10,000 x 10,000 pixels made of them. Each
row is measured in a new process; the files themselves may be in the system's file cache.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

SIDE = 10_000  # pixels of the large tile
BATCH = 4
PAUSE = 0.02  # seconds that a consumer works on each batch
ROWS = {  # name: (tiles, cache, passes before the measurement, what is measured)
    "256 px tiles, no cache": ("small", "none", 0, "rate"),
    "256 px tiles, memory": ("small", "memory", 1, "rate"),
    "256 px tiles, disk": ("small", "disk", 1, "rate"),
    "large tile, no cache": ("large", "none", 0, "rate"),
    "large tile, disk": ("large", "disk", 1, "rate"),
    "256 px tiles, no cache, 4 samples every 20 ms": ("small", "none", 0, "waiting"),
    "large tile, disk, 4 samples every 20 ms": ("large", "disk", 1, "waiting"),
}


def make_large_tile(source, folder):
    """Writes the tile of `SIDE` pixels, of the tiles in `source`, side by side, over and over."""
    from osgeo import gdal

    from datasets.rasters.reading import read_raster

    options = ["TILED=YES", "COMPRESS=DEFLATE", "BIGTIFF=YES"]
    for kind, bands, code in (("rgb", 3, gdal.GDT_Byte), ("dsm", 1, gdal.GDT_Float32)):
        path = folder / "large" / "train" / kind / "large.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            continue
        part = path.with_name(".part.tif")
        tiles = [read_raster(file).pixels for file in sorted((source / kind).glob("*.tif"))]
        size = tiles[0].shape[0]
        driver = gdal.GetDriverByName("GTiff")
        raster = driver.Create(str(part), SIDE, SIDE, bands, code, options)
        number = 0
        for row in range(0, SIDE, size):
            for column in range(0, SIDE, size):
                pixels = tiles[number % len(tiles)][: SIDE - row, : SIDE - column]
                raster.WriteArray(pixels.transpose(2, 0, 1), column, row)
                number += 1
        raster = None
        part.rename(path)
    (folder / "large" / "dataset.toml").write_text("gsd = 0.5\ncrop_size = 256\n")


def batches(folder, tiles, cache):
    """Returns (iterator over batches, function that adds the targets, batches of one pass)."""
    import tensorflow as tf

    from datasets.crops.targets import cast_batch, unit_normals
    from runs.start import prepare_data
    from settings.loading import load
    from training.stages.feeding import distributed_batches
    from training.stages.stage import StageRun, mtl_stage

    places = [
        f"--shortcut_path={folder}",
        f"--output_dir={folder / 'output'}",
        "--crop_size=256",
        "--backbone=tiny",
    ]
    names = {"small": "Demo", "large": "large"}
    arguments = [*places, f"--dataset_name={names[tiles]}", f"--batch_size={BATCH}"]
    arguments.append("--backbone=tiny")  # a network is built, but not run
    settings = load("", [*arguments, f"--cache={cache}"])
    data = prepare_data(settings, ("train",))

    @tf.function(jit_compile=True)
    def with_targets(batch):
        batch = cast_batch(batch)
        return batch | {"normals": unit_normals(batch["heights"], data.gsd * batch["gsd_factor"])}

    strategy = tf.distribute.get_strategy()
    run = StageRun.begin(settings, data, strategy, mtl_stage(settings, data, strategy))
    return distributed_batches(run, range(10**6)), with_targets, run.crops.crops // BATCH


def measure(folder, row, seconds):
    """Measures one row in this process; returns its figures."""
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows

    tiles, cache, passes, what = ROWS[row]
    fed, with_targets, one_pass = batches(folder, tiles, cache)
    for _ in range(10 + passes * one_pass):  # the first ones start threads and compile
        with_targets(next(fed))
    pause = PAUSE if what == "waiting" else 0.0
    worked, start, waited, count = time.process_time(), time.perf_counter(), 0.0, 0
    while (spent := time.perf_counter() - start) < seconds:
        asked = time.perf_counter()
        batch = next(fed)
        waited += time.perf_counter() - asked
        with_targets(batch)["normals"].numpy()
        count += 1
        time.sleep(pause)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**20
    return {
        "row": row,
        "samples_per_second": round(count * BATCH / spent),
        "core_ms": round((time.process_time() - worked) / count / BATCH * 1000, 2),
        "waiting": round(waited / spent, 3),
        "peak_mib": round(memory),
    }


def main(arguments=None):
    """Makes the files, measures each row in a process of its own and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", default="output/benchmark_input", help="folder for the files")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--row", choices=ROWS, help="measure this one only, in this process")
    options = parser.parse_args(arguments)
    folder = Path(options.files)
    if options.row:
        print(json.dumps(measure(folder, options.row, options.seconds)))
        return
    from datasets.demo.data_set import ensure_demo

    ensure_demo(folder / "Demo", lambda done, total: None)
    make_large_tile(folder / "Demo" / "train", folder)
    print(f"{os.cpu_count()} cores; batches of {BATCH} samples of 256 px with normals and mask")
    print(f"{'':46} samples/s  core ms/sample  waiting  peak MiB")
    for row in ROWS:
        command = [sys.executable, "-m", "benchmarks.input", f"--files={folder}", f"--row={row}"]
        command.append(f"--seconds={options.seconds}")
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        rate, core_ms = found["samples_per_second"], found["core_ms"]
        waiting = f"{found['waiting']:.1%}" if ROWS[row][3] == "waiting" else "-"
        print(f"{row:46} {rate:9}  {core_ms:14}  {waiting:>7}  {found['peak_mib']:8}")


if __name__ == "__main__":
    main()
