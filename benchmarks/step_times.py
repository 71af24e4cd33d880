"""Says where the time of a training step goes: reading, computation, sum over the devices.

Takes steps of stage 1, from random weights, on the devices of the settings, and prints one line of
JSON, seconds all; nothing is written. Rows of benchmarks.scaling are this script, each in a process
of its own. Example: python -m benchmarks.step_times --backbone=tiny --cpu_replicas=2
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from unittest.mock import patch

from settings.loading import COMMAND_LINE, fail, load_named
from settings.table import show

STEPS = {"default": 20, "type": int, "metavar": "INT", "help": "timed; 0 = none but the first [20]"}
OPTIONS = (("--steps", STEPS),)
WARM_UP = 2  # untimed calls of each function
READ_AHEAD = 20  # batches that may lie ready after a pause; reading is timed beyond them
STREAM = range(1_000_000)  # step numbers of the batches, more than any measurement takes


class MeasurementError(RuntimeError):
    """A measurement in a process of its own failed."""


@dataclass(frozen=True)
class Training:
    """A training that is ready for its first step.

    Attributes:
        step: function of `training.steps.make_train_step`.
        batches: iterator over distributed batches.
        global_batch_size: int.
        replicas: int.
    """

    step: object
    batches: object
    global_batch_size: int
    replicas: int


def begin(settings, data, strategy):
    """Builds stage 1 and its step as train_mtl.py does; returns the `Training`."""
    from training.stages.feeding import distributed_batches
    from training.stages.stage import StageRun, mtl_stage
    from training.stages.step import compile_step

    run = StageRun.begin(settings, data, strategy, mtl_stage(settings, data, strategy))
    step, _ = compile_step(run)
    batches = distributed_batches(run, STREAM)
    return Training(step, batches, run.plan.global_batch_size, strategy.num_replicas_in_sync)


def seconds(function):
    """Returns how long a call takes, to the end of what it started on the devices."""
    import tensorflow as tf

    start = time.perf_counter()
    function()
    tf.test.experimental.sync_devices()
    return time.perf_counter() - start


def take(step, batch):
    """Takes a step and fetches its losses, as the training loop does."""
    return {name: float(value) for name, value in step(batch).items()}


def first_times(step, batch):
    """Times what comes before the second step: tracing, then the first step, with set-up."""
    trace = seconds(lambda: step.get_concrete_function(batch))
    return {"trace": trace, "first_step": seconds(lambda: take(step, batch))}


def without_sum(step, batch):
    """Returns the same step without the sum over the replicas, each of which goes its own way.

    What `sync_batch_norm` sums in between stays: there is no computation without it.

    Args:
        step: function of `training.steps.make_train_step`.
        batch: distributed batch, as all that follow.
    """
    import tensorflow as tf

    import training.steps

    with patch.object(training.steps, "sum_over_replicas", lambda tensors, *options: tensors):
        apart = tf.function(step.python_function)
        apart.get_concrete_function(batch)  # traced here, so that it stays as it is
    return apart


def in_turn(functions, rounds):
    """Times functions in turn, so that what else the machine does meets all of them.

    Each round takes them in the reverse order of the last.

    Args:
        functions: list of functions without arguments.
        rounds: int.

    Returns:
        list, for each function, of list of seconds, one per round.
    """
    times = [[] for _ in functions]
    order = list(enumerate(functions))
    for number in range(WARM_UP + rounds):
        for place, function in order:
            elapsed = seconds(function)
            if number >= WARM_UP:
                times[place].append(elapsed)
        order.reverse()
    return times


def step_times(training, batch, steps):
    """Splits the time of a step.

    Args:
        training: `Training`.
        batch: distributed batch.
        steps: int, how many to time.

    Returns:
        dict of seconds per step: `input`, to read a batch while nothing else is done; of a step
        on one and the same batch its `compute`, without the sum over the devices, `reduction`,
        what the sum adds, and `step`, both together (medians); `with_input`, a step on a batch
        that is read meanwhile, as in training (mean, since reading comes in bursts).
    """
    functions = [lambda: take(training.step, batch)]
    if training.replicas > 1:
        apart = without_sum(training.step, batch)
        functions.append(lambda: take(apart, batch))
    medians = [statistics.median(times) for times in in_turn(functions, steps)]
    whole, compute = medians[0], medians[-1]
    for _ in range(max(steps, READ_AHEAD)):
        next(training.batches)
    reading = [seconds(lambda: next(training.batches)) for _ in range(steps)]
    real = [seconds(lambda: take(training.step, next(training.batches))) for _ in range(steps)]
    return {
        "input": statistics.mean(reading),
        "compute": compute,
        "reduction": max(0.0, whole - compute),
        "step": whole,
        "with_input": statistics.mean(real),
    }


def peak_memory():
    """Returns the largest memory in use so far, GiB: of the fullest GPU, else of the process."""
    import tensorflow as tf

    count = len(tf.config.list_logical_devices("GPU"))
    used = [tf.config.experimental.get_memory_info(f"GPU:{i}")["peak"] for i in range(count)]
    return max(used, default=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10) / 2**30


def measure(settings, steps):
    """Measures training under the settings; returns a dict with the names of the JSON."""
    from devices.strategy import describe_devices
    from runs.start import prepare_data, start_strategy

    strategy = start_strategy(settings)
    data = prepare_data(settings, ("train",))
    training = begin(settings, data, strategy)
    batch = next(training.batches)
    result = {
        "devices": describe_devices(strategy),
        "replicas": training.replicas,
        "batch_size": settings.batch_size,
        "global_batch_size": training.global_batch_size,
        **first_times(training.step, batch),
    }
    if steps:
        result |= step_times(training, batch, steps)
    return result | {"peak_memory_gib": peak_memory()}


def in_a_process(arguments):
    """Runs this script in a process of its own.

    A process has the devices, and the number of replicas, with which it began; and its memory.

    Args:
        arguments: dict of setting or option to text.

    Returns:
        dict of `measure`.

    Raises:
        MeasurementError: with the last line that the process said.
    """
    command = [sys.executable, "-m", "benchmarks.step_times"]
    command += [f"--{name}={value}" for name, value in arguments.items()]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        last = (ended.stdout + ended.stderr).strip().splitlines()[-1:]
        raise MeasurementError("".join(last) or f"ended with status {ended.returncode}")
    return json.loads(ended.stdout.splitlines()[-1])


def given_settings(settings):
    """Returns the settings that the command line gives, as a dict of name to text.

    Encoders begin with random weights: times do not depend on them.
    """
    names = [n for n, source in settings.sources.items() if source == COMMAND_LINE]
    return {"backbone_weights": "none"} | {name: show(settings.values[name]) for name in names}


def make_demo(settings):
    """Makes the demo data, if that is what is absent, before processes would do it one by one."""
    if settings.dataset_name == "Demo" and not (settings.record.folder / "dataset.toml").is_file():
        from datasets.demo.data_set import ensure_demo

        ensure_demo(settings.record.folder)


def main(arguments=None):
    settings = load_named(__doc__, arguments, OPTIONS)
    if settings.options.steps < 0:
        fail(f"--steps={settings.options.steps}: expected 0 or more.")
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    from commands.errors import clear_errors

    with clear_errors():
        print(json.dumps(measure(settings, settings.options.steps)))


if __name__ == "__main__":
    main()
