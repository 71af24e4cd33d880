"""Whether a run continues an earlier one, and what becomes of what is in its folder."""

import json

import tensorflow as tf

NEW, CONTINUE, FINISHED = "new", "continue", "finished"


class ResumeError(ValueError):
    """An earlier run cannot be continued or read."""


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


def read_stored(folder):
    """Reads the settings.json beside a stage's weights.

    Returns:
        dict with `identity`, `settings`, `classes`, ...; None where there is none.

    Raises:
        ResumeError: if the file is damaged.
    """
    path = folder / "settings.json"
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return stored | {"identity": dict(stored["identity"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ResumeError(
            f"{path} is damaged ({error}). Move its folder away and train anew."
        ) from None


def read_identity(folder):
    """Returns what must be equal to continue the run in a stage's folder; None without a run."""
    stored = read_stored(folder)
    return stored and stored["identity"]


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
