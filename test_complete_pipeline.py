"""Benchmark of the whole pipeline: data, model creation, MTL step, DAE step and inference.

Each is timed after warm-up; the table shows the median, the fastest and the slowest. The result
also goes to <output_dir>/<dataset_name>/benchmark.json. GiB is the largest memory of the process
so far, not that of a GPU. Nothing is written to checkpoint_dir.
"""

import resource
import statistics
import time

from settings.loading import fail, load

OPTIONS = (
    (
        "--repeats",
        {"default": 10, "type": int, "metavar": "INT", "help": "timed runs of each phase [10]"},
    ),
)


def timed(function, repeats, warm_up=1):
    """Times a function.

    Returns:
        dict: `first` (seconds of the first call, with compilation), `median`, `fastest`,
        `slowest` of the `repeats` calls after the warm-up, seconds.
    """
    seconds = []
    for _ in range(warm_up + repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    rest = seconds[warm_up:]
    return {
        "first": seconds[0],
        "median": statistics.median(rest),
        "fastest": min(rest),
        "slowest": max(rest),
    }


def peak_memory():
    """Returns the largest resident memory of this process so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def time_training(run, repeats):
    """Times the training step of a `StageRun` on one batch."""
    from training.stages.feeding import distributed_batches
    from training.stages.step import compile_step

    step, _ = compile_step(run)
    batch = next(distributed_batches(run, range(1)))
    times = timed(lambda: float(step(batch)["loss"]), repeats)
    return times | {"samples": run.plan.global_batch_size}


def run_phases(settings, repeats):
    """Runs the five phases; yields (name, dict of seconds and samples per run) of each."""
    from prediction.tiles import make_predictor, predict_maps
    from runs.start import prepare_data, start_strategy, tile_reader
    from training.stages.feeding import distributed_batches
    from training.stages.stage import StageRun, dae_stage, mtl_stage

    strategy = start_strategy(settings)
    data = prepare_data(settings, ("train",))
    mtl = StageRun.begin(settings, data, strategy, mtl_stage(settings, data, strategy))
    # Ten batches a run, so that what was read ahead during the warm-up does not count.
    steps = range(10 * (repeats + 1))
    batches = distributed_batches(mtl, steps)
    reading = timed(lambda: [next(batches) for _ in range(10)], repeats)
    yield "data, ten batches", reading | {"samples": 10 * mtl.plan.global_batch_size}
    yield "model creation", timed(lambda: dae_stage(settings, strategy, trained=False), 2)
    yield "MTL step", time_training(mtl, repeats)
    dae = StageRun.begin(settings, data, strategy, dae_stage(settings, strategy, trained=False))
    yield "DAE step", time_training(dae, repeats)
    predict = make_predictor(strategy, dae.stage.height_network)
    image = tile_reader(data.record)(data.tiles["train"][0])["image"]
    batch = settings.batch_windows * strategy.num_replicas_in_sync
    inference = timed(
        lambda: predict_maps(image, predict, settings.window_size, settings.overlap, batch), repeats
    )
    yield "MTL + DAE on a tile", inference | {"samples": 1}


def main(arguments=None):
    settings = load(__doc__, arguments, OPTIONS)
    repeats = settings.options.repeats
    if repeats < 1:
        fail(f"--repeats={repeats}: expected 1 or more.")
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    from commands.errors import clear_errors
    from project.files import write_json
    from runs.folders import output_folder

    table = {}
    columns = ("first s", "median s", "fastest", "slowest", "per s")
    print(f"{'phase':<20} {' '.join(f'{column:>9}' for column in columns)}    GiB")
    with clear_errors():
        for name, row in run_phases(settings, repeats):
            table[name] = row | {"peak_memory_gib": peak_memory()}
            times = " ".join(f"{row[k]:9.3f}" for k in ("first", "median", "fastest", "slowest"))
            rate = f"{row['samples'] / row['median']:9.1f}" if "samples" in row else " " * 9
            print(f"{name:<20} {times} {rate} {peak_memory():6.1f}", flush=True)
    path = output_folder(settings, "benchmark.json")
    write_json(path, {"phases": table, "repeats": repeats, "settings": settings.values})
    print(f"Written to {path}")


if __name__ == "__main__":
    main()
