"""Benchmark of the whole pipeline: data, model creation, MTL step, DAE step and inference.

Each phase is timed after a warm-up. The table shows the median, the fastest and the slowest run,
and as GiB the largest memory of the process so far, without that of GPUs. The result is also
written to <output_dir>/<dataset_name>/benchmark.json. Nothing is written to checkpoint_dir.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import project.interrupts  # noqa: F401  first, so that Ctrl-C ends the imports in one line
from benchmarks.shared import process_memory, seconds, write_result
from commands.options import option, whole
from settings.loading import Settings, load

if TYPE_CHECKING:
    from training.stages.stage import StageRun

OPTIONS = (option("--repeats", whole(1), "INT", "timed runs of each phase [10]", 10),)
COLUMNS = ("first", "median", "fastest", "slowest")


def timed(function: Callable[[], object], repeats: int) -> dict[str, float]:
    """Times a function.

    Returns:
        Seconds: `first` of a first call, with compilation; `median`, `fastest` and `slowest` of
        the `repeats` calls that follow.
    """
    first, *rest = [seconds(function) for _ in range(1 + repeats)]
    return dict(zip(COLUMNS, (first, statistics.median(rest), min(rest), max(rest)), strict=True))


def time_training(run: "StageRun", repeats: int) -> dict[str, float]:
    """Times the training step of a run on one batch."""
    from training.stages.feeding import distributed_batches
    from training.stages.step import compile_step

    step, _ = compile_step(run)
    batch = next(distributed_batches(run, range(1)))
    times = timed(lambda: float(step(batch)["loss"]), repeats)
    return times | {"samples": run.plan.global_batch_size}


def run_phases(settings: Settings, repeats: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Runs the five phases; yields the name, the times and the samples per run of each."""
    from prediction.tiles import make_predictor, predict_maps
    from runs.start import prepare_data, start_strategy, tile_reader
    from training.stages.feeding import distributed_batches
    from training.stages.stage import StageRun, dae_stage, mtl_stage

    strategy = start_strategy(settings)
    data = prepare_data(settings, ("train",))
    mtl = StageRun.begin(settings, data, strategy, mtl_stage(settings, data, strategy))
    # Ten batches a run, so that those that were read ahead during the warm-up do not count.
    batches = distributed_batches(mtl, range(10 * (repeats + 1)))
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


def main(arguments: Sequence[str] | None = None) -> None:
    settings = load(__doc__, arguments, OPTIONS)
    # TensorFlow is imported only now, so that a wrong setting is reported at once.
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows
    from commands.errors import clear_errors

    table, repeats = {}, settings.options.repeats
    titles = ("first s", "median s", "fastest", "slowest", "per s")
    print(f"{'phase':<20} {' '.join(f'{title:>9}' for title in titles)}    GiB")
    with clear_errors(settings, "mtl"):
        for name, row in run_phases(settings, repeats):
            table[name] = row | {"peak_memory_gib": process_memory()}
            times = " ".join(f"{row[column]:9.3f}" for column in COLUMNS)
            rate = f"{row['samples'] / row['median']:9.1f}" if "samples" in row else " " * 9
            print(f"{name:<20} {times} {rate} {process_memory():6.1f}", flush=True)
    write_result(settings, "benchmark.json", {"phases": table, "repeats": repeats})


if __name__ == "__main__":
    main()
