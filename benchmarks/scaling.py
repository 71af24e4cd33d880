"""Measures how training scales over devices: weak and strong scaling, and where the time goes.

Weak scaling keeps the batch of each device, strong scaling that of all devices together. Each row
is benchmarks.step_times in a separate process, with the settings of the command line. One device
trains in the same way as train_mtl.py: the same compiled step, under TensorFlow's default strategy.
Without GPUs, CPU replicas rehearse it. Example:
python -m benchmarks.scaling Demo --devices=1,2,4,8 --precision=mixed_float16
"""

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from benchmarks.shared import MeasurementError, given_settings, in_a_process, markdown_table
from commands.options import list_of, one_of, option, whole
from datasets.checks.progress import ensure_demo_data
from project.files import write_bytes, write_json
from runs.folders import output_folder
from settings.loading import Settings, fail, load_named

MODES = ("weak", "strong")
OPTIONS = (
    option("--devices", list_of(whole(1)), "LIST", "counts, with 1 [1, 2, 4 ... all GPUs, or 1,2]"),
    option("--modes", list_of(one_of(MODES)), "LIST", "[weak,strong]", "weak,strong"),
    option("--steps", whole(1), "INT", "timed steps of each row [20]", 20),
    option("--global_batch", whole(1), "INT", "crops of strong scaling [of one device]"),
)
REHEARSAL = (
    "The devices are replicas of one processor and share its cores: this is no measurement of "
    "scaling, only a rehearsal."
)
COLUMNS = {  # of table.md: title, key of a row, factor, decimals
    "crops per device": ("batch_size", 1, 0),
    "global batch": ("global_batch_size", 1, 0),
    "input (ms)": ("input", 1000, 1),
    "compute (ms)": ("compute", 1000, 1),
    "reduction (ms)": ("reduction", 1000, 1),
    "step (ms)": ("step", 1000, 1),
    "with input (ms)": ("with_input", 1000, 1),
    "crops per s": ("samples_per_second", 1, 1),
    "efficiency": ("efficiency", 1, 3),
    "GiB": ("peak_memory_gib", 1, 1),
}


def batch_of(settings: Settings, mode: str, count: int) -> int:
    """Returns the crops per device and accumulated part.

    Raises:
        ValueError: if the global batch of strong scaling cannot be divided.
    """
    if mode == "weak":
        return settings.batch_size
    parts = settings.gradient_accumulation_steps
    together = settings.options.global_batch or settings.batch_size * parts
    size, rest = divmod(together, count * parts)
    if rest or not size:
        accumulated = f" x {parts} accumulated parts" if parts > 1 else ""
        raise ValueError(
            f"A global batch of {together} cannot be divided among {count} devices{accumulated}. "
            f"Set --global_batch to a multiple of {count * parts}."
        )
    return size


def add_rates(rows: Sequence[dict]) -> None:
    """Adds `samples_per_second`, and `efficiency` against one device of the same mode, to rows.

    efficiency(N) = rate(N) / (N rate(1)), for weak and for strong scaling.

    Args:
        rows: with `mode`, `count` and, if they were measured, `global_batch_size` and
            `with_input`, seconds.
    """
    measured = [row for row in rows if "with_input" in row]
    for row in measured:
        row["samples_per_second"] = row["global_batch_size"] / row["with_input"]
    single = {row["mode"]: row["samples_per_second"] for row in measured if row["count"] == 1}
    for row in measured:
        if row["mode"] in single:
            rate = row["samples_per_second"] / row["count"]
            row["efficiency"] = rate / single[row["mode"]]


def default_counts(gpus: int) -> list[int]:
    """Returns 1, 2, 4 ... up to the number of GPUs, and that number; 1 and 2 without GPUs."""
    powers = [2**power for power in range(gpus.bit_length())]
    return sorted({*powers, gpus}) if gpus else [1, 2]


def find_gpus(settings: Settings) -> list[str]:
    """Returns the indices of the GPUs to use."""
    if settings.cpu_replicas:
        return []
    if settings.gpu_devices != "auto":
        return [index.strip() for index in settings.gpu_devices.split(",")]
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows
    from devices.strategy import list_gpus

    return [str(number) for number in range(len(list_gpus()))]


def device_settings(count: int, gpus: Sequence[str]) -> dict[str, str]:
    """Returns the settings that give this number of devices."""
    if gpus:
        return {"gpu_devices": ",".join(gpus[:count]), "cpu_replicas": "0"}
    return {"gpu_devices": "auto", "cpu_replicas": str(count)}


def measure_rows(settings: Settings, counts: Sequence[int], gpus: Sequence[str]) -> Iterator[dict]:
    """Measures each mode with each number of devices.

    Yields:
        `mode`, `count`, and the results of `benchmarks.step_times.measure`, or `problem`, the
        reason why there are none; also `failed` if that is an error.
    """
    # Encoders start with random weights, since times do not depend on them.
    common = {"backbone_weights": "none"} | given_settings(settings)
    common |= {"steps": str(settings.options.steps), "multi_gpu_enabled": "true"}
    measured: dict[tuple[int, int], dict] = {}
    for mode in settings.options.modes:
        for count in counts:
            row = {"mode": mode, "count": count}
            try:
                size = batch_of(settings, mode, count)
                if (count, size) not in measured:  # one device is often the same in both modes
                    arguments = common | device_settings(count, gpus) | {"batch_size": str(size)}
                    measured[count, size] = in_a_process("benchmarks.step_times", arguments)
                row |= measured[count, size]
            except ValueError as error:
                row["problem"] = str(error)
            except MeasurementError as error:
                row |= {"problem": str(error), "failed": True}
            yield row


def table_text(rows: Sequence[dict], rehearsal: bool) -> str:
    """Lays out the rows as a Markdown table, with their problems below it."""

    def cell(row, key, factor, decimals):
        return f"{row[key] * factor:.{decimals}f}" if key in row else "-"

    lines = [
        (row["mode"], row["count"], *(cell(row, *how) for how in COLUMNS.values())) for row in rows
    ]
    table = markdown_table(("mode", "devices", *COLUMNS), lines)
    notes = [f"{r['mode']}, {r['count']}: {r['problem']}" for r in rows if "problem" in r]
    return "\n\n".join([table, *notes, *([REHEARSAL] if rehearsal else [])])


def write_results(settings: Settings, rows: Sequence[dict], rehearsal: bool) -> None:
    """Writes scaling.json and table.md, and prints the table."""
    folder, text = output_folder(settings, "scaling"), table_text(rows, rehearsal)
    result = {
        "rows": rows,
        "steps": settings.options.steps,
        "tensorflow": version("tensorflow"),
        "rehearsal": rehearsal,
        "settings": settings.values,
    }
    write_json(folder / "scaling.json", result)
    write_bytes(folder / "table.md", (text + "\n").encode())
    print(f"\n{text}\n\nWritten to {folder}")


def main(arguments: Sequence[str] | None = None) -> None:
    settings = load_named(__doc__, arguments, OPTIONS)
    counts = sorted(set(settings.options.devices or ()))
    asked = f"--devices={','.join(map(str, counts))}"
    if counts and counts[0] != 1:
        fail(f"{asked}: expected 1 among them, with which the others are compared.")
    gpus = find_gpus(settings)
    counts = counts or default_counts(len(gpus))
    if gpus and counts[-1] > len(gpus):
        fail(
            f"{asked}: there are {len(gpus)} GPUs to use ({', '.join(gpus)}). Choose fewer, or "
            "rehearse with --cpu_replicas=1."
        )
    ensure_demo_data(settings.dataset_name, settings.record)
    rows = []
    try:
        for row in measure_rows(settings, counts, gpus):
            rows.append(row)
            print(f"{row['mode']}, {row['count']}: {row.get('problem', 'measured')}", flush=True)
    except KeyboardInterrupt:
        sys.exit("\nInterrupted.")
    add_rates(rows)
    write_results(settings, rows, rehearsal=not gpus)
    if any("failed" in row for row in rows):
        sys.exit("error: not all rows could be measured.")


if __name__ == "__main__":
    main()
