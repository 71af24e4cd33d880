"""Evaluates the trained networks on a data set: metrics, GeoTIFFs, figures and a report.

--correction=false evaluates stage 1 (MTL) only, true evaluates both stages, and auto uses stage 2
(DAE) if it is trained. With --compare=test_mtl,test_dae the script evaluates nothing and shows two
earlier evaluations side by side.

Example: python test_dsm.py --dataset_name=Demo --splits=valid,test
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import project.interrupts  # noqa: F401  first, so that Ctrl-C ends the imports in one line
from commands.errors import clear_errors
from commands.options import option, whole
from runs.early import check_evaluation
from runs.stored import adopt_stored_network
from settings.loading import Settings, fail, load, read_splits

OPTIONS = (
    option("--splits", str, "LIST", "any of train, valid, test [test]", "test"),
    option("--figures", whole(0), "INT", "tiles of the test split to draw; 0 = none [20]", 20),
    option("--compare", str, "RUN,RUN", "evaluated runs, each a folder or a name such as test_mtl"),
)


def compare_runs(settings: Settings) -> None:
    """Prints two evaluated runs side by side; needs neither the data nor a network."""
    from evaluation.comparison import ComparisonError, compare

    titles = [title.strip() for title in settings.options.compare.split(",")]
    if len(titles) != 2:
        fail(f"--compare={settings.options.compare}: expected RUN,RUN, two runs.")
    results = Path(settings.output_dir) / settings.dataset_name
    folders = [Path(title) if Path(title).is_dir() else results / title for title in titles]
    try:
        print(compare(titles, folders))
    except ComparisonError as error:
        sys.exit(f"error: {error}")


def main(arguments: list[str] | None = None) -> None:
    settings = load(__doc__, arguments, OPTIONS)
    if settings.options.compare is not None:
        return compare_runs(settings)
    splits = read_splits(settings.options.splits)
    if settings.match_gsd:
        print("match_gsd has no effect here: tiles are evaluated at their own resolution. Omit it.")
    with clear_errors(settings, "test"):
        settings = adopt_stored_network(settings)
        check_evaluation(settings, splits)
        evaluate(settings, splits)


def evaluate(settings: Settings, splits: Sequence[str]) -> None:
    """Evaluates the networks of settings that have been checked, and writes what comes of it."""
    # TensorFlow is imported only after what can be checked without it.
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows
    from evaluation.report.page import write_report_page
    from evaluation.split import MOST_TRAINING_TILES, SplitEvaluation
    from models.height_network import Extras, make_height_network
    from prediction.tiles import make_predictor
    from runs.networks import load_networks
    from runs.start import prepare_data, start_strategy

    strategy = start_strategy(settings)
    data = prepare_data(settings, splits, MOST_TRAINING_TILES)
    mtl, dae = load_networks(settings, strategy)
    network = make_height_network(mtl, dae, Extras(settings.normal_coding, settings.tta))
    predict = make_predictor(strategy, network)
    stage = "mtl" if dae is None else "dae"
    for split in splits:
        start = time.perf_counter()
        evaluation = SplitEvaluation(settings, data, split, stage)
        with evaluation.replacing():
            metrics = evaluation.run(predict, strategy.num_replicas_in_sync)
            columns = evaluation.report(metrics, time.perf_counter() - start)
            if split == "test":
                write_report_page(evaluation, columns)


if __name__ == "__main__":
    main()
