"""Whether a run is new, continued or finished, and clear folders for it."""

import shutil
from pathlib import Path

import tensorflow as tf

from runs.folders import output_folder, stage_folder
from runs.stored import ResumeError, read_identity, read_stored


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
        "new", "continue" or "finished" of `training.stages.folders.decide`.
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


NEW, CONTINUE, FINISHED = "new", "continue", "finished"


def read_progress(folder):
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
            "--resume=never trains anew."
        ) from None


def decide(source, identity, total_steps, resume="auto"):
    """Decides how a run begins.

    Args:
        source: `Path` of the stage's folder of the run that may be continued.
        identity: dict of what must be equal to continue (network, data, global batch).
        total_steps: int, length of the run asked for.
        resume: "auto" = continue if it fits, "never", or "named" = the user named `source`.

    Returns:
        "new", "continue" or "finished" (an equal run is complete: nothing is left to do).

    Raises:
        ResumeError: if a named run cannot be continued; the message names the settings.
    """
    if resume == "never":
        return NEW
    stored, progress = read_identity(source), read_progress(source)
    if resume == "auto" and (stored != identity or progress is None):
        return NEW
    if stored is None or progress is None:
        raise ResumeError(
            f"resume is {source}, but there is no settings.json with a state in last/. Name the "
            "folder of a stage, such as checkpoints/Demo/mtl."
        )
    different = [name for name in identity if stored.get(name) != identity[name]]
    if different:
        changes = "; ".join(f"{n}: {stored.get(n)} there, {identity[n]} here" for n in different)
        raise ResumeError(f"The run in {source} differs ({changes}). Set the same, or resume=auto.")
    step, stopped = progress
    return FINISHED if stopped or step >= total_steps else CONTINUE


def move_aside(folder):
    """Renames a folder to the first free `<name>.1`, `<name>.2`, ...; returns the new path."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.rename(aside)
    return aside
