"""Whether a run is new, continued or finished, and clear folders for it."""

import shutil
from pathlib import Path

from networks import stage_folder
from runs import output_folder
from training.resume import (
    NEW,
    ResumeError,
    decide,
    move_aside,
    read_identity,
    read_progress,
    read_stored,
)


def refuse_other_precision(stored, identity, folder):
    """Refuses to set a run aside only because auto means another precision on this machine.

    Raises:
        ResumeError: naming both.
    """
    before, now = stored.get("precision"), identity["precision"]
    if before != now and stored == identity | {"precision": before}:
        raise ResumeError(
            f"The run in {folder} was begun in {before}, but precision=auto means {now} on this "
            f"machine. Set --precision={before} to go on, or --resume=never to train anew."
        )


def refuse_other_tiles(stored, description, folder):
    """Refuses to set a run aside only because other tiles than before cannot be read.

    Raises:
        ResumeError: naming them.
    """
    names = ("training_tiles", "mean_height", "class_counts")
    now = {name: description["identity"][name] for name in names}
    before = set(stored.get("unusable_tiles", ()))
    different = sorted(before ^ set(description["unusable_tiles"]))
    if different and stored["identity"] | now == description["identity"]:
        raise ResumeError(
            f"The run in {folder} was begun when other tiles could be read: "
            f"{', '.join(different[:5])}. Make these as they were, or set --resume=never to train "
            "anew."
        )


def prepare_folders(settings, stage, description, plan):
    """Decides between a new, a continued and a finished run, and clears the way for it.

    Returns:
        "new", "continue" or "finished" of `training.resume.decide`.
    """
    folder, results = stage_folder(settings, stage), output_folder(settings, stage)
    named = settings.resume not in ("auto", "never")
    source = Path(settings.resume) if named else folder
    start = decide(
        source, description["identity"], plan.total_steps, "named" if named else settings.resume
    )
    if start == NEW and settings.resume == "auto" and settings.precision == "auto":
        refuse_other_precision(read_identity(folder) or {}, description["identity"], folder)
    if start == NEW and settings.resume == "auto" and read_progress(folder):
        refuse_other_tiles(read_stored(folder), description, folder)
    own = source.resolve() == folder.resolve()
    if start != NEW and own:
        return start
    if start == NEW and settings.resume == "auto" and read_progress(folder) is None:
        if read_identity(folder) == description["identity"]:
            return start  # killed before its first state: there is nothing worth keeping
    for old in (folder, results):
        if old.exists():
            print(f"{old} holds another run: moved aside to {move_aside(old)}")
    if start != NEW:
        shutil.copytree(source, folder)
    folder.mkdir(parents=True, exist_ok=True)
    return start
