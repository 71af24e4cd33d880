"""Which scenes a user names, and where their height maps go."""

import glob
from pathlib import Path

from project.texts import is_utf8
from settings.table import SettingsError

EXTENSIONS = (".tif", ".tiff", ".vrt", ".jp2", ".png", ".jpg", ".jpeg", ".bmp")
OUTPUT_EXTENSIONS = (".tif", ".tiff")


def list_scenes(text: str) -> list[Path]:
    """Lists the scenes that a text names.

    Args:
        text: a file, a folder (its images, not those of folders in it), or a pattern such as
            "photos/*.tif".

    Returns:
        The files, sorted by name.

    Raises:
        SettingsError: if there are none, or a name is not UTF-8.
    """
    path = Path(text)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [file for file in path.iterdir() if file.suffix.lower() in EXTENSIONS]
        found = [file for file in found if file.is_file() and not file.name.startswith(".")]
    else:
        found = [Path(name) for name in glob.glob(text, recursive=True) if Path(name).is_file()]
    if not found:
        raise SettingsError(
            f"There is no scene at {text}. Name a raster file, a folder with some "
            f"({', '.join(EXTENSIONS)}), or a pattern in quotes."
        )
    for file in found:
        if not is_utf8(file):
            raise SettingsError(f"The name {str(file)!a} is not UTF-8. Rename the file.")
    return sorted(found)


def pair_with_outputs(scenes: list[Path], text: str) -> list[tuple[Path, Path]]:
    """Decides where the heights of each scene go.

    Args:
        scenes: of `list_scenes`.
        text: a .tif file for one scene, or a folder, in which a scene's heights have its name with
            .tif.

    Returns:
        Pairs of scene and output.

    Raises:
        SettingsError: if the outputs have no folder.
    """
    target = Path(text)
    if len(scenes) == 1 and target.suffix.lower() in OUTPUT_EXTENSIONS and not target.is_dir():
        pairs = [(scenes[0], target)]
        if not target.parent.is_dir():
            raise SettingsError(f"The folder of {target} does not exist. Make it first.")
    elif target.suffix and not target.is_dir():
        many = (
            f"a folder for {len(scenes)} scenes" if len(scenes) > 1 else "a .tif file or a folder"
        )
        raise SettingsError(f"The output is {target}, expected {many}.")
    else:
        pairs = [(scene, target / f"{scene.stem}.tif") for scene in scenes]
    return pairs


def being_predicted(output: Path) -> str:
    """Returns how messages begin on an output that another process has in its hands."""
    return f"{output} is being predicted"


def map_path(output: Path, name: str) -> Path:
    """Returns the path of a map: the output's own, or <output>_<name> beside it."""
    return output if name == "heights" else output.with_name(f"{output.stem}_{name}{output.suffix}")


def check_collisions(written: list[tuple[Path, Path]]) -> None:
    """Checks that no file is written twice.

    Args:
        written: (scene, file) of all maps.

    Raises:
        SettingsError: naming the first such file.
    """
    seen: dict[Path, Path] = {}
    for scene, output in written:
        if output in seen:
            raise SettingsError(
                f"{seen[output]} and {scene} would both be written to {output}. Rename one, or "
                "predict them one by one."
            )
        seen[output] = scene
