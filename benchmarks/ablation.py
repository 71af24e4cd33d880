"""Measures what settings are worth: one short training per row and seed, on the valid split.

A row is a preset and what is changed in it, such as "improved dropout=0.5"; without --rows they
are both presets, and `improved` with one thing at a time put back to `published`. Every setting of
the command line holds for all rows. Runs that are finished are not repeated. Example:
python -m benchmarks.ablation Demo --backbone=tiny --mtl_steps=300 --jobs=2
"""

import csv
import json
import os
import re
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from benchmarks.step_times import make_demo
from project.files import write_bytes, write_json
from settings.loading import COMMAND_LINE, fail, load, load_named
from settings.presets import PRESETS
from settings.table import TABLE, show

OPTIONS = (
    ("--rows", {"metavar": "LIST", "help": 'such as "published,improved,improved dropout=0"'}),
    ("--seeds", {"default": "0,1,2", "metavar": "LIST", "help": "of each row [0,1,2]"}),
    ("--stages", {"default": "mtl", "metavar": "LIST", "help": "mtl, or mtl,dae [mtl]"}),
    ("--jobs", {"default": 1, "type": int, "metavar": "INT", "help": "runs at once [1]"}),
)
ROOT = Path(__file__).parents[1]
# Column of validation.csv, title, decimals.
MEASURES = (
    ("pooled_rmse", "RMSE (m)", 3),
    ("pooled_mae", "MAE (m)", 3),
    ("overall_accuracy", "accuracy", 3),
    ("miou", "mIoU", 3),
)
# Settings that are put back as one, and what was tried but is not in the preset.
TOGETHER = (
    ("height_loss_weight", "semantic_loss_weight", "normal_loss_weight"),
    ("learning_rate_schedule", "warmup_epochs"),
)
TRIED = ("improved gradient_clip_norm=1",)
CORRECTION = ("correction_std", "correction, std (m)", 2)


class RunError(RuntimeError):
    """A training of the table failed."""


@dataclass(frozen=True)
class Run:
    """One training of the table.

    Attributes:
        row: str, the row's name.
        seed: int.
        arguments: dict of setting to text, of the training scripts.
        folder: `Path` that holds its weights and results.
        dataset_name: str.
    """

    row: str
    seed: int
    arguments: dict
    folder: Path
    dataset_name: str


def default_rows(stages=("mtl",)):
    """Returns both presets, `improved` with one thing at a time put back, and `TRIED`."""
    improved = PRESETS["improved"]
    before = {name: TABLE[name].default for name in improved} | PRESETS["published"]
    changed = {name: show(before[name]) for name in improved if improved[name] != before[name]}
    for name in [name for name in changed if name.startswith("dae_") and "dae" not in stages]:
        del changed[name]
    changed.pop("huber_delta", None)  # without use where reg_loss is put back
    together = [[name for name in group if name in changed] for group in TOGETHER]
    alone = [[name] for name in changed if not any(name in group for group in together)]
    rows = [" ".join(f"{name}={changed[name]}" for name in group) for group in alone + together]
    return ["published", "improved", *(f"improved {row}" for row in rows), *TRIED]


def read_row(text):
    """Reads a row such as "improved dropout=0.5" as a dict of setting to text.

    Raises:
        ValueError: if it does not begin with a preset, or goes on with anything but name=value.
    """
    preset, *changes = text.split()
    if preset not in PRESETS or not all(re.fullmatch(r"\w+=\S+", change) for change in changes):
        raise ValueError(
            f"The row {text!r} is not a preset ({', '.join(PRESETS)}) followed by name=value."
        )
    return {"preset": preset, **dict(change.split("=", 1) for change in changes)}


def plan_runs(settings, rows, seeds):
    """Lists the trainings of the table; ends the script where the settings of one are wrong."""
    common = {
        name: show(value)
        for name, value in settings.values.items()
        if settings.sources[name] == COMMAND_LINE
    }
    root = Path(settings.output_dir) / settings.dataset_name / "ablation"
    runs = []
    for seed in seeds:
        for row in rows:
            folder = root / re.sub(r"[^\w.=-]+", "_", row) / f"seed{seed}"
            places = {"checkpoint_dir": folder / "checkpoints", "output_dir": folder / "output"}
            arguments = common | read_row(row) | {"seed": str(seed)} | places
            load(__doc__, command_line(arguments))
            runs.append(Run(row, seed, arguments, folder, settings.dataset_name))
    return runs


def command_line(arguments):
    """Returns a dict of settings as the arguments of a script."""
    return [f"--{name}={value}" for name, value in arguments.items()]


def run_stage(run, stage, cores):
    """Trains one stage of a run, unless that is done, and returns its result.

    Args:
        run: `Run`.
        stage: "mtl" or "dae".
        cores: set of CPU cores it may use.

    Returns:
        dict of `read_result`.

    Raises:
        RunError: if the training fails; names its log.
    """
    path, arguments, anew = run.folder / f"{stage}.json", command_line(run.arguments), []
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["arguments"] == arguments:
            return stored
        anew = ["--resume=never"]
    run.folder.mkdir(parents=True, exist_ok=True)
    log = run.folder / f"{stage}.log"
    with log.open("w") as file:
        ended = subprocess.run(
            [sys.executable, ROOT / f"train_{stage}.py", *arguments, *anew],
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    if ended.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise RunError(f"{run.row}, seed {run.seed}: {''.join(last)} (see {log})")
    result = read_result(run, stage) | {"arguments": arguments}
    write_json(path, result)
    return result


def read_result(run, stage):
    """Reads what a finished stage has written about itself.

    Returns:
        dict: the measures of the validation with the smallest RMSE, `minutes` of training steps
        and `parameters` of the stage.
    """
    results = Path(run.arguments["output_dir"]) / run.dataset_name / stage
    weights = Path(run.arguments["checkpoint_dir"]) / run.dataset_name
    with (results / "validation.csv").open(newline="") as file:
        chosen = min(csv.DictReader(file), key=lambda row: float(row["rmse"] or "inf"))
    with (results / "history.csv").open(newline="") as file:
        seconds = sum(float(row["seconds"]) for row in csv.DictReader(file))
    stored = json.loads((weights / stage / "settings.json").read_text(encoding="utf-8"))
    names = [name for name, _, _ in (*MEASURES, CORRECTION)]
    return {
        **{name: float(chosen[name]) if chosen.get(name) else None for name in names},
        "minutes": seconds / 60,
        "parameters": stored["parameters"],
    }


def run_all(runs, stages, jobs):
    """Runs all trainings, `jobs` at once; each job keeps to its share of the CPU cores.

    Returns:
        dict of (row, stage) to the list of its seeds' results, in the order of the rows.
    """
    cores = sorted(os.sched_getaffinity(0))
    shares = [set(cores[number::jobs]) for number in range(jobs)]
    free = list(shares)

    def train(run):
        share = free.pop()
        try:
            return [run_stage(run, stage, share) for stage in stages]
        finally:
            free.append(share)

    table = {}
    with ThreadPoolExecutor(jobs) as pool:
        bar = tqdm(pool.map(train, runs), total=len(runs), unit="run", dynamic_ncols=True)
        for run, results in zip(runs, bar, strict=True):
            for stage, result in zip(stages, results, strict=True):
                table.setdefault((run.row, stage), []).append(result)
    return table


def spread_cell(values, decimals):
    """Returns "mean ± standard deviation" of the seeds' values, "-" where there are none."""
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.{decimals}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{decimals}f}{spread}"


def table_text(table, stages):
    """Lays the results out as a Markdown table."""
    measures = MEASURES + ((CORRECTION,) if "dae" in stages else ())
    titles = ["row", *(title for _, title, _ in measures), "minutes", "million parameters"]
    lines = ["| " + " | ".join(titles) + " |", "| --- |" + " ---: |" * (len(titles) - 1)]
    for (row, stage), results in table.items():
        name = row if stage == "mtl" else f"{row}, with DAE"
        cells = [spread_cell([r[key] for r in results], digits) for key, _, digits in measures]
        cells.append(f"{statistics.mean(r['minutes'] for r in results):.1f}")
        cells.append(f"{results[0]['parameters'] / 1e6:.2f}")
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


def read_options(options):
    """Returns (rows, seeds, stages) of the script's own options; ends it where one is wrong."""
    try:
        rows = [row.strip() for row in (options.rows or "").split(",") if row.strip()]
        for row in rows:
            read_row(row)
        seeds = [int(seed) for seed in options.seeds.split(",")]
    except ValueError as error:
        fail(error)
    if options.stages not in ("mtl", "mtl,dae"):
        fail(f"--stages={options.stages}: expected mtl, or mtl,dae.")
    if not 1 <= options.jobs <= len(os.sched_getaffinity(0)):
        fail(f"--jobs={options.jobs}: expected 1 to the number of CPU cores.")
    stages = options.stages.split(",")
    return rows or default_rows(stages), seeds, stages


def main(arguments=None):
    settings = load_named(__doc__, arguments, OPTIONS)
    rows, seeds, stages = read_options(settings.options)
    runs = plan_runs(settings, rows, seeds)
    make_demo(settings)
    try:
        table = run_all(runs, stages, settings.options.jobs)
    except RunError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command goes on from there.")
    text = table_text(table, stages)
    path = Path(settings.output_dir) / settings.dataset_name / "ablation" / "table.md"
    write_bytes(path, (text + "\n").encode())
    print(f"\n{settings.record.name}, valid split, seeds {settings.options.seeds}\n\n{text}")
    print(f"Written to {path}")


if __name__ == "__main__":
    main()
