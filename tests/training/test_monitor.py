"""Step times on times given by hand.

Stand-ins for NVIDIA's library show how its answers become columns; what it really answers, only
the tests on a GPU show.
"""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from devices.cuda import pci_address
from devices.gpus import GpuLoad, find_gpu, gpu_load, start_nvml
from training.history import FIGURES, HISTORY_COLUMNS
from training.monitor import StepMonitor, short_figures

GPUS = tf.config.list_physical_devices("GPU")
NO_GPU = pytest.mark.skipif(bool(GPUS), reason="there is a GPU on this machine")
ON_GPU = pytest.mark.skipif(not GPUS, reason="there is no GPU on this machine")


def monitor(*steps, global_batch_size=8):
    """Returns a monitor that was told of these (seconds, seconds waited)."""
    result = StepMonitor(global_batch_size, GpuLoad())
    for seconds, waited in steps:
        result.add(seconds, waited)
    return result


class LostGpu(Exception):
    """Stands for pynvml's error."""


def driver(answers):
    """Stands for pynvml: (percent, GiB) of each GPU; the numbers of the GPUs are their handles."""

    def ask(number):
        if answers[number] is None:
            raise LostGpu
        percent, memory = answers[number]
        return SimpleNamespace(gpu=percent, used=memory * 2**30)

    return SimpleNamespace(
        nvmlDeviceGetUtilizationRates=ask, nvmlDeviceGetMemoryInfo=ask, NVMLError=LostGpu
    )


def test_figures_by_hand():
    # Without the first step: median of 1 to 5; p95 lies 0.8 of the way from 4 to 5; 3 of 15 s.
    row = monitor((60, 50), (2, 0), (1, 0.5), (5, 2), (3, 0), (4, 0.5)).row()
    assert row == {
        "seconds_median": 3.0,
        "seconds_p95": pytest.approx(4.8),
        "input_wait": pytest.approx(0.2),
    }


def test_the_window_holds_the_last_100_steps():
    row = monitor(*[(9, 9)] * 51, *[(1, 0)] * 51, *[(2, 0)] * 49).row()
    assert row == {"seconds_median": 1.0, "seconds_p95": 2.0, "input_wait": 0.0}


def test_before_the_second_step_nothing_is_known():
    assert monitor().row() == monitor((3, 1)).row() == {}
    assert monitor((3, 1)).summary() == []
    assert short_figures({"loss": 1.23456}) == "loss=1.235"


@pytest.mark.parametrize("waited, hints", [(0.4, 0), (0.5, 1)])
def test_summary_hints_at_slow_input(waited, hints):
    line, *rest = monitor((9, 0), (2, waited), (2, waited), global_batch_size=3).summary()
    assert line.startswith("Step time: median 2 s, p95 2 s of the last 2; 1.5 samples/s; ")
    assert f"{waited / 2:.0%} of the time waiting for input" in line
    assert len(rest) == hints


def test_a_row_has_columns_of_the_history_alone():
    load = GpuLoad(driver([(93, 12)]), [0])
    steps = StepMonitor(8, load)
    steps.add(1, 0)
    steps.add(1, 0)
    assert tuple(steps.row()) == FIGURES and set(FIGURES) < set(HISTORY_COLUMNS)


def test_each_gpu_has_its_place_and_missing_values_are_left_out():
    row = GpuLoad(driver([(91, 12.5), None, (94, 3)]), [2, 1, 0, None]).row()
    assert row == {
        "gpu_utilisation": [94, None, 91, None],
        "gpu_memory": [3.0, None, 12.5, None],
    }
    assert short_figures({"loss": 1.0} | row) == "loss=1, gpu=92%, 12.5GiB"


def test_without_values_of_any_gpu_there_are_no_columns():
    assert GpuLoad().row() == GpuLoad(driver([None]), [0, None]).row() == {}


def test_the_driver_is_asked_once_a_second():
    answers, clock = [(10, 1)], SimpleNamespace(now=5.0)
    load = GpuLoad(driver(answers), [0], lambda: clock.now)
    told = []
    for clock.now, percent in ((5.0, 10), (5.9, 20), (6.0, 30), (6.5, 40)):
        answers[0] = (percent, 1)
        told += load.row()["gpu_utilisation"]
    assert told == [10, 10, 30, 30]


@NO_GPU
def test_without_a_gpu_there_are_no_columns():
    assert gpu_load().row() == {}
    assert pci_address(0) is None
    assert find_gpu(SimpleNamespace(NVMLError=LostGpu), SimpleNamespace(name="GPU:0")) is None


@ON_GPU
def test_gpus_are_found_by_their_address():
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    nvml = start_nvml()
    handles = [find_gpu(nvml, gpu) for gpu in GPUS]
    details = [tf.config.experimental.get_device_details(gpu) for gpu in GPUS]
    assert [nvml.nvmlDeviceGetName(h) for h in handles] == [d["device_name"] for d in details]
    assert len({nvml.nvmlDeviceGetUUID(handle) for handle in handles}) == len(GPUS)


@ON_GPU
def test_memory_taken_on_a_gpu_is_reported_for_that_gpu():
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    last = len(tf.config.list_logical_devices("GPU")) - 1
    before = gpu_load().row()["gpu_memory"][last]
    with tf.device(f"GPU:{last}"):
        taken = tf.zeros((2**28,))  # 1 GiB
    row = gpu_load().row()
    assert row["gpu_memory"][last] >= max(before, taken.shape[0] * 4 / 2**30)
    assert all(0 <= percent <= 100 for percent in row["gpu_utilisation"])
