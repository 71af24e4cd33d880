"""The GPUs of a run, as TensorFlow and NVIDIA's driver describe them, and how busy they are.

Memory, load and the driver's version need NVIDIA's package nvidia-ml-py (NVML).
"""

import time
from collections.abc import Callable, Sequence
from importlib import metadata
from types import ModuleType

import numpy as np
import tensorflow as tf

from devices.cuda import pci_address

UNKNOWN = "unknown"
COLUMNS = ("device", "model", "memory", "compute capability", "driver")
ASK_SECONDS = 1.0  # the driver's own figures are means over up to a second


def start_nvml() -> ModuleType | None:
    """Starts NVML; returns its module `pynvml`, or None if it cannot be used."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except ImportError:
        return None
    except pynvml.NVMLError:  # no GPU or no driver
        return None
    return pynvml


def device_table() -> list[str]:
    """Returns a table of the GPUs in use and a line on library versions, for a bug report.

    What neither TensorFlow nor the driver reports is "unknown".
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


def device_rows(gpus: Sequence[tf.config.PhysicalDevice]) -> Sequence[tuple[str, ...]]:
    """Returns a row of `COLUMNS` for each GPU."""
    driver, memories = ask_driver()
    rows = []
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        model = details.get("device_name", UNKNOWN)
        memory = f"{memories[model] / 2**30:.1f} GiB" if model in memories else UNKNOWN
        capability = ".".join(map(str, details.get("compute_capability", [UNKNOWN])))
        rows.append((gpu.name.removeprefix("/physical_device:"), model, memory, capability, driver))
    return rows


def ask_driver() -> tuple[str, dict[str, int]]:
    """Returns (version of NVIDIA's driver, its `model_memories`), as far as they are known."""
    nvml = start_nvml()
    if nvml is None:
        return UNKNOWN, {}
    try:
        return nvml.nvmlSystemGetDriverVersion(), model_memories(nvml)
    except nvml.NVMLError:  # such as a driver that does not support the question
        return UNKNOWN, {}


def model_memories(nvml: ModuleType) -> dict[str, int]:
    """Returns the memory in bytes of each model of GPU in the machine.

    A model that comes in several sizes is left out.
    """
    sizes: dict[str, set[int]] = {}
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle).total
        sizes.setdefault(nvml.nvmlDeviceGetName(handle), set()).add(memory)
    return {model: size.pop() for model, size in sizes.items() if len(size) == 1}


def library_versions() -> str:
    """Returns one line on TensorFlow, what it was built for, and NCCL."""
    built = tf.sysconfig.get_build_info()
    cuda, cudnn = (built.get(f"{name}_version", UNKNOWN) for name in ("cuda", "cudnn"))
    built_for = f"CUDA {cuda}, cuDNN {cudnn}" if built.get("is_cuda_build") else "no CUDA"
    # TensorFlow does not report the version of NCCL, but pip's package has one.
    nccl = next((d.version for d in metadata.distributions(name="nvidia-nccl-cu12")), UNKNOWN)
    return f"TensorFlow {tf.__version__}, built for {built_for}; NCCL {nccl}"


def memory_lines() -> list[str]:
    """Returns a line for each GPU in use on the peak memory of TensorFlow's tensors."""
    devices = [f"GPU:{i}" for i in range(len(tf.config.list_logical_devices("GPU")))]
    peaks = [tf.config.experimental.get_memory_info(device)["peak"] for device in devices]
    lines = [
        f"Memory: at most {peak / 2**20:.0f} MiB on {device}."
        for peak, device in zip(peaks, devices, strict=True)
    ]
    return lines or ["Memory: not reported for a CPU."]


class GpuLoad:
    """Utilisation and memory of GPUs, as NVIDIA's driver reports them."""

    def __init__(
        self,
        nvml: ModuleType | None = None,
        handles: Sequence[object] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the questions; without handles there will be none.

        Args:
            nvml: of `start_nvml`.
            handles: NVML's handle of each GPU, None = not found.
            clock: returns the time in seconds.
        """
        self._nvml, self._handles, self._clock = nvml, handles, clock
        self._asked, self._row = -np.inf, dict[str, list]()

    def row(self) -> dict[str, list]:
        """Returns the last answer, which is at most `ASK_SECONDS` old.

        Returns:
            Two lists with an item per GPU, None = unknown: `gpu_utilisation`, percent of the
            driver's last sampling period (1/6 to 1 s) in which the GPU computed; `gpu_memory`, GiB
            used by all processes. Empty if nothing is known of any GPU.
        """
        if self._handles and self._clock() - self._asked >= ASK_SECONDS:
            self._asked, self._row = self._clock(), self._ask()
        return self._row

    def _ask(self):
        readings = [self._reading(handle) for handle in self._handles]
        if not any(readings):
            return {}
        utilisation, memory = zip(*(reading or (None, None) for reading in readings), strict=True)
        return {"gpu_utilisation": list(utilisation), "gpu_memory": list(memory)}

    def _reading(self, handle):
        if handle is None:
            return None
        try:
            utilisation = self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle).used
        except self._nvml.NVMLError:  # such as a GPU divided by MIG, which has no utilisation
            return None
        return utilisation, round(memory / 2**30, 2)


def gpu_load() -> GpuLoad:
    """Returns the `GpuLoad` of the GPUs that this process uses, in TensorFlow's order."""
    gpus = tf.config.get_visible_devices("GPU")
    nvml = start_nvml() if gpus else None
    return GpuLoad(nvml, [find_gpu(nvml, gpu) for gpu in gpus]) if nvml else GpuLoad()


def find_gpu(nvml: ModuleType, gpu: tf.config.PhysicalDevice) -> object | None:
    """Returns NVML's handle of a GPU; None = not found.

    NVML's numbering ignores CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER, so the GPU is found by its
    PCI address.
    """
    address = pci_address(int(gpu.name.rpartition(":")[2]))
    try:
        return nvml.nvmlDeviceGetHandleByPciBusId(address) if address else None
    except nvml.NVMLError:
        return None
