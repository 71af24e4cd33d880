from types import SimpleNamespace

import pytest
import tensorflow as tf

from devices import table

NO_GPU = pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU on this machine"
)


def driver(*gpus):
    """Stands for NVIDIA's library: (model, GiB) of each GPU of a machine."""
    return SimpleNamespace(
        nvmlDeviceGetCount=lambda: len(gpus),
        nvmlDeviceGetHandleByIndex=lambda index: gpus[index],
        nvmlDeviceGetName=lambda gpu: gpu[0],
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(total=gpu[1] * 2**30),
    )


@NO_GPU
def test_a_machine_without_gpu_says_so():
    first, second = table.device_table()
    assert first == "No GPU is used."
    assert second.startswith(f"TensorFlow {tf.__version__}, built for ") and "NCCL" in second
    assert table.memory_lines() == ["Memory: not told for a CPU."]


def test_memory_goes_by_model_and_is_not_guessed():
    memories = table.model_memories(driver(("T4", 16), ("A100", 80), ("A100", 40), ("T4", 16)))
    assert memories == {"T4": 16 * 2**30}


def test_a_gpu_has_its_row_and_what_is_not_told_is_unknown(monkeypatch):
    gpus = [SimpleNamespace(name=f"/physical_device:GPU:{i}") for i in (1, 3)]
    details = {"device_name": "T4", "compute_capability": (7, 5)}
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: details if gpu is gpus[0] else {},
    )
    monkeypatch.setattr(table, "ask_driver", lambda: ("550.1", {"T4": 15 * 2**30}))
    assert table.device_rows(gpus) == [
        ("GPU:1", "T4", "15.0 GiB", "7.5", "550.1"),
        ("GPU:3", "unknown", "unknown", "unknown", "550.1"),
    ]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: gpus)
    heading, first, second, _ = table.device_table()
    assert heading.index("driver") == first.index("550.1") == second.index("550.1")


@NO_GPU
def test_without_a_driver_nothing_is_claimed():
    assert table.ask_driver() == ("unknown", {})
