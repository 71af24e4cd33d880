"""What the devices of a run are, for a bug report or the record of a measurement."""

from importlib import metadata

import tensorflow as tf

UNKNOWN = "unknown"
COLUMNS = ("device", "model", "memory", "compute capability", "driver")


def device_table():
    """Returns lines: a table of the GPUs in use, then one on the versions of libraries.

    Memory and driver need NVIDIA's package nvidia-ml-py; what nobody tells is "unknown".
    """
    rows = device_rows(tf.config.get_visible_devices("GPU"))
    if not rows:
        return ["No GPU is used.", library_versions()]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (COLUMNS, *rows)
    ]
    return [*lines, library_versions()]


def device_rows(gpus):
    """Returns a row of `COLUMNS`, a tuple of str, for each of a list of physical GPUs."""
    driver, memories = ask_driver()
    rows = []
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        model = details.get("device_name", UNKNOWN)
        memory = f"{memories[model] / 2**30:.1f} GiB" if model in memories else UNKNOWN
        capability = ".".join(map(str, details.get("compute_capability", [UNKNOWN])))
        rows.append((gpu.name.removeprefix("/physical_device:"), model, memory, capability, driver))
    return rows


def start_nvml():
    """Starts NVIDIA's package nvidia-ml-py; returns its module, None where it cannot tell."""
    try:
        import pynvml as nvml
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # no GPU or no driver
        return None
    return nvml


def ask_driver():
    """Returns (version of NVIDIA's driver, dict of `model_memories`) as far as they can be had."""
    nvml = start_nvml()
    if nvml is None:
        return UNKNOWN, {}
    try:
        return nvml.nvmlSystemGetDriverVersion(), model_memories(nvml)
    except nvml.NVMLError:  # a driver that does not tell
        return UNKNOWN, {}


def model_memories(nvml):
    """Returns the memory of each model of GPU in the machine.

    The driver knows neither CUDA_VISIBLE_DEVICES nor CUDA's order of the GPUs, and TensorFlow
    tells no address of a GPU. So they are matched by model; one of several sizes is left out.

    Args:
        nvml: the started module `pynvml`.

    Returns:
        dict of the model's name to int, bytes.
    """
    sizes = {}
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle).total
        sizes.setdefault(nvml.nvmlDeviceGetName(handle), set()).add(memory)
    return {model: size.pop() for model, size in sizes.items() if len(size) == 1}


def library_versions():
    """Returns one line on TensorFlow, what it was built for, and NCCL."""
    built = tf.sysconfig.get_build_info()
    cuda, cudnn = (built.get(f"{name}_version", UNKNOWN) for name in ("cuda", "cudnn"))
    built_for = f"CUDA {cuda}, cuDNN {cudnn}" if built.get("is_cuda_build") else "no CUDA"
    return f"TensorFlow {tf.__version__}, built for {built_for}; NCCL {nccl_version()}"


def nccl_version():
    """Returns the version of pip's package of NCCL; TensorFlow tells nothing of it."""
    try:
        return metadata.version("nvidia-nccl-cu12")
    except metadata.PackageNotFoundError:
        return UNKNOWN


def memory_lines():
    """Returns a line for each GPU in use on the most memory that TensorFlow's tensors took."""
    gpus = tf.config.list_logical_devices("GPU")
    if not gpus:
        return ["Memory: not told for a CPU."]
    peaks = [
        tf.config.experimental.get_memory_info(f"GPU:{index}")["peak"] for index in range(len(gpus))
    ]
    return [f"Memory: at most {peak / 2**20:.0f} MiB on GPU:{i}." for i, peak in enumerate(peaks)]
