"""Which devices train, and the strategy over them."""

import contextlib

import tensorflow as tf

from devices.workers import cluster_strategy, worker
from project.errors import UserError


class DeviceError(UserError):
    """The devices asked for are not there."""


def select_gpus(gpu_devices, found):
    """Picks GPUs out of those that TensorFlow found.

    Args:
        gpu_devices: "auto" = all, or distinct indices such as "0,2".
        found: list of physical devices.

    Returns:
        List of the devices chosen.

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
            f"sees: {there}. Set gpu_devices to indices out of these, or to auto."
        )
    return [found[i] for i in indices]


def make_strategy(
    multi_gpu_enabled=True, gpu_devices="auto", cpu_replicas=0, reduction="auto", cluster=None
):
    """Makes the strategy of this run. Call it before anything else touches a device.

    Args:
        multi_gpu_enabled: bool; False = the first of the chosen GPUs alone.
        gpu_devices: see `select_gpus`.
        cpu_replicas: int; N > 0 = no GPU, N logical CPU devices instead.
        reduction: how replicas sum: "auto" = TensorFlow's choice (NCCL between GPUs), "nccl", or
            "reduction_to_one_device" = all gradients are copied to the first device and back.

        cluster: of `devices.workers.find_cluster`; None = this process alone.

    Returns:
        `MirroredStrategy` over two or more devices, `MultiWorkerMirroredStrategy` over a cluster,
        else TensorFlow's default strategy.

    Raises:
        DeviceError: if a GPU asked for is not there, NCCL without two of them, or more CPU replicas
            than TensorFlow gives the worker of a cluster, which is one.
    """
    if cluster and cpu_replicas > 1:
        raise DeviceError(
            f"cpu_replicas is {cpu_replicas}, but TensorFlow gives each worker of a cluster one "
            "CPU device. Set cpu_replicas=1 and start more workers."
        )
    if cluster:
        found = [] if cpu_replicas else select_gpus(gpu_devices, _physical_gpus())
        gpus = found if multi_gpu_enabled else found[:1]
        if reduction == "reduction_to_one_device" or (reduction == "nccl" and not gpus):
            raise DeviceError(
                f"gradient_reduction is {reduction}, which several workers "
                f"{'on CPUs ' if not gpus else ''}cannot use. Set gradient_reduction=auto."
            )
        _use_gpus(gpus)
        return cluster_strategy(cluster, reduction)
    if cpu_replicas:
        tf.config.set_visible_devices([], "GPU")
        return _cpu_strategy(cpu_replicas, reduction)
    gpus = select_gpus(gpu_devices, _physical_gpus())
    gpus = gpus if multi_gpu_enabled else gpus[:1]
    _use_gpus(gpus)
    if not gpus:
        _one_operation_at_a_time()
    return _mirrored([f"GPU:{i}" for i in range(len(gpus))], reduction)


def _use_gpus(gpus):
    """Hides all other GPUs and takes memory as it is needed."""
    tf.config.set_visible_devices(gpus, "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)


def _mirrored(devices, reduction):
    """Returns the strategy over these devices: TensorFlow's default one for less than two."""
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


def _one_operation_at_a_time():
    """Keeps the order of operations on a CPU, each on all cores.

    Operations side by side compete for the cores and sum gradients in a changing order, which
    grows to visible differences within some ten steps. Replicas on a CPU need it, though: their
    reductions wait for each other.
    """
    with contextlib.suppress(RuntimeError):  # TensorFlow has begun: a process of several runs
        tf.config.threading.set_inter_op_parallelism_threads(1)


def _cpu_strategy(count, reduction):
    cpu = tf.config.list_physical_devices("CPU")[0]
    if count > len(tf.config.get_logical_device_configuration(cpu) or [cpu]):
        devices = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(cpu, devices)
    return _mirrored([f"CPU:{i}" for i in range(count)], reduction)


def list_gpus():
    """Returns "index: name" of each GPU on the machine."""
    return [f"{i}: {_device_name(gpu)}" for i, gpu in enumerate(_physical_gpus())]


def _physical_gpus():
    return tf.config.list_physical_devices("GPU")


def _device_name(gpu):
    return tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)


def describe_devices(strategy):
    """Returns one line on the devices and the strategy of a run."""
    count = strategy.num_replicas_in_sync
    gpus = tf.config.get_visible_devices("GPU")
    number, processes = worker(strategy)
    cpus = f"CPU ({count} logical devices)" if count > processes else "CPU (no GPU is used)"
    names = [_device_name(gpu) for gpu in gpus]
    kind = type(strategy).__name__ if count > 1 else "one device"
    replicas = f"{count} replica{'s' if count > 1 else ''}"
    replicas += f", worker {number} of {processes}" if processes > 1 else ""
    return f"{', '.join(names) or cpus}; {kind}, {replicas}{unlike_models(names)}"


def unlike_models(names):
    """Returns a warning, to end a line on the devices, if these GPUs are not of one model.

    Args:
        names: list of str, the model of each GPU in use; the same for GPUs of one model.
    """
    if len(set(names)) < 2:
        return ""
    counts = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return f"; warning: different models ({counts}), the slowest sets the pace of each step"
