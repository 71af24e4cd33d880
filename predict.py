"""Predicts the heights of a photo of any size, in metres, as a Cloud-Optimized GeoTIFF.

Uses the network that was trained with the same checkpoint_dir and dataset_name, or that of --model.
The heights of several scenes (a folder, or a pattern in quotes) are written to a folder. The same
command may run several times, also on several machines: the processes share the scenes.

Example: python predict.py scene.tif heights.tif --tta=true
"""

import sys
from collections.abc import Callable
from pathlib import Path

import project.interrupts  # noqa: F401  first, so that Ctrl-C ends the imports in one line
from commands.errors import clear_errors
from commands.options import option
from prediction.scene_files import being_predicted, list_scenes, pair_with_outputs
from project.errors import UserError
from project.lease import HeldError, beside, refuse_live
from runs.early import check_correction
from runs.stored import adopt_stored_network, with_trained_dropout
from runs.trained_model import trained_record
from settings.loading import Settings, SettingsError, fail, load

OPTIONS = (
    ("scene", {"help": "photo to read: a raster file, VRT, folder or pattern"}),
    ("heights", {"help": "GeoTIFF to write, or a folder for several scenes"}),
    option("--model", str, "FILE", "best.weights.h5 of stage 1, beside its settings.json"),
    option(
        "--outputs",
        str,
        "LIST",
        "also write <heights>_<name>.tif: classes, probabilities, normals, uncertainty",
        "",
    ),
    option("--sar", str, "FILE", "radar image on the scene's grid, for sar_mode=fusion"),
    ("--dry-run", {"action": "store_true", "help": "print windows, memory, time; write nothing"}),
)


def main(arguments: list[str] | None = None) -> None:
    settings = load(__doc__, arguments, OPTIONS, trained_record)
    options = settings.options
    try:
        pairs = pair_with_outputs(list_scenes(options.scene), options.heights)
        if options.sar and len(pairs) > 1:
            raise SettingsError("--sar is the radar image of one scene. Name a single scene.")
    except SettingsError as error:
        fail(error)
    with clear_errors(settings, "prediction"):
        settings = adopt_stored_network(settings)
        usable, errors = check_all(settings, pairs)
        if usable:
            errors += predict_all(settings, usable)
    if len(pairs) == 1 and errors:
        sys.exit(f"error: {errors[0]}")
    if errors:
        sys.exit("\n".join([f"error: {len(errors)} of {len(pairs)} scenes failed:", *errors]))


def check_all(
    settings: Settings, pairs: list[tuple[Path, Path]]
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Checks what can be checked before TensorFlow is loaded: options, scenes, outputs.

    Args:
        settings: of `runs.stored.adopt_stored_network`.
        pairs: scenes, and the files for their heights.

    Returns:
        (pairs whose scene can be predicted, what is wrong with each of the others).
    """
    # GDAL is imported only after the settings are checked.
    from prediction.requests import check_options, check_outputs, check_scenes, requested_maps

    maps = ("heights", *requested_maps(with_trained_dropout(settings, "mtl")))
    check_options(settings)
    check_correction(settings)
    usable, errors = check_scenes(settings, pairs)
    check_outputs(usable, maps, settings.options.sar)
    if len(pairs) == 1 and not settings.options.dry_run:
        refuse_live(beside(pairs[0][1]), being_predicted(pairs[0][1]))
    return usable, errors


def predict_all(settings: Settings, pairs: list[tuple[Path, Path]]) -> list[str]:
    """Predicts scenes one after the other, and continues if one of them fails.

    Args:
        settings: of `runs.stored.adopt_stored_network`; with --dry-run, only memory and time are
            estimated.
        pairs: scenes, and the files for their heights.

    Returns:
        What is wrong with each scene that could not be predicted.
    """
    # TensorFlow is imported only after what can be checked without it.
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows
    from prediction.predictor import Predictor

    predictor = Predictor(settings)

    def predict(scene: Path, output: Path, wait: bool) -> None:
        if settings.options.dry_run:
            predictor.estimate(scene)
        else:
            output.parent.mkdir(parents=True, exist_ok=True)
            predictor.predict(scene, output, wait)

    return share(pairs, predict)


def share(pairs: list[tuple[Path, Path]], predict: Callable[[Path, Path, bool], None]) -> list[str]:
    """Predicts scenes, but leaves those to other processes that these predict at the time.

    Args:
        pairs: scenes, and the files for their heights.
        predict: takes these and whether to wait for a sign of life of another process, as
            `project.lease.acquire`; raises HeldError if another process predicts the scene.

    Returns:
        What is wrong with each scene that could not be predicted; a single one must not be held.
    """
    alone = len(pairs) == 1
    held, errors = predict_each(pairs, predict, wait=alone)
    if alone:
        return errors + list(held.values())
    if held:
        print(f"Looking again at the {len(held)} scenes that were passed over.")
    held, more = predict_each(list(held), predict, wait=True)
    return errors + more


def predict_each(
    pairs: list[tuple[Path, Path]], predict: Callable[[Path, Path, bool], None], wait: bool
) -> tuple[dict[tuple[Path, Path], str], list[str]]:
    """Predicts scenes one after the other, and continues if one of them fails.

    Args:
        pairs: scenes, and the files for their heights.
        predict: as of `share`.
        wait: is passed on.

    Returns:
        (message by pair that another process holds, what is wrong with each that failed).
    """
    held, errors = {}, []
    for scene, output in pairs:
        try:
            predict(scene, output, wait)
        except HeldError as error:
            held[scene, output] = str(error)
            print(f"{scene} is passed over: {error.reason}.")
        except (UserError, OSError) as error:
            # Messages of the operating system do not name the scene.
            errors.append(f"{scene}: {error}" if getattr(error, "errno", None) else str(error))
            print(f"{scene} is skipped: {error}" if len(pairs) > 1 else f"{scene} is skipped.")
    return held, errors


if __name__ == "__main__":
    main()
