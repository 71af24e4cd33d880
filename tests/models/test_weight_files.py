import h5py
import numpy as np
import pytest

from models.weight_files import check_tensors, store_digest, tensors_digest


@pytest.fixture
def file(tmp_path):
    """Returns a weight file of two tensors, with its digest."""
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as opened:
        opened["layers/dense/vars/0"] = np.arange(6, dtype="float32").reshape(2, 3)
        opened["layers/dense/vars/1"] = np.float32(7)
    store_digest(path)
    return path


def test_the_digest_tells_names_types_shapes_and_numbers_apart(file):
    digests = {tensors_digest(file)}
    for change in (
        lambda f: f.move("layers/dense/vars/1", "layers/dense/vars/2"),
        lambda f: f["layers/dense/vars/0"].write_direct(np.ones((2, 3), "float32")),
        lambda f: f.create_dataset("more", data=np.zeros(0)),
        lambda f: f.create_dataset("less", data=np.zeros((0, 1))),
    ):
        with h5py.File(file, "r+") as opened:
            change(opened)
        digests.add(tensors_digest(file))
    assert len(digests) == 5


def test_a_file_is_checked_against_its_digest_and_the_network(file):
    shapes = [(2, 3), ()]
    assert check_tensors(file) and check_tensors(file, shapes)
    with pytest.raises(ValueError, match=r"holds a tensor of shape \(2, 3\) \(1 tensors differ"):
        check_tensors(file, [()])
    with pytest.raises(ValueError, match=r"lacks a tensor of shape \(5,\)"):
        check_tensors(file, [*shapes, (5,)])
    with h5py.File(file, "r+") as opened:
        opened["layers/dense/vars/1"][()] = 8
    with pytest.raises(ValueError, match="not those that were written"):
        check_tensors(file)
    assert check_tensors(file, content=False)


def test_a_file_without_a_digest_or_of_a_later_format(file):
    with h5py.File(file, "r+") as opened:
        opened.attrs["format"] = 2
    with pytest.raises(ValueError, match="a later version"):
        check_tensors(file)
    with h5py.File(file, "r+") as opened:
        del opened.attrs["tensors_sha256"]
    assert not check_tensors(file)


def linked(file):
    file["x"] = h5py.SoftLink("/layers")


def linked_outside(file):
    file["x"] = h5py.ExternalLink("secret.h5", "/numbers")


def stored_outside(file):
    file.create_dataset("x", (4,), "uint8", external=[("secret.h5", 0, 4)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "uint8")
    layout[:] = h5py.VirtualSource("secret.h5", "numbers", (4,))
    file.create_virtual_dataset("x", layout)


def endless(file):
    source = h5py.VirtualSource("secret.h5", "numbers", (4,), maxshape=(None,))
    layout = h5py.VirtualLayout((4,), "uint8", maxshape=(None,))
    layout[0 : h5py.UNLIMITED] = source[0 : h5py.UNLIMITED]
    file.create_virtual_dataset("x", layout)


def huge(file):
    file.create_dataset("x", (2**40,), "float32")  # takes no space until it is written


def compressed(file):
    file.create_dataset("x", (2**30,), "uint8", compression="gzip", chunks=(2**20,))


def nested(file):
    file["layers/again"] = file["layers"]


def texts(file):
    file["x"] = ["a", "b"]


def a_type(file):
    file["x"] = np.dtype("float32")


@pytest.mark.parametrize(
    "change",
    [linked, linked_outside, stored_outside, virtual, endless, huge, compressed]
    + [nested, texts, a_type],
)
def test_what_is_no_plain_tensor_is_refused_before_it_is_read(file, tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    with h5py.File("secret.h5", "w") as secret:
        secret["numbers"] = np.arange(4, dtype="uint8")
    with h5py.File(file, "r+") as opened:
        change(opened)
    with pytest.raises(ValueError, match="/x|/layers/again|declares more numbers"):
        check_tensors(file)
    with pytest.raises(ValueError):
        tensors_digest(file)


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04\x95cos\nsystem\n(S'touch x'\ntR.", b"PK\x03\x04"]
)
def test_what_is_no_hdf5_is_refused(tmp_path, content):
    path = tmp_path / "a.weights.h5"
    path.write_bytes(content)
    with pytest.raises(ValueError):
        check_tensors(path)
    with pytest.raises(FileNotFoundError):
        check_tensors(tmp_path / "absent.weights.h5")
