"""Measures what distribution costs on a processor.

Three trainings of stage 1 take their steps in turn, in one process, on the same global batch: one
device under TensorFlow's default strategy, one under MirroredStrategy, and two replicas. All have
the threads that replicas need; a run on one device alone executes one operation at a time
(training/devices.py). The operations of the first two graphs are counted, and what comes before the
second step is timed for 1, 2 and 4 replicas, each in a process of its own. The network is
DenseNet121 with decoders at width 0.25, batch 4, 256 px, where the command line says nothing else.
"""

import math
import statistics
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path

from benchmarks.step_times import (
    MeasurementError,
    begin,
    given_settings,
    in_a_process,
    in_turn,
    make_demo,
    take,
)
from project.files import write_json
from settings.loading import COMMAND_LINE, fail, load_named

OPTIONS = (
    ("--pairs", {"default": 30, "type": int, "metavar": "INT", "help": "timed rounds [30]"}),
)
NETWORK = {
    "backbone": "densenet121",
    "backbone_weights": "none",
    "decoder_width": "0.25",
    "crop_size": "256",
    "batch_size": "4",
}
STARTS = (1, 2, 4)  # replicas whose trace and first step are timed
LARGEST_RATIO = {"mirrored": 1.10, "two_replicas": 1.25}  # to the default strategy
CONFIDENCE = 0.95


def median_interval(values, confidence=CONFIDENCE):
    """Bounds the median of what the values are drawn from, whatever its distribution.

    The k-th smallest and the k-th largest of n values, where each value is as likely below the
    median as above it: coverage 1 - 2 P(B < k) with B binomial (n, 1/2), the sign test's interval
    (Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2).

    Args:
        values: list of float.
        confidence: float, at least so much is covered, if there are values enough.

    Returns:
        Tuple (low, high, coverage): the narrowest such interval, or that of all values.
    """
    ordered, count = sorted(values), len(values)
    # Of 2^n cases, those with fewer than k values below the median, for k = 1, 2 ...
    tails = list(accumulate(math.comb(count, below) for below in range(max(1, count // 2))))
    place = max(1, sum(2 * tail <= (1 - confidence) * 2**count for tail in tails))
    return ordered[place - 1], ordered[-place], 1 - 2 * tails[place - 1] / 2**count


def compare(times, others):
    """Compares step times that were taken in turn.

    Args:
        times: list of seconds of the first training.
        others: of the second, round by round.

    Returns:
        dict: `ratio`, median of second to first, `low`, `high` and `coverage` of its interval, and
        the `pairs`.
    """
    ratios = [other / time for time, other in zip(times, others, strict=True)]
    low, high, coverage = median_interval(ratios)
    interval = {"low": low, "high": high, "coverage": coverage}
    return {"ratio": statistics.median(ratios), **interval, "pairs": len(ratios)}


def count_operations(step, batch):
    """Counts the operations of a step by type, in its graph as traced, with all its functions."""
    graph = step.get_concrete_function(batch).graph.as_graph_def()
    functions = (node for function in graph.library.function for node in function.node_def)
    return Counter(node.op for node in [*graph.node, *functions])


def compare_operations(counts, others):
    """Returns dict: both totals, and per type that differs (number in the first, in the second)."""
    kinds = sorted(counts.keys() | others.keys())
    different = {k: (counts[k], others[k]) for k in kinds if counts[k] != others[k]}
    return {"default": counts.total(), "mirrored": others.total(), "different": different}


def begin_trainings(settings):
    """Builds the three trainings; returns dict of name to (its step, a batch)."""
    import tensorflow as tf

    from runs.start import prepare_data, start_strategy

    both = start_strategy(settings)  # first, because it makes the logical devices
    # Groups of another size need keys of their own.
    tf.distribute.MirroredStrategy._collective_key_base += 100000
    strategies = {
        "default": tf.distribute.get_strategy(),
        "mirrored": tf.distribute.MirroredStrategy(["CPU:0"]),
        "two_replicas": both,
    }
    data = prepare_data(settings, ("train",))
    trainings = {}
    for name, strategy in strategies.items():
        size = settings.batch_size // strategy.num_replicas_in_sync
        own = replace(settings, values=settings.values | {"batch_size": size})
        training = begin(own, data, strategy)
        trainings[name] = training.step, next(training.batches)
    return trainings


def compare_trainings(settings, pairs):
    """Times the three trainings in turn.

    Args:
        settings: `settings.loading.Settings` with two CPU replicas; batch_size is the global batch.
        pairs: int, rounds.

    Returns:
        dict: `seconds`, median of a step by training, `comparisons` with the default strategy by
        training, and `operations` of `compare_operations`.
    """
    trainings = begin_trainings(settings)
    functions = [partial(take, step, batch) for step, batch in trainings.values()]
    times = dict(zip(trainings, in_turn(functions, pairs), strict=True))
    comparisons = {
        name: compare(times["default"], times[name]) | {"largest": LARGEST_RATIO[name]}
        for name in LARGEST_RATIO
    }
    counts = [count_operations(*trainings[name]) for name in ("default", "mirrored")]
    return {
        "seconds": {name: statistics.median(values) for name, values in times.items()},
        "comparisons": comparisons,
        "operations": compare_operations(*counts),
    }


def time_starts(settings):
    """Times trace and first step for `STARTS` replicas; returns a list of their results."""
    rows = []
    for count in STARTS:
        size = {"cpu_replicas": count, "batch_size": settings.batch_size // count, "steps": 0}
        rows.append(in_a_process(given_settings(settings) | size))
        print(f"{count} replicas: traced and begun", flush=True)
    return rows


def report(result):
    """Lays the result out as Markdown tables."""
    lines = ["| | ratio | interval | at most |", "| --- | ---: | ---: | ---: |"]
    for name, row in result["comparisons"].items():
        interval = f"{row['low']:.3f} to {row['high']:.3f} ({row['coverage']:.1%})"
        cells = [f"{name} / default", f"{row['ratio']:.3f}", interval, f"{row['largest']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    operations = result["operations"]
    lines += ["", "| operations | default | mirrored |", "| --- | ---: | ---: |"]
    lines.append(f"| all | {operations['default']} | {operations['mirrored']} |")
    for kind, (first, second) in operations["different"].items():
        lines.append(f"| {kind} | {first} | {second} |")
    lines += ["", "| replicas | trace (s) | first step (s) |", "| ---: | ---: | ---: |"]
    for row in result["starts"]:
        lines.append(f"| {row['replicas']} | {row['trace']:.1f} | {row['first_step']:.1f} |")
    return "\n".join(lines)


def read_settings(arguments):
    """Returns the settings, `NETWORK` where the command line says nothing; ends if one is wrong."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    sources = load_named(__doc__, arguments, OPTIONS).sources
    given = [name for name, source in sources.items() if source == COMMAND_LINE]
    if "cpu_replicas" in given:
        fail("--cpu_replicas: this script decides on the replicas. Leave it out.")
    added = {name: value for name, value in NETWORK.items() if name not in given}
    added = [f"--{name}={value}" for name, value in (added | {"cpu_replicas": 2}).items()]
    settings = load_named(__doc__, [*arguments, *added], OPTIONS)
    if settings.options.pairs < 1:
        fail(f"--pairs={settings.options.pairs}: expected 1 or more.")
    if settings.batch_size % max(STARTS):
        fail(
            f"--batch_size={settings.batch_size}: it is the global batch here, expected a multiple "
            f"of {max(STARTS)}."
        )
    return settings


def main(arguments=None):
    settings = read_settings(arguments)
    make_demo(settings)
    try:
        starts = time_starts(settings)
    except MeasurementError as error:
        sys.exit(f"error: {error}")
    # TensorFlow comes in only now, so that it takes no memory beside the processes.
    from commands.errors import clear_errors

    with clear_errors():
        result = compare_trainings(settings, settings.options.pairs) | {"starts": starts}
    path = Path(settings.output_dir) / settings.dataset_name / "overhead.json"
    write_json(path, result | {"tensorflow": version("tensorflow"), "settings": settings.values})
    print(f"\n{report(result)}\n\nWritten to {path}")


if __name__ == "__main__":
    main()
