"""Trains stage 2 (DAE): a correction that is subtracted from the heights of stage 1.

Train stage 1 first. It stays frozen and runs within the compiled training step.

Example: python train_dae.py --dataset_name=Demo --dae_epochs=5
"""

from settings.loading import load


def main(arguments: list[str] | None = None) -> None:
    settings = load(__doc__, arguments)
    # TensorFlow is imported only after the settings are checked.
    from commands.errors import clear_errors
    from devices.workers import chief_first, find_cluster
    from runs.start import prepare_data, start_strategy
    from runs.stored import adopt_stored_network
    from training.stages.run import train_stage
    from training.stages.stage import StageRun, dae_stage

    with clear_errors():
        settings = adopt_stored_network(settings)
        strategy = start_strategy(settings, find_cluster())
        with chief_first(strategy):
            data = prepare_data(settings)
        stage = dae_stage(settings, strategy)
        train_stage(StageRun.begin(settings, data, strategy, stage))


if __name__ == "__main__":
    main()
