"""Measures how training scales over devices: weak and strong scaling, and where the time goes.

Weak scaling keeps the batch of each device, strong scaling that of all devices together. Each row
is benchmarks.step_times in a process of its own, with the settings of the command line. One device
trains as train_mtl.py does there: the same compiled step, under TensorFlow's default strategy.
Without GPUs, replicas of the processor rehearse it. Example:
python -m benchmarks.scaling Demo --devices=1,2,4,8 --precision=mixed_float16
"""

import sys
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from benchmarks.step_times import (
    STEPS,
    MeasurementError,
    given_settings,
    in_a_process,
    make_demo,
)
from project.files import write_bytes, write_json
from settings.loading import fail, load_named

OPTIONS = (
    ("--devices", {"metavar": "LIST", "help": "counts, with 1 [1, 2, 4 ... all GPUs, or 1,2]"}),
    ("--modes", {"default": "weak,strong", "metavar": "LIST", "help": "[weak,strong]"}),
    ("--steps", STEPS | {"help": "timed steps of each row [20]"}),
    (
        "--global_batch",
        {"type": int, "metavar": "INT", "help": "crops of strong scaling [of one device]"},
    ),
)
MODES = ("weak", "strong")
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


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        counts: tuple of device counts.
        modes: tuple of "weak" and "strong".
        batch_size: int, crops per device and part of weak scaling.
        global_batch: int, crops of all devices together of strong scaling.
        parts: int, gradient accumulation steps.
    """

    counts: tuple
    modes: tuple
    batch_size: int
    global_batch: int
    parts: int

    def batch_of(self, mode, count):
        """Returns the crops per device and part.

        Raises:
            ValueError: if the global batch of strong scaling cannot be divided.
        """
        if mode == "weak":
            return self.batch_size
        size, rest = divmod(self.global_batch, count * self.parts)
        if rest or not size:
            accumulated = f" x {self.parts} accumulated parts" if self.parts > 1 else ""
            raise ValueError(
                f"A global batch of {self.global_batch} cannot be divided among {count} "
                f"devices{accumulated}. Set --global_batch to a multiple of {count * self.parts}."
            )
        return size


def add_rates(rows):
    """Adds `samples_per_second`, and `efficiency` against one device of the same mode, to rows.

    efficiency(N) = rate(N) / (N rate(1)), for weak and for strong scaling.

    Args:
        rows: list of dict with `mode`, `count` and, if they were measured, `global_batch_size` and
            `with_input`, seconds.
    """
    for row in rows:
        if "with_input" in row:
            row["samples_per_second"] = row["global_batch_size"] / row["with_input"]
    single = {row["mode"]: row.get("samples_per_second") for row in rows if row["count"] == 1}
    for row in rows:
        if "with_input" in row and single.get(row["mode"]):
            rate = row["samples_per_second"] / row["count"]
            row["efficiency"] = rate / single[row["mode"]]


def default_counts(gpus):
    """Returns 1, 2, 4 ... up to the number of GPUs, and that number; 1 and 2 without GPUs."""
    powers = [2**power for power in range(gpus.bit_length()) if 2**power <= gpus]
    return tuple(sorted({*powers, gpus})) if gpus else (1, 2)


def read_options(settings):
    """Returns the `Plan` of the script's options; ends the script where one is wrong.

    Its counts are empty where the command line gives none.
    """
    options = settings.options
    counts = [part.strip() for part in (options.devices or "").split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) for part in counts):
        fail(f"--devices={options.devices}: expected counts such as 1,2,4.")
    counts = tuple(sorted({int(part) for part in counts}))
    if counts and counts[0] != 1:
        fail(f"--devices={options.devices}: expected 1 among them, the baseline.")
    modes = tuple(options.modes.split(","))
    if not set(modes) <= set(MODES):
        fail(f"--modes={options.modes}: expected weak, strong, or weak,strong.")
    if options.steps < 1:
        fail(f"--steps={options.steps}: expected 1 or more.")
    parts, size = settings.gradient_accumulation_steps, settings.batch_size
    together = size * parts if options.global_batch is None else options.global_batch
    if together < 1:
        fail(f"--global_batch={together}: expected 1 or more.")
    return Plan(counts, modes, size, together, parts)


def find_gpus(settings):
    """Returns the indices of the GPUs to use, as a list of str; empty = none."""
    if settings.cpu_replicas:
        return []
    if settings.gpu_devices != "auto":
        return [index.strip() for index in settings.gpu_devices.split(",")]
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows
    from devices.strategy import list_gpus

    return [str(number) for number in range(len(list_gpus()))]


def devices(count, gpus):
    """Returns the settings, as a dict of name to text, that give so many devices."""
    if gpus:
        return {"gpu_devices": ",".join(gpus[:count]), "cpu_replicas": "0"}
    return {"gpu_devices": "auto", "cpu_replicas": str(count)}


def measure_rows(settings, plan, gpus):
    """Measures each mode and count.

    Args:
        settings: `settings.loading.Settings` with the script's options.
        plan: `Plan`.
        gpus: list of `find_gpus`.

    Yields:
        dict: `mode`, `count`, and what `benchmarks.step_times.measure` returns, or `problem`, why
        there is no measurement; `failed` where that is an error.
    """
    common = given_settings(settings) | {"steps": settings.options.steps}
    common["multi_gpu_enabled"] = "true"
    measured = {}
    for mode in plan.modes:
        for count in plan.counts:
            row = {"mode": mode, "count": count}
            try:
                size = plan.batch_of(mode, count)
                if (count, size) not in measured:  # one device is often the same in both modes
                    arguments = common | devices(count, gpus) | {"batch_size": size}
                    measured[count, size] = in_a_process(arguments)
                row |= measured[count, size]
            except ValueError as error:
                row["problem"] = str(error)
            except MeasurementError as error:
                row |= {"problem": str(error), "failed": True}
            yield row


def cell(row, key, factor, decimals):
    """Returns the text of a number of a row, "-" where it has none."""
    return f"{row[key] * factor:.{decimals}f}" if key in row else "-"


def table_text(rows, rehearsal):
    """Lays the rows out as a Markdown table, with what there is to say below it."""
    lines = ["| " + " | ".join(["mode", "devices", *COLUMNS]) + " |"]
    lines += ["| --- |" + " ---: |" * (len(COLUMNS) + 1)]
    for row in rows:
        cells = [row["mode"], str(row["count"]), *(cell(row, *how) for how in COLUMNS.values())]
        lines.append("| " + " | ".join(cells) + " |")
    notes = [f"{r['mode']}, {r['count']}: {r['problem']}" for r in rows if "problem" in r]
    notes += [REHEARSAL] if rehearsal else []
    return "\n\n".join(["\n".join(lines), *notes])


def write_results(settings, rows, rehearsal):
    """Writes scaling.json and table.md, and prints the table."""
    folder = Path(settings.output_dir) / settings.dataset_name / "scaling"
    text = table_text(rows, rehearsal)
    run = {"steps": settings.options.steps, "tensorflow": version("tensorflow")}
    run |= {"rehearsal": rehearsal, "settings": settings.values}
    write_json(folder / "scaling.json", {"rows": rows, **run})
    write_bytes(folder / "table.md", (text + "\n").encode())
    print(f"\n{text}\n\nWritten to {folder}")


def main(arguments=None):
    settings = load_named(__doc__, arguments, OPTIONS)
    plan = read_options(settings)
    gpus = find_gpus(settings)
    plan = replace(plan, counts=plan.counts or default_counts(len(gpus)))
    if gpus and plan.counts[-1] > len(gpus):
        fail(
            f"--devices={settings.options.devices}: there are {len(gpus)} GPUs to use "
            f"({', '.join(gpus)}). Ask for fewer, or rehearse with --cpu_replicas=1."
        )
    make_demo(settings)
    rows = []
    try:
        for row in measure_rows(settings, plan, gpus):
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
