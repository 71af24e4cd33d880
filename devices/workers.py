"""Several processes that train together, one of which, the chief, writes."""

import contextlib
import os
import zlib

import tensorflow as tf

from project.errors import UserError

EXAMPLE = (
    'Example for the first of two: TF_CONFIG=\'{"cluster": {"worker": ["host1:12345", '
    '"host2:12345"]}, "task": {"type": "worker", "index": 0}}\'.'
)


class WorkersError(UserError):
    """The processes of a cluster do not fit together, or one of them is gone."""


# What TensorFlow raises in the other processes when one is gone.
LOST_WORKER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
)


def in_cluster():
    """Says whether the environment describes a cluster."""
    return "TF_CONFIG" in os.environ or os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1"


def find_cluster():
    """Finds the cluster that this process belongs to, from TF_CONFIG or Slurm.

    Returns:
        `tf.distribute.cluster_resolver.ClusterResolver`; None = this process trains alone.

    Raises:
        WorkersError: if the description cannot be read, or this process has no place in it.
    """
    if not in_cluster():
        return None
    resolvers = tf.distribute.cluster_resolver
    source = "TF_CONFIG" if "TF_CONFIG" in os.environ else "What Slurm says of the cluster"
    try:
        if "TF_CONFIG" in os.environ:
            resolver = resolvers.TFConfigClusterResolver()
        else:
            resolver = resolvers.SlurmClusterResolver(auto_set_gpu=False, gpus_per_node=1)
        jobs = resolver.cluster_spec().as_dict()
        task, number = resolver.task_type, resolver.task_id
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OSError) as error:
        raise WorkersError(f"{source} cannot be read ({error}). {EXAMPLE}") from None
    count = len(jobs.get("worker", []))
    if set(jobs) - {"worker"} or (count > 1 and (task != "worker" or number not in range(count))):
        raise WorkersError(
            f"{source} has the jobs {sorted(jobs)} and makes this process {task} {number}; "
            f"expected workers alone, of which this is one; the first is the chief. {EXAMPLE}"
        )
    return resolver if count > 1 else None


def cluster_strategy(resolver, reduction="auto"):
    """Makes the strategy over all workers; call it before anything else touches a device.

    Args:
        resolver: of `find_cluster`.
        reduction: "auto" or "nccl".
    """
    kinds = tf.distribute.experimental.CommunicationImplementation
    kind = kinds.NCCL if reduction == "nccl" else kinds.AUTO
    options = tf.distribute.experimental.CommunicationOptions(implementation=kind)
    return tf.distribute.MultiWorkerMirroredStrategy(resolver, options)


def worker(strategy):
    """Returns (number of this process, number of processes)."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    return resolver.task_id, len(resolver.cluster_spec().as_dict()["worker"])


def is_chief(strategy):
    """Says whether this process writes files and talks to the user."""
    return worker(strategy)[0] == 0


def chiefs_number(strategy, number):
    """Returns the chief's number in every process; all must call it.

    Args:
        strategy: `tf.distribute.Strategy`.
        number: float; that of other processes does not matter.
    """
    if worker(strategy)[1] == 1:
        return number
    return float(_sum(strategy, tf.constant(number if is_chief(strategy) else 0.0, tf.float64)))


def any_worker(strategy, *flags):
    """Says in every process which of the flags are set in one of them; all must call it.

    Returns:
        list of bool.
    """
    numbers = [float(bool(flag)) for flag in flags]
    if worker(strategy)[1] > 1:
        numbers = _sum(strategy, tf.constant(numbers, tf.float64)).numpy()
    return [number > 0 for number in numbers]


@tf.function
def _sum(strategy, numbers):
    """Sums numbers over the processes; each replica of a process would give them once more."""

    def replica():
        context = tf.distribute.get_replica_context()
        share = strategy.num_replicas_in_sync // worker(strategy)[1]
        first = context.replica_id_in_sync_group % share == 0
        mine = tf.where(first, numbers, tf.zeros_like(numbers))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

    return strategy.experimental_local_results(strategy.run(replica))[0]


def wait_for_all(strategy):
    """Lets no process on before all have come here."""
    any_worker(strategy, False)


@contextlib.contextmanager
def chief_first(strategy):
    """Lets the chief go through a block of code before the other processes do."""
    if not is_chief(strategy):
        wait_for_all(strategy)
    yield
    if is_chief(strategy):
        wait_for_all(strategy)


def require_same(strategy, what, value):
    """Refuses to go on where the processes do not have the same.

    Args:
        strategy: `tf.distribute.Strategy`.
        what: str, for the message, such as "settings".
        value: bytes, or anything whose `repr` tells it.

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
