"""What helps when the memory of a GPU or of the machine is not enough."""

import math
import sys
from collections.abc import Iterator

from project.errors import first_line
from settings.arithmetic import STAGES, crops_per_replica
from settings.loading import Settings
from settings.table import TABLE

STRIDE = TABLE["crop_size"].multiple_of or 1  # window_size is a multiple of it, too
SMALLER = 0.75  # the side of a crop or window that is proposed


def is_out_of_memory(error: Exception) -> bool:
    """Returns whether Python, NumPy, OpenCV or TensorFlow was refused memory.

    A full disk is none of these here: `project.files.writing` has told it by then.
    """
    if isinstance(error, MemoryError):
        return True
    if type(error).__module__ == "cv2":
        return getattr(error, "code", None) == sys.modules["cv2"].Error.StsNoMem
    if "tensorflow" not in sys.modules:
        return False
    import tensorflow as tf

    return isinstance(error, tf.errors.ResourceExhaustedError)


def memory_message(error: Exception, settings: Settings | None, job: str) -> str:
    """Returns what happened and which settings help, the best first.

    Args:
        error: see `is_out_of_memory`.
        settings: of the job, if they were read by then.
        job: "mtl" or "dae" = training of that stage; else the name of what uses a trained network.
    """
    lines = [f"out of memory ({first_line(error)[:200]})."]
    remedies = list(_remedies(settings, job)) if settings else []
    if remedies:
        width = max(len(change) for change, _ in remedies)
        lines[0] += " What helps, the best first:"
        lines += [f"  {change:<{width}}  {effect}" for change, effect in remedies]
    lines.append(
        "Other programs on the same GPU or machine take memory, too (nvidia-smi, top). "
        "A job on a cluster may be allowed less than the machine has."
    )
    return "\n".join(lines)


def _remedies(settings: Settings, job: str) -> Iterator[tuple[str, str]]:
    """Yields pairs of settings to give and what they do."""
    if job in STAGES:
        yield from _for_steps(settings, job)
    yield from _for_windows(settings, "in validations: " if job in STAGES else "")
    if settings.precision == "float32":
        another = "; it trains another run" if job in STAGES else ""
        yield "--precision=auto", f"on a GPU: features take half the memory{another}"
    if job in STAGES and (smaller := _smaller(settings.crop_size)):
        share = (smaller / settings.crop_size) ** 2
        yield f"--crop_size={smaller}", f"{share:.0%} of the memory of a step; another run"


def _for_steps(settings: Settings, stage: str) -> Iterator[tuple[str, str]]:
    """Yields what makes a training step smaller, but leaves the run what it is."""
    crops, parts = crops_per_replica(settings, stage), settings.gradient_accumulation_steps
    names = {"mtl": "batch_size", "dae": "dae_batch_size"}
    sizes = {name: crops_per_replica(settings, one) for one, name in names.items()}
    # Accumulation holds for both stages: one whose batch is not divided becomes another run.
    common, other = math.gcd(*sizes.values()), ""
    if common == 1:
        common, sizes = crops, {names[stage]: crops}
        other = ", but the other stage becomes another run"
    if crops > 1:
        factor = next(f for f in range(2, common + 1) if common % f == 0)
        divided = (f"--{name}={size // factor}" for name, size in sizes.items())
        yield (
            f"{' '.join(divided)} --gradient_accumulation_steps={parts * factor}",
            f"{1 / factor:.0%} of the crops at a time in the same global batch: the run goes on"
            f"{other}",
        )
    if not settings.gradient_checkpointing:
        yield (
            "--gradient_checkpointing=true",
            "2.4 instead of 2.9 GiB (DenseNet121, 4 crops of 256 px), at 1.3 times the step time: "
            "the run goes on",
        )
    if settings.cache in ("auto", "memory"):
        yield "--cache=none", "on the machine: no tiles are kept in memory"


def _for_windows(settings: Settings, where: str) -> Iterator[tuple[str, str]]:
    """Yields what makes a prediction smaller."""
    windows, size = settings.batch_windows, settings.window_size
    if windows > 1:
        yield (
            f"--batch_windows={max(1, windows // 2)}",
            f"{where}{max(1, windows // 2) / windows:.0%} of the windows at a time",
        )
    if smaller := _smaller(size):
        yield (
            f"--window_size={smaller}",
            f"{where}{(smaller / size) ** 2:.0%} of the memory of a window; its edges count more",
        )


def _smaller(size: int) -> int:
    """Returns a smaller side of a crop or window; 0 = there is none."""
    return int(size * SMALLER) // STRIDE * STRIDE
