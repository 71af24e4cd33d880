"""How fast a training runs: step times, waiting for input, and the load of the GPUs."""

import ctypes
import time
from collections import deque

import numpy as np
import tensorflow as tf

from training.device_table import start_nvml

WINDOW = 100  # steps that the figures are of
ASK_SECONDS = 1.0  # the driver's own figures are means over up to a second
SLOW_INPUT = 0.2  # share of the time from which on waiting for input is worth a hint


class StepMonitor:
    """Times of the last `WINDOW` steps, without the first of the process, which compiles."""

    def __init__(self, global_batch_size, load):
        """Begins with no step.

        Args:
            global_batch_size: int, examples per step over all replicas.
            load: `GpuLoad`.
        """
        self._global_batch_size, self._load = global_batch_size, load
        self._steps, self._compiled = deque(maxlen=WINDOW), False

    def add(self, seconds, waited):
        """Adds a step.

        Args:
            seconds: float, of the whole step.
            waited: float, those of them in which it waited for its batch.
        """
        if self._compiled:
            self._steps.append((seconds, waited))
        self._compiled = True

    def row(self):
        """Returns the figures after a step: a dict of columns of history.csv, as far as known."""
        return self._times() | self._load.row()

    def _times(self):
        if not self._steps:
            return {}
        seconds, waited = np.transpose(self._steps)
        median, late = np.percentile(seconds, (50, 95))
        return {
            "seconds_median": float(median),
            "seconds_p95": float(late),
            "input_wait": float(waited.sum() / seconds.sum()),
        }

    def summary(self):
        """Returns lines on the last steps, for the end of a run; none without a step."""
        if not self._steps:
            return []
        times, count = self._times(), len(self._steps)
        speed = self._global_batch_size * count / sum(seconds for seconds, _ in self._steps)
        lines = [
            f"Step time: median {times['seconds_median']:.3g} s, p95 {times['seconds_p95']:.3g} s "
            f"of the last {count}; {speed:.1f} samples/s; {times['input_wait']:.0%} of the time "
            "waiting for input."
        ]
        if times["input_wait"] > SLOW_INPUT:
            lines.append(
                "Reading the tiles holds the training up: a faster disk or more CPU cores may "
                "help, more GPUs do not (docs/results.md)."
            )
        return lines


def short_figures(row):
    """Returns the figures of a step as the progress bar shows them.

    Args:
        row: dict with `loss` and what there is of `StepMonitor.row`.
    """
    parts = [f"loss={row['loss']:.4g}"]
    if "seconds_median" in row:
        parts.append(f"step={row['seconds_median']:.3g}s")
        parts.append(f"p95={row['seconds_p95']:.3g}s")
        parts.append(f"wait={row['input_wait']:.0%}")
    if "gpu_utilisation" in row:
        utilisation, memory = (
            [value for value in row[name] if value is not None]
            for name in ("gpu_utilisation", "gpu_memory")
        )
        parts.append(f"gpu={np.mean(utilisation):.0f}%")
        parts.append(f"{max(memory):.1f}GiB")
    return ", ".join(parts)


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
