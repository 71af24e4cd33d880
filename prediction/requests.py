"""What a user asks of predict.py, checked before TensorFlow is loaded, which takes long."""

from collections.abc import Sequence
from pathlib import Path

from datasets.rasters.ownership import check_replaceable, written_by_project
from datasets.rasters.photos import open_photo, open_radar
from datasets.rasters.reading import RasterError, file_list
from prediction.scene_files import check_collisions, map_path
from project.files import check_writable
from runs.stored import stored_stage
from settings.loading import Settings
from settings.table import SettingsError

EXTRA_MAPS = ("classes", "probabilities", "normals", "uncertainty")
PATTERN_HINT = " If the shell has made names of a pattern such as *.tif, put it in quotes."
Pairs = list[tuple[Path, Path]]  # scenes, and the files for their heights


def requested_maps(settings: Settings) -> list[str]:
    """Returns the names in --outputs, in the order of `EXTRA_MAPS`.

    Args:
        settings: of `runs.stored.with_trained_dropout`.

    Raises:
        SettingsError: for an unknown one, or one that the network cannot give.
    """
    given = [name.strip() for name in settings.options.outputs.split(",") if name.strip()]
    unknown = sorted(set(given) - set(EXTRA_MAPS))
    if unknown:
        raise SettingsError(
            f"--outputs: {', '.join(unknown)} is not known; expected of {', '.join(EXTRA_MAPS)}."
        )
    without = {
        "classes": None if settings.sem_flag else "it has no semantic decoder (sem_flag)",
        "normals": None if settings.norm_flag else "it has no normal decoder (norm_flag)",
        "uncertainty": None
        if settings.tta or settings.dropout
        else "it has no dropout to sample from; give --tta=true, too",
    }
    without["probabilities"] = without["classes"]
    for name in given:
        if without[name]:
            raise SettingsError(f"--outputs={name}: the network cannot: {without[name]}.")
    return [name for name in EXTRA_MAPS if name in given]


def check_options(settings: Settings) -> None:
    """Raises SettingsError unless --sar fits the network and `resume` the script."""
    fusion = settings.sar_mode == "fusion"
    if fusion and not settings.options.sar:
        raise SettingsError(
            "The network was trained with sar_mode=fusion and needs radar: give --sar=FILE, one "
            "band on the scene's grid."
        )
    if settings.options.sar and not fusion:
        raise SettingsError("--sar is given, but the network was trained without radar.")
    if settings.resume not in ("auto", "never"):
        raise SettingsError(f"resume={settings.resume}: predict.py accepts auto or never.")


def check_scenes(settings: Settings, pairs: Pairs) -> tuple[Pairs, list[str]]:
    """Opens every scene as the prediction will, and prints which ones are skipped.

    Args:
        settings: of `runs.stored.adopt_stored_network`.
        pairs: scenes and outputs.

    Returns:
        (pairs whose scene can be predicted, what is wrong with each of the others).
    """
    usable, errors = [], []
    gsd = stored_stage(settings, "mtl").gsd if settings.match_gsd else None
    for scene, output in pairs:
        try:
            photo = open_photo(scene, settings.record.rgb_scale, gsd)
            if settings.options.sar:
                open_radar(settings.options.sar, photo.grid, settings.record.sar_scale, gsd)
            usable.append((scene, output))
        except RasterError as error:
            errors.append(str(error))
            print(f"{scene} is skipped: {error}" if len(pairs) > 1 else f"{scene} is skipped.")
    return usable, errors


def check_outputs(pairs: Pairs, maps: Sequence[str], sar: str | None = None) -> None:
    """Checks that no map replaces an input, another map, or a file that is not this project's.

    Args:
        pairs: scenes and outputs.
        maps: names of the maps of each scene.
        sar: the radar image.

    Raises:
        UserError: naming the first such file, or a folder that cannot be written.
    """
    written = [(scene, map_path(output, name)) for scene, output in pairs for name in maps]
    check_collisions(written)
    rasters = [scene for scene, _ in pairs] + ([Path(sar)] if sar else [])
    inputs = {_identity(part): part for part in _parts(rasters)}
    for folder in {output.parent for _, output in written}:
        check_writable(folder)
    for _, output in written:
        if output.exists() and (part := inputs.get(_identity(output))):
            raise SettingsError(
                f"{output} is an input itself ({part}), so it is not replaced. Give another "
                f"output.{PATTERN_HINT if len(pairs) == 1 else ''}"
            )
        try:
            check_replaceable(output)
        except RasterError as error:
            hint = PATTERN_HINT if _is_photo(output, pairs) else ""
            raise RasterError(f"{error}{hint}") from None


def _is_photo(output: Path, pairs: Pairs) -> bool:
    """Returns whether the only output may be a photo beside the scene, not what was meant."""
    scene, heights = pairs[0]
    beside = output.exists() and output.parent.samefile(scene.parent)
    return len(pairs) == 1 and output == heights and beside and not written_by_project(output)


def _parts(rasters: Sequence[Path]) -> set[Path]:
    """Returns the files that rasters consist of, also those of a VRT in a VRT; all exist."""
    found: set[Path] = set()
    waiting = list(rasters)
    while waiting:
        path = waiting.pop()
        if path in found or not path.exists():
            continue
        found.add(path)
        if path in rasters or path.suffix.lower() == ".vrt":
            waiting += [Path(part) for part in file_list(path)]
    return found


def _identity(path: Path) -> tuple[int, int]:
    """Returns what tells one file from another, however its path is spelled or linked."""
    status = path.stat()
    return status.st_dev, status.st_ino
