"""What a finished job has left, and how it differs from one that nothing has stopped."""

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.faults.stage import BEST_WEIGHTS, Stage, largest_difference

STORED = ("step", "best", "waited", "stopped", "pending")  # in state.json
NOT_STATE = ("save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH")  # of TensorFlow: how often it saved


def list_differences(ours: list[Stage], whole: list[Stage], rounding: float | None) -> list[str]:
    """Returns what differs between the stages of a job and those of a job that nothing stopped.

    Args:
        ours: stages of the job.
        whole: the same stages of the other job.
        rounding: largest relative difference of losses that several devices may have; None = all
            must be the same, to the bit. Call it in a process of its own then: it reads states.
    """
    found = []
    for mine, theirs in zip(ours, whole, strict=True):
        found += [f"{mine.name}: {text}" for text in _stage_differences(mine, theirs, rounding)]
    return found


def _stage_differences(ours: Stage, whole: Stage, rounding: float | None) -> list[str]:
    steps = [int(row["step"]) for row in ours.rows()]
    if steps != list(range(1, ours.steps + 1)):
        return [f"the steps of history.csv are {steps}, expected 1 to {ours.steps}, each once"]
    found = [f"{path.name} is left over" for path in ours.leftovers()]
    if rounding is None:
        return found + _differences_to_the_bit(ours, whole)
    return found + _differences_by_rounding(ours, whole, rounding)


def _differences_to_the_bit(ours: Stage, whole: Stage) -> list[str]:
    """Returns what differs where nothing may."""
    found = [
        f"row {number} of history.csv has {ours_row}, expected {whole_row}"
        for number, (ours_row, whole_row) in enumerate(
            zip(ours.rows(), whole.rows(), strict=True), start=1
        )
        if ours_row != whole_row
    ][:1]
    mine, theirs = validations(ours), validations(whole)
    if mine != theirs:
        more, missing = ([a for a in x if a not in y] for x, y in ((mine, theirs), (theirs, mine)))
        found.append(f"validation.csv lacks {missing}, and has {more} instead")
    for title, read in (("best weights", best_weights), ("state", state)):
        own, expected = read(ours), read(whole)
        names = [name for name in own | expected if own.get(name) != expected.get(name)]
        if names:
            found.append(
                f"{len(names)} of {len(expected)} parts of the {title} differ: {names[:3]}"
            )
    return found


def _differences_by_rounding(ours: Stage, whole: Stage, rounding: float) -> list[str]:
    """Returns what differs where rounding may."""
    found = []
    difference = largest_difference(ours.losses(), whole.losses())
    if difference > rounding:
        found.append(f"losses differ by {difference:.1e}, expected at most {rounding:.1e}")
    mine, theirs = ([line.split(",")[:2] for line in validations(s)] for s in (ours, whole))
    if mine != theirs:
        found.append(f"validation.csv has steps and epochs {mine}, expected {theirs}")
    return found


def validations(stage: Stage) -> list[str]:
    """Returns the lines of validation.csv."""
    return (stage.results / "validation.csv").read_text().splitlines()


def best_weights(stage: Stage) -> dict[str, str]:
    """Returns the digests of the tensors in best.weights.h5, by their names."""
    digests = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            digests[name] = _digest(item[()])

    with h5py.File(stage.weights / BEST_WEIGHTS) as file:
        file.visititems(note)
    return digests


def state(stage: Stage) -> dict[str, Any]:
    """Returns the content of the newest state: digests of its tensors, and its numbers."""
    import tensorflow as tf

    folder = stage.state()
    assert folder, f"{stage.states} holds no state"
    path = max(folder.glob("*.index"), key=lambda path: path.stat().st_mtime).with_suffix("")
    reader = tf.train.load_checkpoint(str(path))
    names = [n for n in reader.get_variable_to_shape_map() if n.split("/")[0] not in NOT_STATE]
    content = {name: _digest(reader.get_tensor(name)) for name in names}
    if (folder / "state.json").is_file():
        stored = json.loads((folder / "state.json").read_text())
        content |= {name: stored.get(name) for name in STORED}
    return content


def heights(path: Path) -> str:
    """Returns the digest of a predicted height map."""
    from datasets.rasters.reading import read_info, read_window

    grid = read_info(path).grid
    return "".join(map(_digest, read_window(path, 0, 0, grid.rows, grid.columns)))


def _digest(tensor: Any) -> str:
    array = np.asarray(tensor)
    content = array.tobytes() if array.dtype != object else repr(array.tolist()).encode()
    return hashlib.sha256(content).hexdigest()[:16]
