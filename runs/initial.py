"""The weights of an earlier run from which a stage starts: the setting initial_weights."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from models.weight_files import check_tensors
from runs.folders import file_digest, stage_folder
from runs.stored import FILE, ResumeError, StoredRun, read_stored
from settings.arithmetic import STAGES
from settings.loading import Settings
from settings.table import NETWORK, TABLE, SettingsError, show

IDENTITY = "initial_weights"  # name of their digest in the identity of a run
SUFFIX = ".weights.h5"


@dataclass(frozen=True)
class InitialWeights:
    """A weight file that a stage starts from.

    Attributes:
        path: absolute, as the user names it, by which a run in place knows it again.
        stage: "mtl" or "dae", the stage whose weights they are.
        file: where they lie now, since their run may have been moved aside; None = nowhere.
        digest: SHA-256 of the file; empty without one.
        began_with: digest of the weights with which the run in place began, if they came from the
            same path; empty otherwise. This run goes on without the file, whatever has become of
            it: the file may even be that run's own best weights by now.
        problem: why no new run can start from them; empty = it can.
    """

    path: Path
    stage: str
    file: Path | None = None
    digest: str = ""
    began_with: str = ""
    problem: str = ""


def find_initial_weights(settings: Settings, stage: str) -> InitialWeights | None:
    """Finds the weights that a stage is to start from, and checks them as far as is quick.

    Args:
        settings: the settings in force.
        stage: "mtl" or "dae".

    Returns:
        The weights, maybe of the other stage; None = the stage starts from nothing.

    Raises:
        SettingsError: if they are no weights of this project or of another network, unless the run
            in place began with them.
    """
    if settings.initial_weights == "none":
        return None
    path = Path(os.path.abspath(settings.initial_weights))
    begun = _runs_begun_with(settings, stage, path)
    file = path if path.is_file() else _moved(path, set(begun.values()))
    began_with, of = begun.get(stage, ""), stage if stage in begun else next(iter(begun), stage)
    try:
        if file is None:
            raise ValueError(f"there is no such file{_moved_aside(path)}")
        stored = _stored_beside(file)
        of = stored.stage
        if of == stage:
            _check_network(settings, stored)
            check_tensors(file, content=False)
    except (ValueError, OSError) as error:
        reason = str(error).rstrip(".")
        problem = f"{settings.quote('initial_weights')} cannot be used: {reason}."
        if stage not in begun and of == stage:
            raise SettingsError(problem) from None
        return InitialWeights(path, of, began_with=began_with, problem=problem)
    return InitialWeights(path, of, file, file_digest(file), began_with)


def _runs_begun_with(settings: Settings, stage: str, path: Path) -> dict[str, str]:
    """Returns by stage the digest of what the run in place began with, if it came from `path`."""
    folders = {name: stage_folder(settings, name) for name in STAGES}
    if settings.resume not in ("auto", "never"):
        folders[stage] = Path(settings.resume)
    begun = {}
    for name, folder in folders.items():
        with contextlib.suppress(ResumeError):  # of a damaged settings.json: no run goes on there
            stored = read_stored(folder)
            if stored and stored.initial_weights == str(path):
                begun[name] = str(stored.identity.get(IDENTITY, ""))
    return begun


def _moved(path: Path, digests: set[str]) -> Path | None:
    """Returns where a file with one of the digests went when its run was moved aside."""
    asides = _asides(path) if digests else []
    return next((file for file in asides if file_digest(file) in digests), None)


def _asides(path: Path) -> list[Path]:
    """Returns the files of the same name in folders that were moved aside, `mtl.1` and so on."""
    return sorted(path.parent.parent.glob(f"{path.parent.name}.[0-9]*/{path.name}"))


def _moved_aside(path: Path) -> str:
    """Returns a hint for a message: where files of that name have been moved."""
    asides = [str(aside) for aside in _asides(path)]
    return f" (runs from there that were moved aside: {', '.join(asides)})" if asides else ""


def _stored_beside(file: Path) -> StoredRun:
    """Returns the settings.json beside a weight file.

    Raises:
        ValueError: if it is no weight file, or there is none beside it.
    """
    if not file.name.endswith(SUFFIX):
        raise ValueError(f"expected a file that training wrote, such as best{SUFFIX}")
    stored = read_stored(file.parent)
    if stored is None:
        raise ValueError(f"there is no {FILE} beside it, as training wrote it")
    return stored


def _check_network(settings: Settings, stored: StoredRun) -> None:
    """Raises ValueError, naming the differences, unless the weights are of the same network."""
    names = [name for name in NETWORK if TABLE[name].stage in (None, stored.stage)]
    there, here = stored.settings, settings.values
    different = [
        f"{name} is {show(there.get(name))} there and {show(here[name])} here"
        for name in names
        if there.get(name) != here[name]
    ]
    classes = list(settings.record.class_names)
    if settings.sem_flag and stored.classes != classes:
        different.append(f"classes are {stored.classes} there and {classes} here")
    if different:
        raise ValueError(f"it is of another network, {'; '.join(different)}. Set the same")
