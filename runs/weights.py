"""The weight files of trained stages, written whole and checked when they are read."""

from pathlib import Path

import keras

from models.weight_files import check_tensors, saved_weights, tensors_digest
from project.errors import first_line
from project.files import UNCHANGED, to_disk, whole_file
from runs.stored import ResumeError

__all__ = ["load_weights", "save_weights", "tensors_digest"]


def save_weights(model: keras.Model, path: Path, safe: str = UNCHANGED) -> None:
    """Writes the weights of a network with the digest of its tensors, whole or not at all.

    Args:
        model: built.
        path: of the file.
        safe: of `project.files.writing`.

    Raises:
        DiskError: if it cannot be written.
    """
    content = saved_weights(model, path.name).getbuffer()
    with whole_file(path, "the best weights", len(content), safe) as part:
        part.write_bytes(content)
        to_disk(part)
    to_disk(path.parent)


def load_weights(model: keras.Model, path: Path) -> None:
    """Loads the weights of a file into a network that is built like its own.

    Raises:
        OSError: if there is no such file, or it must not be read.
        ResumeError: if it is damaged or of another network; the network may then hold a part of it.
    """
    try:
        if not check_tensors(path, [tuple(variable.shape) for variable in model.variables]):
            print(
                f"note: {path} has no digest of its numbers, as earlier versions wrote it: it "
                "loads, but damage would not be noticed."
            )
        model.load_weights(path)
    except ValueError as error:
        raise ResumeError(
            f"{path} cannot be loaded ({first_line(error)}): it is damaged or of another network. "
            "Restore a copy of it. If its run has a state in last/, the training goes on from that "
            "with the same command and writes best weights anew; else train again."
        ) from None
