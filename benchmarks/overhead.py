"""Measures what distribution costs on a CPU.

Three trainings of stage 1 take their steps in turn, in one process, on the same global batch: one
device under TensorFlow's default strategy, one under MirroredStrategy, and two replicas. All have
the threads that replicas need; a normal run on one device executes one operation at a time
(devices/strategy.py). The script also counts the operations of the first two graphs, and times
everything before the second step for 1, 2 and 4 replicas, each in a separate process. By default
the network is DenseNet121 with decoders at width 0.25, batch 4, 256 px.
"""

import math
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import accumulate
from typing import TYPE_CHECKING

from benchmarks.shared import (
    MeasurementError,
    given_settings,
    in_a_process,
    markdown_table,
    write_result,
)
from benchmarks.step_times import begin, in_turn, take
from commands.options import command_line, option, whole
from datasets.checks.progress import ensure_demo_data
from settings.loading import Settings, fail, load_named

if TYPE_CHECKING:
    from tensorflow.types.experimental import PolymorphicFunction

    from datasets.tiles.samples import Batch

OPTIONS = (option("--pairs", whole(1), "INT", "timed rounds [30]", 30),)
NETWORK = {
    "backbone": "densenet121",
    "backbone_weights": "none",
    "decoder_width": "0.25",
    "crop_size": "256",
    "batch_size": "4",
}
STARTS = (1, 2, 4)  # replicas whose trace and first step are timed
LARGEST_RATIO = {"mirrored": 1.10, "two_replicas": 1.25}  # to the default strategy


def median_interval(
    values: Sequence[float], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Bounds the median of the distribution that values are drawn from, whatever it is.

    The interval is that of the sign test, from the k-th smallest to the k-th largest of n values.
    Each value is as likely below the median as above it, so that the coverage is 1 - 2 P(B < k)
    with B binomial (n, 1/2) (Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2).

    Args:
        values: in any order.
        confidence: the least coverage, if there are enough values for it.

    Returns:
        (low, high, coverage) of the narrowest such interval, or else of that of all values.
    """
    ordered, count = sorted(values), len(values)
    # Of 2^n cases, those with fewer than k values below the median, for k = 1, 2 ...
    tails = list(accumulate(math.comb(count, below) for below in range(max(1, count // 2))))
    place = max(1, sum(2 * tail <= (1 - confidence) * 2**count for tail in tails))
    return ordered[place - 1], ordered[-place], 1 - 2 * tails[place - 1] / 2**count


def compare(times: Sequence[float], others: Sequence[float]) -> dict:
    """Compares the step times of two trainings that took their steps in turn.

    Returns:
        `ratio`, the median of second to first in each round, `low`, `high` and `coverage` of its
        interval, and the number of `pairs`.
    """
    ratios = [other / time for time, other in zip(times, others, strict=True)]
    low, high, coverage = median_interval(ratios)
    return {
        "ratio": statistics.median(ratios),
        "low": low,
        "high": high,
        "coverage": coverage,
        "pairs": len(ratios),
    }


def count_operations(step: "PolymorphicFunction", batch: "Batch") -> Counter:
    """Counts the operations of a step by type, in its graph as traced, with all its functions."""
    graph = step.get_concrete_function(batch).graph.as_graph_def()
    functions = (node for function in graph.library.function for node in function.node_def)
    return Counter(node.op for node in [*graph.node, *functions])


def compare_operations(counts: Counter, others: Counter) -> dict:
    """Returns both totals and, by type that differs, (number in the first, in the second)."""
    kinds = sorted(counts.keys() | others.keys())
    different = {k: (counts[k], others[k]) for k in kinds if counts[k] != others[k]}
    return {"default": counts.total(), "mirrored": others.total(), "different": different}


def begin_trainings(settings: Settings) -> dict[str, tuple["PolymorphicFunction", "Batch"]]:
    """Builds the three trainings; returns (step, a batch) of each by name."""
    import tensorflow as tf

    from runs.start import prepare_data, start_strategy

    both = start_strategy(settings)  # first, because it creates the logical devices
    # Groups of different sizes need different keys.
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


def compare_trainings(settings: Settings, pairs: int) -> dict:
    """Times the three trainings in turn.

    Args:
        settings: with two CPU replicas; batch_size is the global batch.
        pairs: number of rounds.

    Returns:
        `seconds`, median of a step by training, `comparisons` with the default strategy by
        training, and `operations`, as of `compare_operations`.
    """
    trainings = begin_trainings(settings)
    functions = [partial(take, step, batch) for step, batch in trainings.values()]
    times = dict(zip(trainings, in_turn(functions, pairs), strict=True))
    return {
        "seconds": {name: statistics.median(values) for name, values in times.items()},
        "comparisons": {
            name: compare(times["default"], times[name]) | {"largest": largest}
            for name, largest in LARGEST_RATIO.items()
        },
        "operations": compare_operations(
            count_operations(*trainings["default"]), count_operations(*trainings["mirrored"])
        ),
    }


def time_starts(settings: Settings) -> list[dict]:
    """Times trace and first step for each number of `STARTS`."""
    rows = []
    for count in STARTS:
        size = {"cpu_replicas": count, "batch_size": settings.batch_size // count, "steps": 0}
        rows.append(in_a_process("benchmarks.step_times", given_settings(settings) | size))
        print(f"{count} replicas: traced and started", flush=True)
    return rows


def report(result: Mapping) -> str:
    """Lays out the result as Markdown tables."""
    ratios = [
        (
            f"{name} / default",
            f"{row['ratio']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f} ({row['coverage']:.1%})",
            f"{row['largest']:.2f}",
        )
        for name, row in result["comparisons"].items()
    ]
    operations = result["operations"]
    counts = [("all", operations["default"], operations["mirrored"])]
    counts += [(kind, *pair) for kind, pair in operations["different"].items()]
    starts = [
        (row["replicas"], f"{row['trace']:.1f}", f"{row['first_step']:.1f}")
        for row in result["starts"]
    ]
    tables = [
        markdown_table(("", "ratio", "interval", "at most"), ratios),
        markdown_table(("operations", "default", "mirrored"), counts),
        markdown_table(("replicas", "trace (s)", "first step (s)"), starts, texts=0),
    ]
    return "\n\n".join(tables)


def read_settings(arguments: Sequence[str] | None) -> Settings:
    """Returns the settings, with `NETWORK` and two replicas unless the command line differs."""
    arguments = sys.argv[1:] if arguments is None else arguments
    given = given_settings(load_named(__doc__, arguments, OPTIONS))
    if "cpu_replicas" in given:
        fail("--cpu_replicas: this script chooses the replicas itself. Omit the option.")
    network = {name: text for name, text in NETWORK.items() if name not in given}
    settings = load_named(
        __doc__, [*arguments, *command_line(network | {"cpu_replicas": "2"})], OPTIONS
    )
    if settings.batch_size % max(STARTS):
        fail(
            f"--batch_size={settings.batch_size}: it is the global batch here, expected a multiple "
            f"of {max(STARTS)}."
        )
    return settings


def main(arguments: Sequence[str] | None = None) -> None:
    settings = read_settings(arguments)
    ensure_demo_data(settings.dataset_name, settings.record)
    try:
        starts = time_starts(settings)
    except MeasurementError as error:
        sys.exit(f"error: {error}")
    # TensorFlow is imported only now, so that it takes no memory beside the processes.
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows
    from commands.errors import clear_errors

    with clear_errors():
        result = compare_trainings(settings, settings.options.pairs) | {"starts": starts}
    print(f"\n{report(result)}\n")
    write_result(settings, "overhead.json", result | {"tensorflow": version("tensorflow")})


if __name__ == "__main__":
    main()
