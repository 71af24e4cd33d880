"""Which devices train, and the strategy over them."""

import contextlib
from collections import Counter
from collections.abc import Sequence

import tensorflow as tf

from devices.workers import cluster_strategy, worker
from project.errors import UserError


class DeviceError(UserError):
    """The requested devices are not available."""


def select_gpus(
    gpu_devices: str, found: Sequence[tf.config.PhysicalDevice]
) -> list[tf.config.PhysicalDevice]:
    """Selects GPUs from those that TensorFlow found.

    Args:
        gpu_devices: "auto" = all, or distinct indices such as "0,2".
        found: all GPUs.

    Raises:
        DeviceError: if an index is not among those found.
    """
    if gpu_devices == "auto":
        return list(found)
    indices = [int(part) for part in gpu_devices.split(",")]
    missing = [i for i in indices if i >= len(found)]
    if missing:
        there = ", ".join(f"{i} ({gpu.name})" for i, gpu in enumerate(found)) or "none"
        raise DeviceError(
            f"gpu_devices is {gpu_devices!r}, but TensorFlow sees no GPU {missing[0]}; GPUs it "
            f"sees: {there}. Set gpu_devices to some of these indices, or to auto."
        )
    return [found[i] for i in indices]


def make_strategy(
    multi_gpu_enabled: bool = True,
    gpu_devices: str = "auto",
    cpu_replicas: int = 0,
    reduction: str = "auto",
    cluster: tf.distribute.cluster_resolver.ClusterResolver | None = None,
) -> tf.distribute.Strategy:
    """Makes the strategy of this run. Call it before anything else uses a device.

    Args:
        multi_gpu_enabled: False = only the first of the selected GPUs.
        gpu_devices: see `select_gpus`.
        cpu_replicas: N > 0 = no GPU, N logical CPU devices instead.
        reduction: how gradients are summed over the replicas: "auto" = TensorFlow's choice (NCCL
            between GPUs), "nccl", or "reduction_to_one_device" = all gradients are copied to the
            first device and back.
        cluster: of `devices.workers.find_cluster`; None = this process alone.

    Returns:
        `MirroredStrategy` over two or more devices, `MultiWorkerMirroredStrategy` over a cluster,
        otherwise TensorFlow's default strategy.

    Raises:
        DeviceError: if a requested GPU is missing, NCCL is requested without GPUs, or more CPU
            replicas are requested than a worker of a cluster can have, which is one.
    """
    if cluster and cpu_replicas > 1:
        raise DeviceError(
            f"cpu_replicas is {cpu_replicas}, but TensorFlow gives each worker of a cluster one "
            "CPU device. Set cpu_replicas=1 and start more workers."
        )
    found = tf.config.list_physical_devices("GPU")
    gpus = [] if cpu_replicas else select_gpus(gpu_devices, found)
    gpus = gpus if multi_gpu_enabled else gpus[:1]
    if cluster and (reduction == "reduction_to_one_device" or (reduction == "nccl" and not gpus)):
        raise DeviceError(
            f"gradient_reduction is {reduction}, which several workers "
            f"{'on CPUs ' if not gpus else ''}cannot use. Set gradient_reduction=auto."
        )
    tf.config.set_visible_devices(gpus, "GPU")
    for gpu in gpus:
        # By default TensorFlow takes all memory of a GPU at once, also from other processes.
        tf.config.experimental.set_memory_growth(gpu, True)
    if cluster:
        return cluster_strategy(cluster, reduction)
    if cpu_replicas:
        return _mirrored(_split_cpu(cpu_replicas), reduction)
    if not gpus:
        # On one CPU, operations that run side by side compete for the cores and sum gradients in a
        # changing order. The rounding errors grow to visible differences within some ten steps. One
        # operation at a time, on all cores, gives the same result in every run. CPU replicas cannot
        # do this: their collective operations wait for each other.
        with contextlib.suppress(RuntimeError):  # TensorFlow has started: the process' second run
            tf.config.threading.set_inter_op_parallelism_threads(1)
    return _mirrored([f"GPU:{i}" for i in range(len(gpus))], reduction)


def _split_cpu(count):
    """Divides the CPU into at least so many logical devices; returns the names of `count`."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    if count > len(tf.config.get_logical_device_configuration(cpu) or [cpu]):
        logical = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(cpu, logical)
    return [f"CPU:{i}" for i in range(count)]


def _mirrored(devices, reduction):
    """Returns the strategy over these devices: TensorFlow's default one if there are not two."""
    if reduction == "nccl" and not (devices and all(d.startswith("GPU") for d in devices)):
        raise DeviceError(
            f"gradient_reduction is nccl, which sums between NVIDIA GPUs; in use: "
            f"{', '.join(devices) or 'one CPU'}. Set gradient_reduction=auto."
        )
    if len(devices) < 2:
        return tf.distribute.get_strategy()
    kinds = {
        "nccl": tf.distribute.NcclAllReduce,
        "reduction_to_one_device": tf.distribute.ReductionToOneDevice,
    }
    ops = kinds[reduction]() if reduction in kinds else None
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=ops)


def list_gpus() -> list[str]:
    """Returns "index: model" of each GPU on the machine."""
    gpus = tf.config.list_physical_devices("GPU")
    return [f"{i}: {_model(gpu)}" for i, gpu in enumerate(gpus)]


def _model(gpu):
    return tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)


def describe_devices(strategy: tf.distribute.Strategy) -> str:
    """Returns one line on the devices and the strategy of a run."""
    count, (number, processes) = strategy.num_replicas_in_sync, worker(strategy)
    models = [_model(gpu) for gpu in tf.config.get_visible_devices("GPU")]
    cpus = f"CPU ({count} logical devices)" if count > processes else "CPU (no GPU is used)"
    kind = type(strategy).__name__ if count > 1 else "one device"
    replicas = f"{count} replica{'s' if count > 1 else ''}"
    replicas += f", worker {number} of {processes}" if processes > 1 else ""
    return f"{', '.join(models) or cpus}; {kind}, {replicas}{unlike_models(models)}"


def unlike_models(models: Sequence[str]) -> str:
    """Returns a warning, to end a line on the devices, if the GPUs in use differ in model.

    Args:
        models: of each GPU in use.
    """
    counts = Counter(models)
    if len(counts) < 2:
        return ""
    listed = ", ".join(f"{count} x {model}" for model, count in counts.items())
    return f"; warning: different models ({listed}), the slowest sets the pace of each step"
