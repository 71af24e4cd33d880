"""Predicts the heights of a photo of any size: a Cloud-Optimized GeoTIFF in metres.

The network is that of checkpoint_dir and dataset_name, or of --model. Several scenes (a folder, or
a pattern in quotes) go to a folder. Example: python predict.py scene.tif heights.tif --tta=true
"""

import sys
from pathlib import Path

from prediction.scene_files import check_collisions, list_scenes, pair_with_outputs
from runs.trained_model import trained_record
from settings.loading import SettingsError, fail, load

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
    settings = load(__doc__, arguments, OPTIONS, trained_record)
    options = settings.options
    try:
        pairs = pair_with_outputs(list_scenes(options.scene), options.heights)
        if options.sar and len(pairs) > 1:
            raise SettingsError("--sar belongs to one scene; name a single one.")
    except SettingsError as error:
        fail(error)
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    from commands.errors import clear_errors
    from prediction.predictor import Predictor
    from prediction.unfinished import map_path
    from runs.stored import adopt_stored_network

    with clear_errors():
        predictor = Predictor(adopt_stored_network(settings))
        check_collisions([(s, map_path(o, name)) for s, o in pairs for name in predictor.names])
        errors = predict_all(predictor, pairs, options.dry_run)
    if len(pairs) == 1 and errors:
        sys.exit(f"error: {errors[0]}")
    if errors:
        sys.exit("\n".join([f"error: {len(errors)} of {len(pairs)} scenes failed:", *errors]))


def predict_all(predictor, pairs, dry_run):
    """Predicts scenes one after the other, or estimates what they take; a failure stops no other.

    Args:
        predictor: `prediction.predictor.Predictor`.
        pairs: list of (scene, output) paths.
        dry_run: bool, True = write nothing.

    Returns:
        list of str, what is wrong with the scenes that cannot be predicted.
    """
    from datasets.rasters.reading import RasterError

    errors = []
    for scene, output in pairs:
        try:
            if dry_run:
                predictor.estimate(scene)
            else:
                Path(output).parent.mkdir(parents=True, exist_ok=True)
                predictor.predict(scene, output)
        except (RasterError, SettingsError, OSError) as error:
            # The system's own messages name no scene, and some not even a file.
            reason = f"{scene}: {error}" if getattr(error, "errno", None) else str(error)
            errors.append(reason)
            print(f"{scene} is left out: {error}" if len(pairs) > 1 else f"{scene} is left out.")
    return errors


if __name__ == "__main__":
    main()
