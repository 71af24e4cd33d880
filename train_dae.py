"""Trains stage 2 (DAE): the correction that is subtracted from the height of stage 1.

Stage 1 must be trained; it stays frozen and runs inside the compiled training step. Example:
python train_dae.py --dataset_name=Demo --dae_epochs=5
"""

from settings.loading import load


def main(arguments=None):
    settings = load(__doc__, arguments)
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
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
