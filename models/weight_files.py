"""HDF5 files of weights: read as numbers and nothing else, with a digest of all of them."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import h5py
import numpy as np

from project.errors import first_line
from project.files import MemoryFile

if TYPE_CHECKING:  # Keras loads TensorFlow, and files are checked before that
    import keras

FORMAT = 1  # of what the attributes of a file's root say
FORMAT_NAME, DIGEST_NAME = "format", "tensors_sha256"
LARGEST_ATTRIBUTE = 1000  # bytes
# How Keras stores tensors: whole, without filters. Other layouts may lead to other files, or make
# a small file declare any amount of numbers.
LAYOUTS = (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT)
# What h5py raises where a damaged file contradicts itself.
UNREADABLE = (
    OSError,
    RuntimeError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
)


def saved_weights(model: "keras.Model", name: str) -> MemoryFile:
    """Returns a file in memory with the weights of a model and their digest.

    Args:
        model: built.
        name: of the file that it will be.
    """
    memory = MemoryFile(name)
    model.save_weights(memory)
    store_digest(memory)
    return memory


def store_digest(path: Path | BinaryIO) -> None:
    """Stores the digest of a file's tensors in it, as an attribute of its root."""
    with h5py.File(path, "r+") as file:
        file.attrs[DIGEST_NAME] = _digest(dict(_tensors(file)))
        file.attrs[FORMAT_NAME] = FORMAT


def tensors_digest(path: Path) -> str:
    """Returns the SHA-256 over path, type, shape and bytes of each tensor in a file.

    Raises:
        ValueError: of `check_tensors`.
    """
    return _with_tensors(path, _digest)


def check_tensors(
    path: Path, shapes: Iterable[tuple[int, ...]] | None = None, content: bool = True
) -> bool:
    """Checks that a file holds tensors and nothing else, and that they are those once written.

    Nothing that leads to another file is followed, and no tensor is read before the size of all is
    known to be that of the network, or at least that of the file.

    Args:
        path: of the file.
        shapes: those of the network's tensors, in any order; None = any.
        content: False = do not compare the tensors with the digest, which reads all of them.

    Returns:
        Whether the file has a digest.

    Raises:
        OSError: if there is no such file, or it must not be read.
        ValueError: what is wrong with the file, as a part of a sentence.
    """

    def check(tensors):
        if shapes is not None:
            _check_shapes(tensors, Counter(shapes))
        file = next(iter(tensors.values())).file
        stored = _stored_digest(file)
        if stored and content and stored != _digest(tensors):
            raise ValueError("its numbers are not those that were written")
        return bool(stored)

    return _with_tensors(path, check)


def _with_tensors(path, use):
    """Returns `use` of the tensors of a file by their paths; all errors of h5py as ValueError."""
    size = Path(path).stat().st_size
    Path(path).open("rb").close()  # the system's own words where the file must not be read
    try:
        with h5py.File(path) as file:
            tensors = dict(_tensors(file))
            if not tensors:
                raise ValueError("it holds no weights")
            if sum(tensor.nbytes for tensor in tensors.values()) > size:
                raise ValueError("it declares more numbers than it can hold")
            return use(tensors)
    except UNREADABLE as error:
        raise ValueError(first_line(error)) from None


def _tensors(
    group: h5py.Group, path: str = "", seen: set[int] | None = None
) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yields the tensors below a group, each with its path.

    Raises:
        ValueError: if anything there is no tensor, lies elsewhere, or is there twice.
    """
    seen = set() if seen is None else seen
    for name in sorted(group):
        place = f"{path}/{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{place} is a link, which is not followed")
        entry = group[name]
        address = h5py.h5o.get_info(entry.id).addr
        if address in seen:  # groups in a circle would never end
            raise ValueError(f"{place} has two names")
        seen.add(address)
        if isinstance(entry, h5py.Group):
            yield from _tensors(entry, place, seen)
        else:
            yield place, _plain(entry, place)


def _plain(entry: h5py.Dataset | h5py.Datatype, place: str) -> h5py.Dataset:
    """Returns a tensor that is stored whole, as numbers, in its own file."""
    if not isinstance(entry, h5py.Dataset):
        raise ValueError(f"{place} is no tensor")
    # The shape is asked for later: for that, HDF5 may open the files of a virtual dataset.
    creation = entry.id.get_create_plist()
    if creation.get_layout() not in LAYOUTS or creation.get_external_count():
        raise ValueError(f"{place} is not stored whole in this file")
    if entry.dtype.kind not in "fiub":
        raise ValueError(f"{place} holds {entry.dtype}, expected numbers")
    return entry


def _check_shapes(tensors: dict[str, h5py.Dataset], expected: Counter) -> None:
    """Raises ValueError, naming a shape, unless the tensors have exactly the expected ones."""
    found = Counter(tensor.shape for tensor in tensors.values())
    for more, less, word in ((found, expected, "holds"), (expected, found, "lacks")):
        if surplus := more - less:
            shape = max(surplus, key=math.prod)
            raise ValueError(
                f"it {word} a tensor of shape {shape} ({surplus.total()} tensors differ), so that "
                "it is of another network"
            )


def _stored_digest(file: h5py.File) -> str:
    """Returns the digest that a file carries, or an empty text.

    Raises:
        ValueError: if a later version of the project wrote the file.
    """
    attributes = file.attrs
    if DIGEST_NAME not in attributes:
        return ""
    for name in (DIGEST_NAME, FORMAT_NAME):
        if attributes.get_id(name).get_storage_size() > LARGEST_ATTRIBUTE:
            raise ValueError(f"its attribute {name} is too large")
    if attributes[FORMAT_NAME] != FORMAT:
        raise ValueError(
            f"its format is {attributes[FORMAT_NAME]}, expected {FORMAT}: a later version of this "
            "project may have written it"
        )
    return str(attributes[DIGEST_NAME])


def _digest(tensors: dict[str, h5py.Dataset]) -> str:
    digest = hashlib.sha256()
    for path, tensor in sorted(tensors.items()):
        digest.update(repr((path, tensor.dtype.str, tensor.shape)).encode())
        digest.update(np.ascontiguousarray(tensor[()]).data)
    return digest.hexdigest()
