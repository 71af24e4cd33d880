"""Which arithmetic the layers use, and where a machine is slow at it."""

import os
from pathlib import Path

import tensorflow as tf

BFLOAT16_CAPABILITY = (8, 0)  # of NVIDIA's GPUs that multiply bfloat16 in hardware: Ampere
FLOAT16_CAPABILITY = (7, 0)  # and float16: Volta
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # of processors


def choose_precision(asked):
    """Resolves the setting `precision` for the devices in use.

    Args:
        asked: "auto", or a policy of Keras: "float32", "mixed_float16", "mixed_bfloat16".

    Returns:
        (policy, str: a warning where this machine is likely slower with it than with float32,
        else empty).
    """
    capabilities = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        for gpu in tf.config.get_visible_devices("GPU")
    ]
    policy = fastest_policy(capabilities) if asked == "auto" else asked
    slow = slow_at(policy, capabilities, processor_flags(), uses_onednn())
    return policy, f"precision is {policy}, but {slow}. Set precision=auto." if slow else ""


def fastest_policy(capabilities):
    """Returns the policy that is fast on all of these GPUs, float32 without any.

    Args:
        capabilities: list of compute capabilities, (major, minor).
    """
    least = min(capabilities, default=(0, 0))
    if least >= BFLOAT16_CAPABILITY:
        return "mixed_bfloat16"  # has the range of float32: no loss scaling, no step left out
    return "mixed_float16" if least >= FLOAT16_CAPABILITY else "float32"


def slow_at(policy, capabilities, flags, onednn):
    """Says why devices are slow at a policy; empty where nothing speaks against it.

    Args:
        policy: str, of Keras.
        capabilities: list of compute capabilities of the GPUs in use; empty = a processor.
        flags: set of str, what the processor can do.
        onednn: bool, whether TensorFlow uses oneDNN on it.
    """
    needed = {"mixed_float16": FLOAT16_CAPABILITY, "mixed_bfloat16": BFLOAT16_CAPABILITY}
    if policy not in needed:
        return ""
    least = min(capabilities, default=None)
    if least is not None and least < needed[policy]:
        found, wanted = (".".join(map(str, pair)) for pair in (least, needed[policy]))
        return f"a GPU of compute capability {found} computes that slowly ({wanted} does not)"
    if least is None and policy == "mixed_float16":
        return "processors compute float16 slowly"
    if least is None and not (onednn and flags & BFLOAT16_FLAGS):
        return "this processor, or TensorFlow without oneDNN, computes bfloat16 slowly"
    return ""


def processor_flags():
    """Returns the set of this processor's flags, as Linux lists them; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def uses_onednn():
    """Says whether TensorFlow computes with oneDNN on a processor: it does, unless told not to."""
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0"
