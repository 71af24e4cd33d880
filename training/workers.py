"""Several processes that train together, one of which, the chief, writes."""

import contextlib
import os

import tensorflow as tf

EXAMPLE = (
    'Example for the first of two: TF_CONFIG=\'{"cluster": {"worker": ["host1:12345", '
    '"host2:12345"]}, "task": {"type": "worker", "index": 0}}\'.'
)


class WorkersError(RuntimeError):
    """The processes of a cluster do not fit together, or one of them is gone."""


# What TensorFlow raises in the other processes when one is gone.
LOST_WORKER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


def in_cluster():
    """Says whether the environment describes a cluster."""
    return "TF_CONFIG" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def find_cluster():
    """Finds the cluster that this process belongs to, from TF_CONFIG or Slurm.

    Returns:
        `tf.distribute.cluster_resolver.ClusterResolver`; None = this process trains alone.

    Raises:
        WorkersError: if TF_CONFIG cannot be read.
    """
    if "TF_CONFIG" in os.environ:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    elif int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver()
    else:
        return None
    try:
        count = len(resolver.cluster_spec().as_dict().get("worker", []))
        known = resolver.task_type == "worker" and 0 <= resolver.task_id < count
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WorkersError(f"TF_CONFIG cannot be read ({error}). {EXAMPLE}") from None
    if count > 1 and not known:
        raise WorkersError(
            f"The task is {resolver.task_type} {resolver.task_id}, expected worker 0 to "
            f"{count - 1}; the first worker is the chief. {EXAMPLE}"
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


def any_worker(strategy, flag):
    """Says in every process whether `flag` is set in one of them; all must call it."""
    if worker(strategy)[1] == 1:
        return bool(flag)
    return float(_sum(strategy, tf.constant(float(bool(flag)), tf.float64))) > 0


@tf.function
def _sum(strategy, number):
    """Sums a number over the processes; each replica of a process would give it once more."""

    def replica():
        context = tf.distribute.get_replica_context()
        share = strategy.num_replicas_in_sync // worker(strategy)[1]
        first = context.replica_id_in_sync_group % share == 0
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(first, number, 0.0))

    return strategy.experimental_local_results(strategy.run(replica))[0]


@contextlib.contextmanager
def chief_first(strategy):
    """Lets the chief go through a block of code before the other processes do."""
    if not is_chief(strategy):
        chiefs_number(strategy, 0.0)
    yield
    if is_chief(strategy):
        chiefs_number(strategy, 0.0)


def require_same(strategy, digest):
    """Refuses to train where another process has other settings or data than the chief.

    Args:
        strategy: `tf.distribute.Strategy`.
        digest: int below 2**53, of all that must be equal.

    Raises:
        WorkersError: in the processes that differ from the chief.
    """
    if chiefs_number(strategy, float(digest)) != digest:
        number, count = worker(strategy)
        raise WorkersError(
            f"Worker {number} of {count} has other settings or training tiles than the chief. "
            "Start all workers with the same command, config.py and data."
        )
