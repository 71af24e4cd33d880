"""Utilisation and memory of GPUs, as NVIDIA's driver tells them."""

import ctypes
import time

import numpy as np
import tensorflow as tf

from devices.table import start_nvml

ASK_SECONDS = 1.0  # the driver's own figures are means over up to a second


class GpuLoad:
    """Utilisation and memory of GPUs, as NVIDIA's driver tells them."""

    def __init__(self, nvml=None, handles=(), clock=time.monotonic):
        """Asks nothing yet; without arguments it never does.

        Args:
            nvml: the started module `pynvml`.
            handles: its handle of each GPU, None = not found.
            clock: function () -> float, seconds.
        """
        self._nvml, self._handles, self._clock = nvml, handles, clock
        self._asked, self._row = -np.inf, {}

    def row(self):
        """Returns the last answer, which is at most `ASK_SECONDS` old.

        Returns:
            dict of lists, an item per GPU, None = not told: `gpu_utilisation`, percent of the
            driver's last sample (1/6 to 1 s) in which the GPU computed; `gpu_memory`, GiB taken by
            all processes. Empty where no GPU tells.
        """
        if self._handles and self._clock() - self._asked >= ASK_SECONDS:
            self._asked, self._row = self._clock(), self._ask()
        return self._row

    def _ask(self):
        readings = [self._reading(handle) for handle in self._handles]
        if not any(readings):
            return {}
        columns = zip(*(reading or (None, None) for reading in readings), strict=True)
        return dict(zip(("gpu_utilisation", "gpu_memory"), map(list, columns), strict=True))

    def _reading(self, handle):
        if handle is None:
            return None
        try:
            utilisation = self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle).used
        except self._nvml.NVMLError:  # such as a GPU divided by MIG, which has no utilisation
            return None
        return utilisation, round(memory / 2**30, 2)


def gpu_load():
    """Returns the `GpuLoad` of the GPUs that this process uses, in TensorFlow's order."""
    gpus = tf.config.get_visible_devices("GPU")
    nvml = start_nvml() if gpus else None
    return GpuLoad(nvml, [find_gpu(nvml, gpu) for gpu in gpus]) if nvml else GpuLoad()


def find_gpu(nvml, gpu):
    """Finds a GPU in NVML by its place in the machine.

    NVML's numbers follow neither CUDA_VISIBLE_DEVICES nor CUDA_DEVICE_ORDER, so they say nothing.

    Args:
        nvml: the started module `pynvml`.
        gpu: physical device of TensorFlow.

    Returns:
        NVML's handle; None = not found.
    """
    address = pci_address(int(gpu.name.rpartition(":")[2]))
    try:
        return nvml.nvmlDeviceGetHandleByPciBusId(address) if address else None
    except nvml.NVMLError:
        return None


def pci_address(number):
    """Asks CUDA for the PCI address of a GPU, which TensorFlow does not tell.

    Args:
        number: int, CUDA's number of the GPU in this process; TensorFlow names physical GPUs by it.

    Returns:
        str such as "0000:3b:00.0"; None = there is no CUDA or no such GPU.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, address = ctypes.c_int(), ctypes.create_string_buffer(32)
    failed = (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(device), number)
        or cuda.cuDeviceGetPCIBusId(address, len(address), device)
    )
    return None if failed else address.value.decode()
