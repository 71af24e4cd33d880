"""Evaluates the trained networks on a data set: metrics, GeoTIFFs and figures.

With --correction=false stage 1 (MTL) alone, with true stage 1 and 2 (DAE), with auto what is
trained. Example: python test_dsm.py --dataset_name=Demo --splits=valid,test
"""

import time

import settings as settings_module

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
)


def main(arguments=None):
    settings = settings_module.load(__doc__, arguments, OPTIONS)
    splits = settings_module.read_splits(settings.options.splits)
    if settings.options.figures < 0:
        settings_module.fail(f"--figures={settings.options.figures}: expected 0 or more.")
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    import results
    import runs
    from evaluation.inference import make_predictor
    from models.inference import make_height_network

    with runs.clear_errors():
        settings = runs.adopt_stored_network(settings)
        strategy = runs.start_strategy(settings)
        data = runs.prepare_data(settings, splits, results.MOST_TRAINING_TILES)
        corrected = runs.use_correction(settings)
        with strategy.scope():
            mtl = runs.build_stage1(settings)
            dae = runs.build_stage2(settings) if corrected else None
        runs.load_stage(settings, "mtl", mtl)
        if corrected:
            runs.load_stage(settings, "dae", dae)
        predict = make_predictor(strategy, make_height_network(mtl, dae))
        stage = "dae" if corrected else "mtl"
        for split in splits:
            start = time.perf_counter()
            evaluation = results.SplitEvaluation(settings, data, split, stage)
            metrics = evaluation.run(predict, strategy.num_replicas_in_sync)
            evaluation.report(metrics, time.perf_counter() - start)


if __name__ == "__main__":
    main()
