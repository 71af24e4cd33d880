"""Evaluates the trained networks on a data set: metrics, GeoTIFFs, figures and a report.

With --correction=false stage 1 (MTL) alone, with true stage 1 and 2 (DAE), with auto what is
trained. Example: python test_dsm.py --dataset_name=Demo --splits=valid,test
--compare=test_mtl,test_dae evaluates nothing, but lays two evaluations side by side.
"""

import sys
import time
from pathlib import Path

from settings.loading import fail, load, read_splits

OPTIONS = (
    ("--splits", {"default": "test", "metavar": "LIST", "help": "of train, valid, test [test]"}),
    (
        "--figures",
        {
            "default": 20,
            "type": int,
            "metavar": "INT",
            "help": "tiles of the test split that are drawn, evenly spaced; 0 = none [20]",
        },
    ),
    (
        "--compare",
        {
            "metavar": "RUN,RUN",
            "help": "two evaluated runs, each a folder or a name such as test_mtl",
        },
    ),
)


def compare(settings):
    """Prints two evaluated runs side by side; needs neither data nor network."""
    from evaluation.comparison import ComparisonError
    from evaluation.comparison import compare as compare_runs

    titles = [title.strip() for title in settings.options.compare.split(",")]
    if len(titles) != 2:
        fail(f"--compare={settings.options.compare}: expected RUN,RUN.")
    names = Path(settings.output_dir) / settings.dataset_name
    folders = [Path(title) if Path(title).is_dir() else names / title for title in titles]
    try:
        print(compare_runs(titles, folders))
    except ComparisonError as error:
        sys.exit(f"error: {error}")


def main(arguments=None):
    settings = load(__doc__, arguments, OPTIONS)
    if settings.options.compare is not None:
        return compare(settings)
    splits = read_splits(settings.options.splits)
    if settings.options.figures < 0:
        fail(f"--figures={settings.options.figures}: expected 0 or more.")
    if settings.match_gsd:
        print("match_gsd has no effect here: tiles are measured as they are. Leave it out.")
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    from commands.errors import clear_errors
    from evaluation.report.page import write_report_page
    from evaluation.split import MOST_TRAINING_TILES, SplitEvaluation
    from models.height_network import Extras, make_height_network
    from prediction.tiles import make_predictor
    from runs.networks import load_networks
    from runs.start import prepare_data, start_strategy
    from runs.stored import adopt_stored_network

    with clear_errors():
        settings = adopt_stored_network(settings)
        strategy = start_strategy(settings)
        data = prepare_data(settings, splits, MOST_TRAINING_TILES)
        mtl, dae = load_networks(settings, strategy)
        network = make_height_network(mtl, dae, Extras(settings.normal_coding, settings.tta))
        predict = make_predictor(strategy, network)
        stage = "mtl" if dae is None else "dae"
        for split in splits:
            start = time.perf_counter()
            evaluation = SplitEvaluation(settings, data, split, stage)
            metrics = evaluation.run(predict, strategy.num_replicas_in_sync)
            columns = evaluation.report(metrics, time.perf_counter() - start)
            if split == "test":
                write_report_page(evaluation, columns)


if __name__ == "__main__":
    main()
