"""Trains stage 2 (DAE): the correction that is subtracted from the height of stage 1.

Stage 1 must be trained; it stays frozen and runs inside the compiled training step. Example:
python train_dae.py --dataset_name=Demo --dae_epochs=5
"""

import settings as settings_module


def main(arguments=None):
    settings = settings_module.load(__doc__, arguments)
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    import networks
    import runs
    from stages import dae_stage, train_stage
    from training.workers import chief_first, find_cluster

    with runs.clear_errors():
        settings = networks.adopt_stored_network(settings)
        strategy = runs.start_strategy(settings, find_cluster())
        with chief_first(strategy):
            data = runs.prepare_data(settings)
        train_stage(settings, data, strategy, dae_stage(settings, strategy))


if __name__ == "__main__":
    main()
