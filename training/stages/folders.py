"""Whether a run is new, continued or finished, and clear folders for it."""

import contextlib
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from project.files import whole_folder, write_bytes
from runs.folders import WEIGHTS
from runs.stored import FILE, ResumeError, StoredRun, read_stored
from training.stages.stage import StageRun
from training.states import (
    LAST,
    Numbers,
    best_is_lost,
    newest_whole,
    read_progress,
    remove_leftovers,
    saved_states,
)

NEW, CONTINUE, FINISHED = "new", "continue", "finished"
HISTORY_BYTES = 10_000  # of a history, which hold more than its first line


def prepare_folders(run: StageRun, before_new: Callable[[], None] = lambda: None) -> str:
    """Decides between a new, a continued and a finished run, and clears the way for it.

    Weights, states and histories that are there are continued or moved aside, never trained over.

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
    for written in (folder, run.results):
        remove_leftovers(written)
    if start == NEW:
        before_new()
        reason = in_the_way(run) if resume == "auto" else "a new run was asked for"
        if reason:
            make_way(run, reason)
        folder.mkdir(parents=True, exist_ok=True)
    elif start == CONTINUE and source.resolve() != folder.resolve():
        newest_whole(source / LAST, set_aside=False)  # an error, before anything is moved
        with whole_folder(folder) as part:
            shutil.copytree(source, part, dirs_exist_ok=True)
            for path in (part, *(path for path in part.rglob("*") if path.is_dir())):
                path.chmod(path.stat().st_mode | 0o700)  # the source may be write-protected
            make_way(run, f"the run in {source} goes on in its place")
    return start


def in_the_way(run: StageRun) -> str:
    """Returns why the run in the folders of a new one cannot go on; "" = there is none.

    Raises:
        ResumeError: if it is this run but for what differs on this machine.
    """
    folder, now = run.folder, run.description
    stored, progress = read_stored(folder), read_progress(folder / LAST)
    if stored and run.settings.precision == "auto":
        refuse_other_precision(stored, now, folder)
    if stored and progress:
        refuse_other_tiles(stored, now, folder)
    if stored and stored.identity != now.identity:
        names = sorted(stored.identity.keys() | now.identity.keys())
        other = [n for n in names if stored.identity.get(n) != now.identity.get(n)]
        return f"it is another run (other {', '.join(other)})"
    if progress is None and not left_behind(folder, run.results):
        return ""  # killed before its first step: there is nothing worth keeping
    return f"it has no state in {LAST}/ to go on from" if stored else f"it has no {FILE}"


def make_way(run: StageRun, reason: str) -> None:
    """Moves the folders of an earlier run aside, and says why, and where its weights are."""
    keep_description(run)
    # The folder that may hold the weights from which the new run starts goes last.
    for old in (run.results, run.folder):
        if not old.exists():
            continue
        aside = move_aside(old)
        print(f"{old} is moved aside to {aside}: {reason}.")
        if (weights := aside / WEIGHTS).is_file():
            print(f"Its best weights are now {weights}")
            if not saved_states(aside / LAST) and (aside / FILE).is_file():
                setting = shlex.quote(f"--initial_weights={weights}")
                print(f"To start from them instead, stop this run and set {setting}")


def keep_description(run: StageRun) -> None:
    """Puts a copy of settings.json beside weights that have lost theirs and would need it."""
    there, here = run.results / FILE, run.folder / FILE
    if not here.exists() and (run.folder / WEIGHTS).is_file():
        with contextlib.suppress(ResumeError):
            if (stored := read_stored(run.results)) and stored.stage == run.description.stage:
                write_bytes(here, there.read_bytes())


def refuse_lost_description(run: StageRun) -> None:
    """Refuses to move a run aside only because its settings.json is gone or damaged.

    Raises:
        ResumeError: saying how to mend that.
    """
    folder = run.folder
    if run.settings.resume != "auto":
        return
    try:
        stored, lost = read_stored(folder), "is gone"
    except ResumeError:
        stored, lost = None, "is damaged"
    if stored or (lost == "is gone" and read_progress(folder / LAST) is None):
        return
    remedy = "restore it from a backup"
    with contextlib.suppress(ResumeError):
        if read_stored(run.results):
            there, here = (shlex.quote(str(path / FILE)) for path in (run.results, folder))
            remedy = f"copy the one beside its history: cp {there} {here}"
    raise ResumeError(
        f"{folder / FILE} {lost}, without which the run there cannot go on. Nothing is changed. To "
        f"go on, {remedy}. --resume=never moves the run aside and trains anew."
    )


def left_behind(folder: Path, results: Path) -> bool:
    """Returns whether a run has left weights, parts of a state, or steps in its history."""
    if (folder / WEIGHTS).exists() or any((folder / LAST).glob("*")):
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
    progress = read_progress(source / LAST) if stored else None
    if stored is None or progress is None:
        return 0
    finished = is_finished(progress, max(stored.total_steps, stored.schedule_steps))
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


def is_finished(progress: Numbers, total_steps: int) -> bool:
    """Returns whether nothing is left to do of a run of that many steps, not even a validation."""
    return not progress.pending and (progress.stopped or progress.step >= total_steps)


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
    stored, progress = read_stored(source), read_progress(source / LAST)
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
    if is_finished(progress, total_steps) and not best_is_lost(source, progress):
        return FINISHED
    return CONTINUE


def move_aside(folder: Path) -> Path:
    """Renames a folder to the first free `<name>.1`, `<name>.2`, ...; returns the new path."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.rename(aside)
    return aside
