"""Checks a data set: reads every file once, reports whether it can be used and what it contains.

Example: python check_data.py Demo --splits=train,valid

Writes <output_dir>/<dataset_name>/check/check.json and contact_sheet.png. Exit status: 0 = the
data set can be used, perhaps with suspicious findings; 1 = it cannot be used, and every such file
is named; 2 = the arguments are wrong, or the report cannot be written.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import project.interrupts  # noqa: F401  first, so that Ctrl-C ends the imports in one line
from datasets.records.record import SPLITS
from project.errors import UserError
from project.files import check_replaceable_folder
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the script; returns the exit status."""
    settings = load_named(__doc__, arguments, OPTIONS)
    splits = read_splits(settings.options.splits)
    folder = Path(settings.output_dir) / settings.dataset_name / "check"
    try:
        check_replaceable_folder(folder, ("check.json",))
    except UserError as error:
        fail(error)
    # GDAL and OpenCV load only now, so that a wrong setting is refused at once.
    from datasets.checks.inspection import inspect_data_set
    from datasets.checks.progress import ensure_demo_data
    from datasets.checks.report import report_text, verdict_text, write_report

    start, record = time.perf_counter(), settings.record
    needs_labels = {"train": settings.sem_flag, "valid": settings.eval_metric == "miou"}
    labelled = [split for split, needed in needs_labels.items() if needed]
    try:
        ensure_demo_data(settings.dataset_name, record)
        fusion = settings.sar_mode == "fusion"
        found = inspect_data_set(record, splits, settings.crop_size, fusion, labelled)
        print(report_text(record, found))
        more = {"seconds": time.perf_counter() - start, "settings": settings.values}
        write_report(folder, record, found, more)
    except (UserError, OSError) as error:
        fail(error)
    print(f"\n{verdict_text(found)} Written to {folder}")
    return int(found.problem_count > 0)


if __name__ == "__main__":
    sys.exit(main())
