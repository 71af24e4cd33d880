from types import SimpleNamespace

import pytest
import tensorflow as tf

from devices import strategy as devices
from devices.strategy import (
    DeviceError,
    describe_devices,
    make_strategy,
    select_gpus,
    unlike_models,
)

FOUND = [SimpleNamespace(name=f"gpu{i}") for i in range(3)]


@pytest.mark.parametrize("asked, indices", [("auto", [0, 1, 2]), ("2,0", [2, 0]), ("1", [1])])
def test_indices_select_gpus(asked, indices):
    assert select_gpus(asked, FOUND) == [FOUND[i] for i in indices]


def test_a_missing_gpu_is_reported_with_those_found():
    with pytest.raises(DeviceError, match=r"no GPU 3.*0 \(gpu0\), 1 \(gpu1\), 2 \(gpu2\)"):
        select_gpus("0,3", FOUND)


def test_a_machine_without_gpus_is_reported():
    with pytest.raises(DeviceError, match="sees: none"):
        select_gpus("0", [])


@pytest.mark.parametrize("several, count", [(True, 3), (False, 1)])
def test_gpus_in_use_are_the_visible_ones_and_leave_memory_to_others(monkeypatch, several, count):
    visible, growing = [], []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: FOUND)
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda gpus, kind: visible.extend(gpus))
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda gpu, on: growing.append((gpu, on))
    )
    monkeypatch.setattr(devices, "_mirrored", lambda names, reduction: (names, reduction))
    made = make_strategy(several, reduction="nccl")
    assert made == ([f"GPU:{i}" for i in range(count)], "nccl")
    assert visible == FOUND[:count] and growing == [(gpu, True) for gpu in FOUND[:count]]


def test_gpus_of_different_models_give_a_warning():
    assert unlike_models([]) == unlike_models(["A100", "A100"]) == ""
    line = unlike_models(["A100", "V100", "A100"])
    assert "warning: different models (2 x A100, 1 x V100), the slowest" in line


@pytest.mark.parametrize("count", [1, 2, 4])
def test_cpu_replicas(count):
    tf.distribute.MirroredStrategy._collective_key_base += 100000
    strategy = make_strategy(cpu_replicas=count)
    assert strategy.num_replicas_in_sync == count
    assert f"{count} replica" in describe_devices(strategy)


@pytest.mark.parametrize("replicas, used", [(1, "CPU:0"), (2, "CPU:0, CPU:1")])
def test_nccl_needs_gpus(replicas, used):
    with pytest.raises(DeviceError, match=f"sums between NVIDIA GPUs; in use: {used}"):
        make_strategy(cpu_replicas=replicas, reduction="nccl")
