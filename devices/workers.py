"""Several processes that train together; one of them, the chief, writes the files."""

import contextlib
import os
import zlib
from collections.abc import Iterator

import tensorflow as tf

from project.errors import UserError

EXAMPLE = (
    'Example for the first of two: TF_CONFIG=\'{"cluster": {"worker": ["host1:12345", '
    '"host2:12345"]}, "task": {"type": "worker", "index": 0}}\'.'
)


class WorkersError(UserError):
    """The processes of a cluster do not match, or one of them is gone."""


# What TensorFlow raises in the other processes if one is gone.
LOST_WORKER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
)


def in_cluster() -> bool:
    """Returns whether the environment describes a cluster."""
    return "TF_CONFIG" in os.environ or os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"


def find_cluster() -> tf.distribute.cluster_resolver.ClusterResolver | None:
    """Finds the cluster that this process belongs to, from TF_CONFIG or Slurm.

    Returns:
        The description of the cluster; None = this process trains alone.

    Raises:
        WorkersError: if the description cannot be read or does not contain this process.
    """
    if not in_cluster():
        return None
    resolvers, has_config = tf.distribute.cluster_resolver, "TF_CONFIG" in os.environ
    source = "TF_CONFIG" if has_config else "What Slurm says of the cluster"
    try:
        resolver = (
            resolvers.TFConfigClusterResolver()
            if has_config
            else resolvers.SlurmClusterResolver(auto_set_gpu=False, gpus_per_node=1)
        )
        jobs = resolver.cluster_spec().as_dict()
        task, number = resolver.task_type, resolver.task_id
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OSError) as error:
        raise WorkersError(f"{source} cannot be read ({error}). {EXAMPLE}") from None
    count = len(jobs.get("worker", []))
    if set(jobs) - {"worker"} or (count > 1 and (task != "worker" or number not in range(count))):
        raise WorkersError(
            f"{source} has the jobs {sorted(jobs)} and makes this process {task} {number}; "
            f"expected workers alone, one of which is this process. The first is the chief. "
            f"{EXAMPLE}"
        )
    return resolver if count > 1 else None


def cluster_strategy(
    resolver: tf.distribute.cluster_resolver.ClusterResolver, reduction: str = "auto"
) -> tf.distribute.Strategy:
    """Makes the strategy over all workers. Call it before anything else uses a device.

    Args:
        resolver: of `find_cluster`.
        reduction: "auto" or "nccl".
    """
    kinds = tf.distribute.experimental.CommunicationImplementation
    kind = kinds.NCCL if reduction == "nccl" else kinds.AUTO
    options = tf.distribute.experimental.CommunicationOptions(implementation=kind)
    return tf.distribute.MultiWorkerMirroredStrategy(resolver, options)


def worker(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """Returns (number of this process, count of processes)."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    return resolver.task_id, len(resolver.cluster_spec().as_dict()["worker"])


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process writes files and talks to the user."""
    return worker(strategy)[0] == 0


def chiefs_number(strategy: tf.distribute.Strategy, number: float) -> float:
    """Returns the chief's `number` in every process, whatever the others pass.

    This is a collective operation: all processes must call it.
    """
    if worker(strategy)[1] == 1:
        return number
    return float(_sum(strategy, tf.constant(number if is_chief(strategy) else 0.0, tf.float64)))


def any_worker(strategy: tf.distribute.Strategy, *flags: bool) -> list[bool]:
    """Returns in every process, for each flag, whether it is set in any of them.

    This is a collective operation: all processes must call it.
    """
    numbers = [float(bool(flag)) for flag in flags]
    if worker(strategy)[1] > 1:
        numbers = _sum(strategy, tf.constant(numbers, tf.float64)).numpy()
    return [number > 0 for number in numbers]


@tf.function
def _sum(strategy, numbers):
    """Sums numbers over the processes.

    TensorFlow sums over replicas, of which a process can have several; only its first contributes.
    """

    def replica():
        context = tf.distribute.get_replica_context()
        per_process = strategy.num_replicas_in_sync // worker(strategy)[1]
        first = context.replica_id_in_sync_group % per_process == 0
        mine = tf.where(first, numbers, tf.zeros_like(numbers))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

    return strategy.experimental_local_results(strategy.run(replica))[0]


@contextlib.contextmanager
def chief_first(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Lets the chief run a `with` block before the other processes do."""
    # `any_worker` returns when all processes have called it: the chief does so after the block.
    if not is_chief(strategy):
        any_worker(strategy, False)
    yield
    if is_chief(strategy):
        any_worker(strategy, False)


def require_same(strategy: tf.distribute.Strategy, what: str, value: object) -> None:
    """Checks that all processes have the same value; all must call it.

    Args:
        strategy: over the processes.
        what: name of the value in the message, such as "settings".
        value: bytes, or anything whose `repr` contains all of it.

    Raises:
        WorkersError: in all processes, if one of them differs from the chief.
    """
    digest = zlib.crc32(value if isinstance(value, bytes) else repr(value).encode())
    differs = chiefs_number(strategy, float(digest)) != digest
    if any_worker(strategy, differs)[0]:
        number, count = worker(strategy)
        which = f"Worker {number} of {count}" if differs else "Another worker"
        raise WorkersError(
            f"{which} has other {what} than the chief. Start all workers with the same command, "
            "code and data, in a folder that all of them see."
        )
