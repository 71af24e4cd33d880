"""What the devices of a run are, for a bug report or the record of a measurement."""

import contextlib
from importlib import metadata

import tensorflow as tf

UNKNOWN = "unknown"
COLUMNS = ("device", "model", "memory", "compute capability", "driver")


def device_table():
    """Returns the lines of a table of the GPUs in use, then one on the versions of libraries.

    Memory and driver need NVIDIA's package nvidia-ml-py; what nobody tells is "unknown".
    """
    rows = [COLUMNS, *device_rows(tf.config.get_visible_devices("GPU"))]
    if len(rows) == 1:
        return ["No GPU is used.", library_versions()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [*lines, library_versions()]


def device_rows(gpus):
    """Returns a tuple of `COLUMNS`, each a str, for each of a list of physical GPUs."""
    with nvidia_management() as nvml:
        memories = model_memories(nvml) if nvml else {}
        driver = nvml.nvmlSystemGetDriverVersion() if nvml else UNKNOWN
    rows = []
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        model = details.get("device_name", UNKNOWN)
        memory = f"{memories[model] / 2**30:.1f} GiB" if model in memories else UNKNOWN
        capability = ".".join(map(str, details.get("compute_capability", [UNKNOWN])))
        rows.append((gpu.name.removeprefix("/physical_device:"), model, memory, capability, driver))
    return rows


@contextlib.contextmanager
def nvidia_management():
    """Gives the started module `pynvml`, or None where it or the driver's library is missing."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def model_memories(nvml):
    """Returns the memory of each model of GPU in the machine, bytes.

    NVML knows neither CUDA_VISIBLE_DEVICES nor CUDA's order of the GPUs, and TensorFlow tells no
    address of a GPU. So they are matched by model, and one that comes in several sizes is left out.

    Args:
        nvml: the started module `pynvml`.

    Returns:
        dict of str to int.
    """
    sizes = {}
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        model = nvml.nvmlDeviceGetName(handle)
        sizes.setdefault(model, set()).add(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    return {model: size.pop() for model, size in sizes.items() if len(size) == 1}


def library_versions():
    """Returns one line on TensorFlow and the libraries that it was built with or brings along."""
    built = tf.sysconfig.get_build_info()
    versions = {
        "TensorFlow": tf.__version__,
        "CUDA": built.get("cuda_version", UNKNOWN),
        "cuDNN": built.get("cudnn_version", UNKNOWN),
        "NCCL": nccl_version(),
    }
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def nccl_version():
    """Returns the version of pip's package of NCCL, of which TensorFlow itself tells nothing."""
    try:
        return metadata.version("nvidia-nccl-cu12")
    except metadata.PackageNotFoundError:
        return UNKNOWN


def memory_lines():
    """Returns a line on the memory that TensorFlow has taken so far, for each GPU in use."""
    gpus = tf.config.list_logical_devices("GPU")
    if not gpus:
        return ["memory: not told for a CPU"]
    lines = []
    for index in range(len(gpus)):
        peak = tf.config.experimental.get_memory_info(f"GPU:{index}")["peak"]
        lines.append(f"memory: GPU:{index} held at most {peak / 2**20:.0f} MiB of tensors")
    return lines
