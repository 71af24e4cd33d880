"""Trains stage 1 (MTL): height, semantic classes and surface normals from one photo.

Paper: Elhousni, Zhang, Huang, "Height Prediction and Refinement from Aerial Images with Semantic
and Geometric Guidance", IEEE Access 2021. Example:
python train_mtl.py --dataset_name=Demo --mtl_epochs=5
"""

import settings as settings_module


def main(arguments=None):
    settings = settings_module.load(__doc__, arguments)
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    import runs
    from stages import mtl_stage, train_stage
    from training.workers import chief_first, find_cluster

    with runs.clear_errors():
        strategy = runs.start_strategy(settings, find_cluster())
        with chief_first(strategy):
            data = runs.prepare_data(settings)
        train_stage(settings, data, strategy, mtl_stage(settings, data, strategy))


if __name__ == "__main__":
    main()
