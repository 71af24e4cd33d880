"""Measures where the time of a training step goes: reading, computation, sum over the devices.

Takes steps of stage 1, from random weights, on the devices of the settings, and prints one line of
JSON, with all times in seconds. It writes no files. benchmarks.scaling runs this script for each of
its rows. Example: python -m benchmarks.step_times --backbone=tiny --cpu_replicas=2
"""

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest.mock import patch

from benchmarks.shared import process_memory, seconds
from commands.options import option, whole
from settings.loading import Settings, load_named

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow.types.experimental import PolymorphicFunction

    from datasets.tiles.samples import Batch
    from runs.start import Data

OPTIONS = (option("--steps", whole(0), "INT", "timed steps; 0 = only the first [20]", 20),)
WARM_UP = 2  # untimed calls of each function
READ_AHEAD = 20  # batches that may be ready after a pause; reading is timed beyond them
STREAM = range(1_000_000)  # step numbers of the batches, more than any measurement takes


@dataclass(frozen=True)
class Training:
    """A training that is ready for its first step.

    Attributes:
        step: see `training.steps.make_train_step`.
        batches: distributed batches.
        global_batch_size: crops of one step.
        replicas: over all devices.
    """

    step: "PolymorphicFunction"
    batches: Iterator
    global_batch_size: int
    replicas: int


def begin(settings: Settings, data: "Data", strategy: "tf.distribute.Strategy") -> Training:
    """Builds stage 1 and its training step as train_mtl.py does."""
    from training.stages.feeding import distributed_batches
    from training.stages.stage import StageRun, mtl_stage
    from training.stages.step import compile_step

    run = StageRun.begin(settings, data, strategy, mtl_stage(settings, data, strategy))
    step, _ = compile_step(run)
    batches = distributed_batches(run, STREAM)
    return Training(step, batches, run.plan.global_batch_size, strategy.num_replicas_in_sync)


def take(step: "PolymorphicFunction", batch: "Batch") -> dict[str, float]:
    """Takes a step and fetches its losses, as the training loop does."""
    return {name: float(value) for name, value in step(batch).items()}


def first_times(step: "PolymorphicFunction", batch: "Batch") -> dict[str, float]:
    """Times what precedes the second step: tracing, then the first step, with its set-up."""
    trace = seconds(lambda: step.get_concrete_function(batch))
    return {"trace": trace, "first_step": seconds(lambda: take(step, batch))}


def without_sum(step: "PolymorphicFunction", batch: "Batch") -> "PolymorphicFunction":
    """Returns the same step without the sum over the replicas, which therefore drift apart.

    The sums of `sync_batch_norm` stay, because the forward pass needs them.

    Args:
        step: see `training.steps.make_train_step`.
        batch: distributed; it has the structure and shapes of all later ones.
    """
    import tensorflow as tf

    import training.steps

    with patch.object(training.steps, "sum_over_replicas", lambda tensors, *options: tensors):
        apart = tf.function(step.python_function)
        apart.get_concrete_function(batch)  # traced within the patch, which calls do not need
    return apart


def in_turn(functions: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Times functions in turn, so that other work on the machine affects all of them alike.

    Each round calls them in the reverse order of the last.

    Returns:
        For each function the seconds of each round.
    """
    times: list[list[float]] = [[] for _ in functions]
    order = list(enumerate(functions))
    for _ in range(WARM_UP + rounds):
        for place, function in order:
            times[place].append(seconds(function))
        order.reverse()
    return [all_rounds[WARM_UP:] for all_rounds in times]


def step_times(training: Training, batch: "Batch", steps: int) -> dict[str, float]:
    """Splits the time of a step.

    Args:
        training: which has taken its first step.
        batch: distributed.
        steps: how many to time.

    Returns:
        Seconds per step: `input`, to read a batch while nothing else runs (mean); of a step on
        always the same batch `compute`, without the sum over the devices, `reduction`, what the
        sum adds, and `step`, both together (medians); `with_input`, of a step while the next
        batch is read, as in training (mean, because reading comes in bursts).
    """
    functions = [lambda: take(training.step, batch)]
    if training.replicas > 1:
        apart = without_sum(training.step, batch)
        functions.append(lambda: take(apart, batch))
    medians = [statistics.median(times) for times in in_turn(functions, steps)]
    whole_step, compute = medians[0], medians[-1]
    for _ in range(max(steps, READ_AHEAD)):
        next(training.batches)
    reading = [seconds(lambda: next(training.batches)) for _ in range(steps)]
    real = [seconds(lambda: take(training.step, next(training.batches))) for _ in range(steps)]
    return {
        "input": statistics.mean(reading),
        "compute": compute,
        "reduction": max(0.0, whole_step - compute),
        "step": whole_step,
        "with_input": statistics.mean(real),
    }


def peak_memory() -> float:
    """Returns the largest memory in use so far, GiB: of the fullest GPU, or else of the process."""
    import tensorflow as tf

    gpus = range(len(tf.config.list_logical_devices("GPU")))
    used = [tf.config.experimental.get_memory_info(f"GPU:{i}")["peak"] for i in gpus]
    return max(used) / 2**30 if used else process_memory()


def measure(settings: Settings, steps: int) -> dict:
    """Measures training under the settings; returns what the script prints."""
    from devices.strategy import describe_devices
    from runs.start import prepare_data, start_strategy

    strategy = start_strategy(settings)
    training = begin(settings, prepare_data(settings, ("train",)), strategy)
    batch = next(training.batches)
    return {
        "devices": describe_devices(strategy),
        "replicas": training.replicas,
        "batch_size": settings.batch_size,
        "global_batch_size": training.global_batch_size,
        **first_times(training.step, batch),
        **(step_times(training, batch, steps) if steps else {}),
        "peak_memory_gib": peak_memory(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    settings = load_named(__doc__, arguments, OPTIONS)
    # TensorFlow is imported only now, so that a wrong setting is reported at once.
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows
    from commands.errors import clear_errors

    with clear_errors():
        print(json.dumps(measure(settings, settings.options.steps)))


if __name__ == "__main__":
    main()
