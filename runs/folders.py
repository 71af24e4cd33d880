"""Where a run keeps its weights and results."""

import hashlib
import os
from pathlib import Path

from settings.loading import Settings

WEIGHTS = "best.weights.h5"


def stage_folder(settings: Settings, stage: str) -> Path:
    """Returns the folder of a stage's weights and state: beside --model, where a script has it."""
    model = getattr(settings.options, "model", None)
    if model:
        folder = Path(model).parent
        # In full, as "." and ".." have no name that could be replaced.
        return folder if stage == "mtl" else Path(os.path.abspath(folder)).with_name(stage)
    return Path(settings.checkpoint_dir) / settings.dataset_name / stage


def named_run(settings: Settings, folder: Path) -> Path | None:
    """Returns the folder of another run that `resume` names; None if it names no other."""
    if settings.resume in ("auto", "never"):
        return None
    return None if Path(settings.resume).resolve() == folder.resolve() else Path(settings.resume)


def output_folder(settings: Settings, name: str) -> Path:
    """Returns the folder of a stage's or an evaluation's results."""
    return Path(settings.output_dir) / settings.dataset_name / name


def is_trained(settings: Settings, stage: str) -> bool:
    """Returns whether a stage has weights."""
    return (stage_folder(settings, stage) / WEIGHTS).is_file()


def weights_file(settings: Settings, stage: str) -> Path:
    """Returns the path of a stage's best weights.

    Raises:
        FileNotFoundError: if it has none yet.
    """
    path = stage_folder(settings, stage) / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(
            f"There are no trained weights at {path}. Run train_{stage}.py with the same "
            "dataset_name and checkpoint_dir first."
        )
    return path


def weights_digest(settings: Settings, stage: str) -> str:
    """Returns the SHA-256 of a stage's best weights."""
    return file_digest(weights_file(settings, stage))


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
