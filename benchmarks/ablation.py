"""Measures what each setting contributes: one short training per row and seed, measured on valid.

A row is a preset with some settings changed, such as "improved dropout=0.5". By default the rows
are both presets, and `improved` with one setting at a time put back to `published`. The settings on
the command line apply to all rows. Finished runs are not repeated. Example:
python -m benchmarks.ablation Demo --backbone=tiny --mtl_steps=300 --jobs=2
"""

import csv
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from benchmarks.shared import MeasurementError, given_settings, markdown_table
from commands.options import command_line, list_of, one_of, option, whole
from datasets.checks.progress import ensure_demo_data
from project.files import read_json, write_bytes, write_json
from project.version import ROOT
from runs.folders import output_folder
from settings.loading import Settings, fail, load, load_named
from settings.presets import PRESETS
from settings.table import TABLE, show

CORES = sorted(os.sched_getaffinity(0))
OPTIONS = (
    option("--rows", list_of(str), "LIST", 'such as "published,improved,improved dropout=0"'),
    option("--seeds", list_of(whole(0)), "LIST", "of each row [0,1,2]", "0,1,2"),
    option("--stages", one_of(("mtl", "mtl,dae")), "LIST", "mtl, or mtl,dae [mtl]", "mtl"),
    option("--jobs", whole(1, len(CORES)), "INT", "runs at once, which share the cores [1]", 1),
)
# Column of validation.csv, title, decimals.
MEASURES = (
    ("pooled_rmse", "RMSE (m)", 3),
    ("pooled_mae", "MAE (m)", 3),
    ("overall_accuracy", "accuracy", 3),
    ("miou", "mIoU", 3),
)
# Settings that are put back together, and rows that were tried but are not in the preset.
TOGETHER = (
    ("height_loss_weight", "semantic_loss_weight", "normal_loss_weight"),
    ("learning_rate_schedule", "warmup_epochs"),
)
TRIED = ("improved gradient_clip_norm=1",)
CORRECTION = ("correction_std", "correction, std (m)", 2)


@dataclass(frozen=True)
class Run:
    """One training of the table.

    Attributes:
        row: its name.
        arguments: of the training scripts: settings as texts, by name.
        folder: of its weights and results.
        dataset_name: of the data set.
    """

    row: str
    arguments: Mapping[str, str]
    folder: Path
    dataset_name: str


def default_rows(stages: Sequence[str] = ("mtl",)) -> list[str]:
    """Returns both presets, `improved` with one setting at a time put back, and `TRIED`."""
    improved = PRESETS["improved"]
    before = {name: TABLE[name].default for name in improved} | PRESETS["published"]
    changed = {
        name: show(before[name])
        for name, value in improved.items()
        if value != before[name]
        and name != "huber_delta"  # which has no effect if reg_loss is put back
        and ("dae" in stages or not name.startswith("dae_"))
    }
    together = [[name for name in group if name in changed] for group in TOGETHER]
    alone = [[name] for name in changed if not any(name in group for group in together)]
    rows = [" ".join(f"{name}={changed[name]}" for name in group) for group in alone + together]
    return ["published", "improved", *(f"improved {row}" for row in rows), *TRIED]


def read_row(row: str) -> dict[str, str]:
    """Reads a row such as "improved dropout=0.5" as settings; ends the script if it is wrong."""
    preset, *changes = row.split()
    if preset not in PRESETS or not all(re.fullmatch(r"\w+=\S+", change) for change in changes):
        fail(f"The row {row!r} is not a preset ({', '.join(PRESETS)}) followed by name=value.")
    return {"preset": preset, **dict(change.split("=", 1) for change in changes)}


def plan_runs(settings: Settings, rows: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    """Lists the trainings of the table; ends the script if the settings of one are wrong."""
    runs = []
    for seed in seeds:
        for row in rows:
            name = re.sub(r"[^\w.=-]+", "_", row)
            folder = output_folder(settings, "ablation") / name / f"seed{seed}"
            arguments = given_settings(settings) | read_row(row)
            arguments |= {
                "seed": str(seed),
                "checkpoint_dir": str(folder / "checkpoints"),
                "output_dir": str(folder / "output"),
            }
            load(__doc__, command_line(arguments))
            runs.append(Run(row, arguments, folder, settings.dataset_name))
    return runs


def run_stage(run: Run, stage: str) -> dict:
    """Trains one stage of a run, unless that is done, and returns the result of `read_result`.

    Raises:
        MeasurementError: if the training fails; names its log.
    """
    path, arguments, resume = run.folder / f"{stage}.json", command_line(run.arguments), []
    if path.is_file():
        stored = read_json(path)
        if stored.get("arguments") == arguments:
            return stored
        resume = ["--resume=never"]
    run.folder.mkdir(parents=True, exist_ok=True)
    log = run.folder / f"{stage}.log"
    with log.open("w") as file:
        command = [sys.executable, f"{ROOT}/train_{stage}.py", *arguments, *resume]
        ended = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT)
    if ended.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        seed = run.arguments["seed"]
        raise MeasurementError(f"{run.row}, seed {seed}: {''.join(last)} (see {log})")
    result = read_result(run, stage) | {"arguments": arguments}
    write_json(path, result)
    return result


def read_result(run: Run, stage: str) -> dict:
    """Reads the result files of a finished stage.

    Returns:
        The measures of the validation with the smallest RMSE, `minutes` of the training steps and
        `parameters` of the stage.
    """
    results = Path(run.arguments["output_dir"]) / run.dataset_name / stage
    weights = Path(run.arguments["checkpoint_dir"]) / run.dataset_name / stage
    with (results / "validation.csv").open(newline="") as file:
        chosen = min(csv.DictReader(file), key=lambda row: float(row["rmse"] or "inf"))
    with (results / "history.csv").open(newline="") as file:
        seconds = sum(float(row["seconds"]) for row in csv.DictReader(file))
    stored = read_json(weights / "settings.json")
    names = [name for name, _, _ in (*MEASURES, CORRECTION)]
    return {
        **{name: float(chosen[name]) if chosen.get(name) else None for name in names},
        "minutes": seconds / 60,
        "parameters": stored["parameters"],
    }


def run_all(
    runs: Sequence[Run], stages: Sequence[str], jobs: int
) -> dict[tuple[str, str], list[dict]]:
    """Runs all trainings, `jobs` at once.

    Returns:
        The results of the seeds by (row, stage), in the order of the rows.
    """
    shares = [CORES[number::jobs] for number in range(jobs)]
    table: dict[tuple[str, str], list[dict]] = {}
    # Each thread keeps to its share of the cores, and so do the processes that it starts.
    with ThreadPoolExecutor(
        jobs, initializer=lambda: os.sched_setaffinity(0, shares.pop())
    ) as pool:
        results = pool.map(lambda run: [run_stage(run, stage) for stage in stages], runs)
        bar = tqdm(results, total=len(runs), unit="run", dynamic_ncols=True)
        for run, of_stages in zip(runs, bar, strict=True):
            for stage, result in zip(stages, of_stages, strict=True):
                table.setdefault((run.row, stage), []).append(result)
    return table


def spread_cell(values: Sequence[float | None], decimals: int) -> str:
    """Returns "mean ± standard deviation" of the seeds' values, or "-" if there are none."""
    numbers = [value for value in values if value is not None]
    if not numbers:
        return "-"
    spread = f" ± {statistics.stdev(numbers):.{decimals}f}" if len(numbers) > 1 else ""
    return f"{statistics.mean(numbers):.{decimals}f}{spread}"


def table_text(table: Mapping[tuple[str, str], Sequence[dict]], stages: Sequence[str]) -> str:
    """Lays out the results of `run_all` as a Markdown table."""
    measures = MEASURES + ((CORRECTION,) if "dae" in stages else ())
    titles = ["row", *(title for _, title, _ in measures), "minutes", "million parameters"]
    lines = [
        (
            row if stage == "mtl" else f"{row}, with DAE",
            *(spread_cell([r[key] for r in results], digits) for key, _, digits in measures),
            f"{statistics.mean(r['minutes'] for r in results):.1f}",
            f"{results[0]['parameters'] / 1e6:.2f}",
        )
        for (row, stage), results in table.items()
    ]
    return markdown_table(titles, lines)


def main(arguments: Sequence[str] | None = None) -> None:
    settings = load_named(__doc__, arguments, OPTIONS)
    options, stages = settings.options, settings.options.stages.split(",")
    runs = plan_runs(settings, options.rows or default_rows(stages), options.seeds)
    ensure_demo_data(settings.dataset_name, settings.record)
    try:
        table = run_all(runs, stages, options.jobs)
    except MeasurementError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command continues from there.")
    text = table_text(table, stages)
    path = output_folder(settings, "ablation") / "table.md"
    write_bytes(path, (text + "\n").encode())
    seeds = ",".join(map(str, options.seeds))
    print(f"\n{settings.record.name}, valid split, seeds {seeds}\n\n{text}")
    print(f"Written to {path}")


if __name__ == "__main__":
    main()
