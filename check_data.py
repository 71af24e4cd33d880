"""Checks a data set: reads every file once and says whether it is usable, and what it holds.

Example: python check_data.py Demo --splits=train,valid

Writes <output_dir>/<dataset_name>/check/check.json and contact_sheet.png. Exit status: 0 = usable,
though there may be suspicions; 1 = not usable, every such file is named; 2 = wrong arguments, or
the report cannot be written.
"""

import json
import sys
import time
from pathlib import Path

from tqdm import tqdm

from datasets.records.record import SPLITS
from settings.loading import fail, load_named, read_splits

OPTIONS = (
    (
        "--splits",
        {
            "default": ",".join(SPLITS),
            "metavar": "LIST",
            "help": f"of {', '.join(SPLITS)} [all three]",
        },
    ),
)


def main(arguments=None):
    """Runs the script; returns the exit status."""
    settings = load_named(__doc__, arguments, OPTIONS)
    splits = read_splits(settings.options.splits)
    # GDAL and OpenCV come in only now, so that a wrong setting is refused at once.
    from datasets.checks.report_text import report_text, verdict_text

    start = time.perf_counter()
    try:
        inspections = inspect(settings, splits)
        together = compare(settings.record, inspections)
        print(report_text(settings.record, inspections, together["suspicions"]))
        folder = write(settings, inspections, together, time.perf_counter() - start)
    except OSError as error:
        fail(error)
    print(f"\n{verdict_text(inspections)} Written to {folder}")
    return int(any(inspection.problems for inspection in inspections))


def inspect(settings, splits):
    """Inspects the splits; the demo data is made where it is asked for and absent.

    Returns:
        list of `datasets.checks.inspection.SplitInspection`.
    """
    from datasets.checks.inspection import inspect_split
    from datasets.checks.validation import label_problems
    from datasets.demo.data_set import ensure_demo

    record = settings.record
    sar = settings.sar_mode == "fusion"
    needs_labels = {"train": settings.sem_flag, "valid": settings.eval_metric == "miou"}
    if settings.dataset_name == "Demo" and not (record.folder / "dataset.toml").is_file():
        ensure_demo(record.folder)
    inspections = []
    for split in splits:
        crop_size = settings.crop_size if split == "train" else 1
        with tqdm(desc=split, unit="tile", leave=False, dynamic_ncols=True, delay=1) as bar:

            def progress(done, total, bar=bar):
                bar.total = total
                bar.update(done - bar.n)

            inspection = inspect_split(record, split, crop_size, progress, sar)
        if needs_labels.get(split) and not inspection.problems:
            counts = inspection.facts["class_counts"].values()
            inspection.problems += label_problems(record, split, counts)
        inspections.append(inspection)
    return inspections


def compare(record, inspections):
    """Compares the splits; returns the part of check.json on duplicates, overlaps, suspicions."""
    from datasets.checks.inspection import differing_gsds
    from datasets.checks.leakage import duplicates, leaks, overlaps

    groups = duplicates({i.split: i.digests for i in inspections})
    pairs = overlaps({i.split: i.footprints for i in inspections})
    names = {i.split: [tile["name"] for tile in i.tiles] for i in inspections}
    strange = leaks(record, groups, pairs, names) + differing_gsds(inspections)
    return {"duplicates": groups, "overlaps": pairs, "suspicions": strange}


def write(settings, inspections, together, seconds):
    """Writes check.json and contact_sheet.png; returns their folder."""
    from datasets.checks.contact_sheet import choose_drawings, draw_contact_sheet
    from datasets.checks.inspection import MOST_DRAWN

    record = settings.record
    folder = Path(settings.output_dir) / settings.dataset_name / "check"
    folder.mkdir(parents=True, exist_ok=True)
    problems = {i.split: i.problems for i in inspections}
    report = {
        "name": record.name,
        "folder": str(record.folder),
        "usable": not any(problems.values()),
        "problems": problems,
        "suspicions": {i.split: i.suspicions for i in inspections}
        | {"data set": together["suspicions"]},
        "duplicates": together["duplicates"],
        "overlaps": together["overlaps"],
        "splits": {i.split: i.facts for i in inspections},
        "tiles": {i.split: i.tiles for i in inspections},
        "seconds": seconds,
        "settings": settings.values,
    }
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "check.json").write_text(text + "\n", encoding="utf-8")
    drawings = [drawing for i in inspections for drawing in i.drawings]
    chosen = choose_drawings(drawings, MOST_DRAWN)
    draw_contact_sheet(folder / "contact_sheet.png", chosen, len(record.classes))
    return folder


if __name__ == "__main__":
    sys.exit(main())
