"""Predicts the heights of a photo of any size: a Cloud-Optimized GeoTIFF in metres.

The network is that of checkpoint_dir and dataset_name, or of --model. Several scenes (a folder, or
a pattern in quotes) go to a folder. Example: python predict.py scene.tif heights.tif --tta=true
"""

from pathlib import Path

import settings as settings_module
from scene_files import list_scenes, pair_with_outputs
from scene_model import trained_record

OPTIONS = (
    ("scene", {"help": "raster file, VRT, folder, or pattern"}),
    ("heights", {"help": "GeoTIFF to write; a folder for several scenes"}),
    ("--model", {"metavar": "FILE", "help": "best.weights.h5 of stage 1, settings.json beside it"}),
    (
        "--outputs",
        {
            "default": "",
            "metavar": "LIST",
            "help": "also write <heights>_<name>.tif: classes, probabilities, normals, uncertainty",
        },
    ),
    ("--sar", {"metavar": "FILE", "help": "radar image on the scene's grid, for sar_mode=fusion"}),
    (
        "--dry-run",
        {
            "action": "store_true",
            "dest": "dry_run",
            "help": "say windows, memory and time, and write nothing",
        },
    ),
)


def main(arguments=None):
    settings = settings_module.load(__doc__, arguments, OPTIONS, trained_record)
    options = settings.options
    try:
        pairs = pair_with_outputs(list_scenes(options.scene), options.heights)
        if options.sar and len(pairs) > 1:
            raise settings_module.SettingsError("--sar belongs to one scene; name a single one.")
    except settings_module.SettingsError as error:
        settings_module.fail(error)
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    import runs
    from scene_prediction import Predictor

    with runs.clear_errors():
        predictor = Predictor(runs.adopt_stored_network(settings))
        for scene, output in pairs:
            if options.dry_run:
                predictor.tell(scene)
            else:
                Path(output).parent.mkdir(parents=True, exist_ok=True)
                predictor.predict(scene, output)


if __name__ == "__main__":
    main()
