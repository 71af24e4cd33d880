from types import SimpleNamespace

import pytest
import tensorflow as tf

from devices import gpus

NO_GPU = pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU on this machine"
)


def driver(*machine):
    """Stands for NVIDIA's library on a machine with these GPUs, each (model, GiB)."""
    return SimpleNamespace(
        nvmlDeviceGetCount=lambda: len(machine),
        nvmlDeviceGetHandleByIndex=lambda index: machine[index],
        nvmlDeviceGetName=lambda gpu: gpu[0],
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(total=gpu[1] * 2**30),
    )


@NO_GPU
def test_without_a_gpu_the_table_and_the_memory_say_so():
    first, second = gpus.device_table()
    assert first == "No GPU is used."
    assert second.startswith(f"TensorFlow {tf.__version__}, built for ") and "NCCL" in second
    assert gpus.memory_lines() == ["Memory: not reported for a CPU."]


def test_a_model_of_several_sizes_has_no_memory():
    memories = gpus.model_memories(driver(("T4", 16), ("A100", 80), ("A100", 40), ("T4", 16)))
    assert memories == {"T4": 16 * 2**30}


def test_a_gpu_has_its_row_and_missing_details_are_unknown(monkeypatch):
    found = [SimpleNamespace(name=f"/physical_device:GPU:{i}") for i in (1, 3)]
    details = {"device_name": "T4", "compute_capability": (7, 5)}
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: details if gpu is found[0] else {},
    )
    monkeypatch.setattr(gpus, "ask_driver", lambda: ("550.1", {"T4": 15 * 2**30}))
    assert gpus.device_rows(found) == [
        ("GPU:1", "T4", "15.0 GiB", "7.5", "550.1"),
        ("GPU:3", "unknown", "unknown", "unknown", "550.1"),
    ]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: found)
    heading, first, second, _ = gpus.device_table()
    assert heading.index("driver") == first.index("550.1") == second.index("550.1")


@NO_GPU
def test_without_a_driver_its_version_is_unknown():
    assert gpus.ask_driver() == ("unknown", {})
