"""How fast a training runs: step times, waiting for input, and the load of the GPUs."""

from collections import deque

import numpy as np

from devices.gpus import GpuLoad

WINDOW = 100  # steps that the figures are of
SLOW_INPUT = 0.2  # share of the time that may pass waiting for input without a hint


class StepMonitor:
    """Times of the last `WINDOW` steps, without the first of the process, which compiles."""

    def __init__(self, global_batch_size: int, load: GpuLoad):
        """Starts without a step.

        Args:
            global_batch_size: examples per step over all replicas.
            load: of the GPUs of this process.
        """
        self._global_batch_size, self._load = global_batch_size, load
        self._steps: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._compiled = False

    def add(self, seconds: float, waited: float) -> None:
        """Adds a step.

        Args:
            seconds: of the whole step.
            waited: the part of them that it waited for its batch.
        """
        if self._compiled:
            self._steps.append((seconds, waited))
        self._compiled = True

    def row(self) -> dict:
        """Returns the figures after a step, by column of history.csv, as far as they are known."""
        return self._times() | self._load.row()

    def _times(self) -> dict[str, float]:
        if not self._steps:
            return {}
        seconds, waited = np.transpose(self._steps)
        median, late = np.percentile(seconds, (50, 95))
        return {
            "seconds_median": float(median),
            "seconds_p95": float(late),
            "input_wait": float(waited.sum() / seconds.sum()),
        }

    def summary(self) -> list[str]:
        """Returns lines about the last steps, for the end of a run."""
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
                "Reading the tiles is the bottleneck: a faster disk or more CPU cores may help, "
                "more GPUs do not (docs/results.md)."
            )
        return lines


def short_figures(row: dict) -> str:
    """Returns the figures of a step as the progress bar shows them.

    Args:
        row: `loss` and what there is of `StepMonitor.row`.
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
