"""Whether a run is new, continued or finished, and clear folders for it."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from runs.folders import WEIGHTS
from runs.stored import ResumeError, StoredRun, read_stored
from training.stages.stage import StageRun

NEW, CONTINUE, FINISHED = "new", "continue", "finished"
HISTORY_BYTES = 10_000  # of a history, which hold more than its first line


def prepare_folders(run: StageRun, before_new: Callable[[], None] = lambda: None) -> str:
    """Decides between a new, a continued and a finished run, and clears the way for it.

    Args:
        run: as the run in its folder would go on.
        before_new: called for a new run before anything is moved; may raise.

    Returns:
        "new", "continue" or "finished", see `decide`.

    Raises:
        ResumeError: if an earlier run cannot be read, or must not be moved aside unasked.
    """
    folder, resume, now = run.folder, run.settings.resume, run.description
    named = resume not in ("auto", "never")
    source = Path(resume) if named else folder
    start = decide(source, now.identity, run.plan.total_steps, "named" if named else resume)
    if start == NEW:
        before_new()
    if start == NEW and resume == "auto":
        stored, progress = read_stored(folder), read_progress(folder)
        if stored and run.settings.precision == "auto":
            refuse_other_precision(stored, now, folder)
        if stored and progress:
            refuse_other_tiles(stored, now, folder)
        if stored and progress is None and stored.identity == now.identity:
            if not left_behind(folder, run.results):
                return start  # killed before its first step: there is nothing worth keeping
            print(f"{folder} is this run, but has no state in last/ that it could go on from.")
    if start != NEW and source.resolve() == folder.resolve():
        return start
    for old in (folder, run.results):
        if old.exists():
            aside = move_aside(old)
            print(f"{old} holds another run: moved aside to {aside}")
            if (aside / WEIGHTS).is_file():
                print(f"Its best weights are now {aside / WEIGHTS}")
    if start != NEW:
        shutil.copytree(source, folder)
    folder.mkdir(parents=True, exist_ok=True)
    return start


def left_behind(folder: Path, results: Path) -> bool:
    """Returns whether a run has left weights, parts of a state, or steps in its history."""
    if (folder / WEIGHTS).exists() or any((folder / "last").glob("ckpt-*")):
        return True
    with contextlib.suppress(OSError), (results / "history.csv").open("rb") as file:
        return len(file.read(HISTORY_BYTES).splitlines()) > 1  # more than the names of the columns
    return False


def earlier_steps(run: StageRun) -> int:
    """Returns for how many steps the learning rate of the run was planned that may be continued.

    Returns:
        Their number; 0 = plan anew: there is no such run, it stored no plan, or it has come to its
        end and another length needs other rates.

    Raises:
        ResumeError: if that run cannot be read.
    """
    resume = run.settings.resume
    source = run.folder if resume == "auto" else Path(resume)
    stored = None if resume == "never" else read_stored(source)
    progress = read_progress(source) if stored else None
    if stored is None or progress is None:
        return 0
    step, stopped = progress
    finished = stopped or step >= max(stored.total_steps, stored.schedule_steps)
    other = run.schedule_has_length and run.plan.total_steps != stored.total_steps
    return 0 if finished and other else stored.schedule_steps


def refuse_other_precision(stored: StoredRun, now: StoredRun, folder: Path) -> None:
    """Refuses to move a run aside only because auto means another precision on this machine.

    Raises:
        ResumeError: naming both.
    """
    before, precision = stored.identity.get("precision"), now.identity["precision"]
    if before != precision and stored.identity == now.identity | {"precision": before}:
        raise ResumeError(
            f"The run in {folder} was started in {before}, but precision=auto means {precision} on "
            f"this machine. Set --precision={before} to go on, or --resume=never to train again."
        )


def refuse_other_tiles(stored: StoredRun, now: StoredRun, folder: Path) -> None:
    """Refuses to move a run aside only because other tiles than before cannot be read.

    Raises:
        ResumeError: naming them.
    """
    names = ("training_tiles", "mean_height", "class_counts")
    tiles = {name: now.identity[name] for name in names}
    different = sorted(set(stored.unusable_tiles) ^ set(now.unusable_tiles))
    if different and stored.identity | tiles == now.identity:
        raise ResumeError(
            f"The run in {folder} was started when other tiles could be read: "
            f"{', '.join(different[:5])}. Restore these files, or set --resume=never to train "
            "again."
        )


def read_progress(folder: Path) -> tuple[int, bool] | None:
    """Reads how far the run in a stage's folder is, without building its network.

    Returns:
        (steps done, whether early stopping has ended it), or None where there is no state.

    Raises:
        ResumeError: if the state is damaged.
    """
    try:
        path = tf.train.latest_checkpoint(str(folder / "last"))
        if path is None:
            return None
        reader = tf.train.load_checkpoint(path)
        names = (f"{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("step", "stopped"))
        step, stopped = (reader.get_tensor(name).item() for name in names)
        return step, stopped
    except (tf.errors.OpError, IndexError, ValueError) as error:
        raise ResumeError(
            f"The state in {folder / 'last'} is damaged ({type(error).__name__}). "
            "--resume=never trains again."
        ) from None


def decide(source: Path, identity: dict, total_steps: int, resume: str = "auto") -> str:
    """Decides how a run begins.

    Args:
        source: the stage's folder of the run that may be continued.
        identity: what must be equal to continue (network, data, global batch).
        total_steps: length of the run asked for.
        resume: "auto" = continue if it fits, "never", or "named" = the user named `source`.

    Returns:
        "new", "continue" or "finished" (an equal run is complete: nothing is left to do).

    Raises:
        ResumeError: if a named run cannot be continued; the message names the settings.
    """
    if resume == "never":
        return NEW
    stored, progress = read_stored(source), read_progress(source)
    known = stored.identity if stored else None
    if resume == "auto" and (known != identity or progress is None):
        return NEW
    if known is None or progress is None:
        raise ResumeError(
            f"resume is {source}, but there is no settings.json with a state in last/. Name the "
            "folder of a stage, such as checkpoints/Demo/mtl."
        )
    different = [name for name in identity if known.get(name) != identity[name]]
    if different:
        changes = "; ".join(f"{n}: {known.get(n)} there, {identity[n]} here" for n in different)
        raise ResumeError(f"The run in {source} differs ({changes}). Set the same, or resume=auto.")
    step, stopped = progress
    return FINISHED if stopped or step >= total_steps else CONTINUE


def move_aside(folder: Path) -> Path:
    """Renames a folder to the first free `<name>.1`, `<name>.2`, ...; returns the new path."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.rename(aside)
    return aside
