"""Measures what saved states cost: the time of a save, and its share of a training.

Stage 1 and its Adam are saved as a run saves them: TensorFlow's files, their SHA-256 (which reads
them back), and all of it on the disk. Then the state is read back: its content compared with the
digests, and loaded. By default the network is the published one: DenseNet121 and decoders at full
width. The states lie in the output folder while this runs.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.shared import given_settings, markdown_table, write_result
from commands.options import command_line, option, whole
from runs.folders import output_folder
from settings.loading import Settings, load_named

OPTIONS = (option("--saves", whole(1), "INT", "timed saves [3]", 3),)
NETWORK = {
    "backbone": "densenet121",
    "backbone_weights": "none",
    "decoder_width": "1",
    "decoder_norm": "none",
    "decoder_skips": "false",
}
LARGEST_SHARE = 0.02  # of the time of a training


def measure(settings: Settings, folder: Path, saves: int) -> dict:
    """Saves, verifies and loads states; returns their bytes and the median seconds of each."""
    from runs.networks import build_stage1
    from runs.start import start_strategy
    from training.checkpoints import RunState
    from training.optimizers import make_optimizer
    from training.states import LAST, newest_whole

    strategy = start_strategy(settings)
    with strategy.scope():
        network = build_stage1(settings)
        state = RunState(folder, network, make_optimizer(network, 1e-4), settings.keep_states)
    times: dict[str, list[float]] = {"save": [], "verify": [], "verify and load": []}
    calls: tuple[Callable[[], object], ...] = (
        state.save,
        lambda: newest_whole(folder / LAST),
        state.restore,
    )
    for step in range(1, saves + 1):
        state.step = step
        for values, call in zip(times.values(), calls, strict=True):
            start = time.perf_counter()
            call()
            values.append(time.perf_counter() - start)
    return {"bytes": state.bytes} | {n: statistics.median(v) for n, v in times.items()}


def report(result: dict, save_minutes: float) -> str:
    """Lays out the result as a Markdown table."""
    names = ("save", "verify", "verify and load")
    rows = [(name, f"{result[name]:.2f}") for name in names]
    shown = f"{result['share']:.2%}, at most {LARGEST_SHARE:.0%}"
    rows.append((f"save / {save_minutes:g} minutes", shown))
    return markdown_table((f"state of {result['bytes'] / 1e9:.2f} GB", "seconds"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    given = given_settings(load_named(__doc__, arguments, OPTIONS))
    network = {name: text for name, text in NETWORK.items() if name not in given}
    settings = load_named(__doc__, [*arguments, *command_line(network)], OPTIONS)
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows
    from commands.errors import clear_errors

    results = output_folder(settings, "saving").parent
    results.mkdir(parents=True, exist_ok=True)
    with clear_errors(), tempfile.TemporaryDirectory(dir=results, prefix=".saving.") as folder:
        result = measure(settings, Path(folder), settings.options.saves)
    result["share"] = result["save"] / (60 * settings.save_minutes)
    print(f"\n{report(result, settings.save_minutes)}\n")
    write_result(settings, "saving.json", result)


if __name__ == "__main__":
    main()
