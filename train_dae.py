"""Trains stage 2 (DAE): a correction that is subtracted from the heights of stage 1.

Train stage 1 first. It stays frozen and runs within the compiled training step.

Exit status: 0 = finished; 75 = stopped by a signal or max_minutes, with the state saved: run the
same command again; 1 or 2 = an error.

Example: python train_dae.py --dataset_name=Demo --dae_epochs=5
"""

import project.interrupts  # noqa: F401  first, so that Ctrl-C ends the imports in one line
from commands.errors import clear_errors
from runs.early import check_training
from runs.initial import find_initial_weights
from runs.stored import adopt_stored_network
from settings.loading import load


def main(arguments: list[str] | None = None) -> None:
    settings = load(__doc__, arguments)
    with clear_errors(settings, "dae"):
        settings = adopt_stored_network(settings)
        check_training(settings, "dae")
        initial = find_initial_weights(settings, "dae")
        # TensorFlow is imported only after what can be checked without it.
        import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows
        from devices.workers import chief_first, find_cluster
        from runs.start import prepare_data, start_strategy
        from training.stages.run import train_stage
        from training.stages.stage import StageRun, dae_stage

        strategy = start_strategy(settings, find_cluster())
        with chief_first(strategy):
            data = prepare_data(settings)
        stage = dae_stage(settings, strategy, initial=initial)
        train_stage(StageRun.begin(settings, data, strategy, stage))


if __name__ == "__main__":
    main()
