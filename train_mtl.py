"""Trains stage 1 (MTL): heights, semantic classes and surface normals from one photo.

Paper: Elhousni, Zhang, Huang, "Height Prediction and Refinement from Aerial Images with Semantic
and Geometric Guidance", IEEE Access 2021.

Exit status: 0 = finished; 75 = stopped by a signal or max_minutes, with the state saved: run the
same command again; 1 or 2 = an error.

Example: python train_mtl.py --dataset_name=Demo --mtl_epochs=5
"""

import project.interrupts  # noqa: F401  first, so that Ctrl-C ends the imports in one line
from commands.errors import clear_errors
from runs.early import check_training
from runs.initial import find_initial_weights
from settings.loading import load


def main(arguments: list[str] | None = None) -> None:
    settings = load(__doc__, arguments)
    with clear_errors(settings, "mtl"):
        check_training(settings, "mtl")
        initial = find_initial_weights(settings, "mtl")
        # TensorFlow is imported only after what can be checked without it.
        import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows
        from devices.workers import chief_first, find_cluster
        from runs.start import prepare_data, start_strategy
        from training.stages.run import train_stage
        from training.stages.stage import StageRun, mtl_stage

        strategy = start_strategy(settings, find_cluster())
        with chief_first(strategy):
            data = prepare_data(settings)
        stage = mtl_stage(settings, data, strategy, initial)
        train_stage(StageRun.begin(settings, data, strategy, stage))


if __name__ == "__main__":
    main()
