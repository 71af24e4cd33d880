"""Which arithmetic the layers use, and where a machine is slow at it."""

import os
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

# The compute capability from which on NVIDIA's GPUs multiply in hardware: Ampere, Volta. bfloat16
# comes first: it has the range of float32 and needs no loss scaling, which skips steps.
CAPABILITIES = {"mixed_bfloat16": (8, 0), "mixed_float16": (7, 0)}
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # of processors


def choose_precision(asked: str) -> tuple[str, str]:
    """Resolves the setting `precision` for the devices in use.

    Args:
        asked: "auto", or a policy of Keras: "float32", "mixed_float16", "mixed_bfloat16".

    Returns:
        (policy, a warning if this machine is likely to be slower with it than with float32,
        otherwise empty).
    """
    capabilities = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        for gpu in tf.config.get_visible_devices("GPU")
    ]
    policy = fastest_policy(capabilities) if asked == "auto" else asked
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0"
    slow = slow_at(policy, capabilities, processor_flags(), onednn)
    return policy, f"precision is {policy}, but {slow}. Set precision=auto." if slow else ""


def fastest_policy(capabilities: Sequence[tuple[int, int]]) -> str:
    """Returns the policy that is fast on all GPUs; without any GPU, float32.

    Args:
        capabilities: compute capability of each GPU, (major, minor).
    """
    least = min(capabilities, default=(0, 0))
    return next((policy for policy, c in CAPABILITIES.items() if least >= c), "float32")


def slow_at(
    policy: str, capabilities: Sequence[tuple[int, int]], flags: set[str], onednn: bool
) -> str:
    """Returns why the devices are slow at a policy; empty if they are not.

    Args:
        policy: of Keras.
        capabilities: compute capabilities of the GPUs in use; empty = a processor.
        flags: what the processor supports.
        onednn: whether TensorFlow uses oneDNN on it.
    """
    if policy not in CAPABILITIES:
        return ""
    if capabilities:
        pairs = min(capabilities), CAPABILITIES[policy]
        found, needed = (".".join(map(str, pair)) for pair in pairs)
        slow = f"a GPU of compute capability {found} is slow at it ({needed} is not)"
        return slow if pairs[0] < pairs[1] else ""
    if policy == "mixed_float16":
        return "processors are slow at float16"
    fast = onednn and flags & BFLOAT16_FLAGS
    return "" if fast else "this processor, or TensorFlow without oneDNN, is slow at bfloat16"


def processor_flags() -> set[str]:
    """Returns the flags of this processor, as Linux lists them; empty on other systems."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
