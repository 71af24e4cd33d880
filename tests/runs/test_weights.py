import random
import tarfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from runs.stored import ResumeError
from runs.weights import load_weights, save_weights, tensors_digest

WRITTEN = Path(__file__).parent / "data" / "written_by_71a477f.tar.xz"
FLIPS = 60


def build(units=24):
    inputs = keras.Input((units,))
    x = keras.layers.Dense(units, name="first")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="last")(x))


def numbers(model):
    return [variable.numpy() for variable in model.variables]


def test_weights_come_back_and_the_same_weights_are_the_same_file(tmp_path, capsys):
    model, other, path = build(), build(), tmp_path / "best.weights.h5"
    save_weights(model, path)
    written = path.read_bytes()
    save_weights(model, path)
    assert path.read_bytes() == written and [*tmp_path.iterdir()] == [path]
    load_weights(other, path)
    for one, two in zip(numbers(model), numbers(other), strict=True):
        np.testing.assert_array_equal(one, two)
    with h5py.File(path) as file:
        assert file.attrs["tensors_sha256"] == tensors_digest(path)
    assert capsys.readouterr().out == ""


def test_no_flipped_bit_loads_other_numbers(tmp_path):
    model, other, path = build(), build(), tmp_path / "best.weights.h5"
    save_weights(model, path)
    content, expected, refused = path.read_bytes(), numbers(model), 0
    generator = random.Random(0)
    for place in generator.sample(range(8 * len(content)), FLIPS):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            load_weights(other, path)
        except ResumeError as error:
            assert "Restore a copy" in str(error) and "\n" not in str(error)
            refused += 1
            continue
        for one, two in zip(expected, numbers(other), strict=True):  # nothing that counts
            np.testing.assert_array_equal(one, two, err_msg=f"bit {place}")
    assert refused > 3


@pytest.mark.parametrize("length", [0, 1, 2000, -1])
def test_a_truncated_file_is_refused(tmp_path, length):
    path = tmp_path / "best.weights.h5"
    save_weights(build(), path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ResumeError, match="it is damaged or of another network"):
        load_weights(build(), path)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "best.weights.h5"
    save_weights(build(), path)
    with pytest.raises(ResumeError, match=r"it holds a tensor of shape \(24, 24\)"):
        load_weights(build(16), path)


def test_a_file_of_an_earlier_version_loads_with_a_note(tmp_path, capsys):
    model, other, path = build(), build(), tmp_path / "best.weights.h5"
    model.save_weights(path)
    load_weights(other, path)
    assert capsys.readouterr().out.startswith(f"note: {path} has no digest")
    with tarfile.open(WRITTEN) as archive:
        archive.extractall(tmp_path, filter="data")
    # The digest is of the content, wherever and whenever it is computed.
    assert tensors_digest(tmp_path / "mtl" / "best.weights.h5").startswith("38bcb107885601ec")
