"""Measures how scenes are predicted: --part=overlap, speed or large; see benchmarks/README.md.

overlap: trained weights on a split, for several overlaps: pooled RMSE, windows, seconds. speed: the
published method (a plain loop over windows, eager, one at a time) against that of predict.py, and
its share of the speed of a matrix product on this machine; the weights are random. large: trained
weights on a scene of --pixels, 90 % of it without data: seconds, memory beyond the network and
beyond a batch.
"""

from collections.abc import Sequence

from benchmarks.shared import markdown_table, write_result
from commands.options import option, whole
from datasets.records.record import SPLITS
from settings.loading import load_named

OPTIONS = (
    (
        "--part",
        {"choices": ("overlap", "speed", "large"), "required": True, "help": "what to measure"},
    ),
    ("--splits", {"default": "test", "choices": SPLITS, "help": "of part overlap [test]"}),
    option("--pixels", whole(1), "INT", "sides of the scene [1024; 20000]"),
    option("--eager_windows", whole(1), "INT", "timed of the plain loop [20]", 20),
    # What the prediction of a scene reads of the script's options.
    option("--outputs", str, "LIST", "of predict.py", ""),
    option("--sar", str, "FILE", "of predict.py"),
)


def smallest_overlap(rows: Sequence[dict], tolerance: float = 0.01) -> float:
    """Returns the smallest overlap whose RMSE is within a share of that of the largest."""
    rows = sorted(rows, key=lambda row: row["overlap"])
    limit = rows[-1]["rmse"] * (1 + tolerance)
    return next(row["overlap"] for row in rows if row["rmse"] <= limit)


def overlap_table(rows: Sequence[dict]) -> str:
    """Lays out the results of `measure_overlaps` as a Markdown table."""
    best = max(rows, key=lambda row: row["overlap"])["rmse"]
    cells = [
        (
            f"{row['overlap']:.3f}",
            f"{row['rmse']:.4f}",
            f"{row['rmse'] / best - 1:+.2%}",
            row["windows"],
            f"{row['seconds']:.1f}",
        )
        for row in rows
    ]
    titles = ("overlap", "RMSE (m)", "to the published", "windows", "s")
    return markdown_table(titles, cells, texts=0)


def main(arguments: Sequence[str] | None = None) -> None:
    settings = load_named(__doc__, arguments, OPTIONS)
    part = settings.options.part
    # TensorFlow is imported only now, so that a wrong setting is reported at once.
    from benchmarks.inference_parts import PARTS
    from commands.errors import clear_errors

    with clear_errors():
        result = PARTS[part](settings)
    if part == "overlap":
        print(f"{overlap_table(result)}\nSmallest within 1 %: {smallest_overlap(result):.3f}")
    else:
        print("\n".join(f"{name}: {value}" for name, value in result.items()))
    write_result(settings, f"inference_{part}.json", {"result": result})


if __name__ == "__main__":
    main()
