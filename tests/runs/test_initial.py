"""Weights from which a stage starts: what is found and refused before TensorFlow is loaded."""

import json
import os
import tarfile
from pathlib import Path

import pytest

from runs.folders import file_digest
from runs.initial import find_initial_weights
from settings.loading import load
from settings.table import SettingsError

# Both stages of a network without classes and normals, trained on "blocks".
WRITTEN = Path(__file__).parent / "data" / "written_by_71a477f.tar.xz"
NETWORK = "--backbone=tiny --decoder_width=0.03125 --sem_flag=false --norm_flag=false".split()


@pytest.fixture
def find(tmp_path, blocks):
    """Returns a function (stage, options) -> the initial weights of a run in tmp_path/new."""
    with tarfile.open(WRITTEN) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    places = [f"--shortcut_path={blocks}", f"--checkpoint_dir={tmp_path / 'new'}"]

    def call(stage, file, *options):
        network = [name for name in NETWORK if name.split("=")[0] not in str(options)]
        given = ["--dataset_name=blocks", *places, *network, f"--initial_weights={file}"]
        return find_initial_weights(load("", [*given, *options]), stage)

    return call


@pytest.mark.parametrize("stage", ["mtl", "dae"])
def test_the_settings_beside_the_weights_name_their_stage(find, tmp_path, monkeypatch, stage):
    file = tmp_path / "old" / stage / "best.weights.h5"
    monkeypatch.chdir(tmp_path / "old")
    for asked in ("mtl", "dae"):
        found = find(asked, f"{stage}/best.weights.h5")
        assert (found.stage, found.path, found.file) == (stage, file, file)
        assert found.digest == file_digest(file) and not found.began_with and not found.problem
    assert find(stage, "none") is None


@pytest.mark.parametrize(
    "stage, options, message",
    [
        (
            "mtl",
            ["--decoder_width=0.0625", "--norm_flag=true"],
            "decoder_width is 0.03125 there and 0.0625 here; norm_flag is false there and true",
        ),
        ("mtl", ["--deep_supervision=0.5"], "deep_supervision is 0 there and 0.5 here. Set the sa"),
        ("dae", ["--sem_flag=true"], "sem_flag is false there and true here"),
        ("dae", ["--deep_supervision=0.5"], ""),
        ("mtl", ["--dropout=0", "--seed=3", "--precision=mixed_bfloat16"], ""),
    ],
)
def test_the_network_must_be_the_same(find, tmp_path, stage, options, message):
    file = tmp_path / "old" / stage / "best.weights.h5"
    if not message:
        assert find(stage, file, *options).file == file
        return
    with pytest.raises(SettingsError, match=message) as told:
        find(stage, file, *options)
    assert "\n" not in str(told.value)


def test_classes_must_be_the_same(find, tmp_path):
    path = tmp_path / "old" / "mtl" / "settings.json"
    stored = json.loads(path.read_text())
    stored["settings"]["sem_flag"], stored["classes"] = True, ["road", "roof"]
    path.write_text(json.dumps(stored))
    with pytest.raises(SettingsError, match=r"\['road', 'roof'\] there and \['ground', 'building"):
        find("mtl", path.with_name("best.weights.h5"), "--sem_flag=true")


def test_what_is_no_weight_file_of_ours_is_refused(find, tmp_path):
    mtl = tmp_path / "old" / "mtl"
    for name, content in (("a.h5", b""), ("a.weights.h5", b""), ("b.weights.h5", b"\x80\x04K.")):
        (mtl / name).write_bytes(content)
        with pytest.raises(SettingsError, match="cannot be used"):
            find("mtl", mtl / name)
    with pytest.raises(SettingsError, match="no such file"):
        find("mtl", mtl)
    for damaged in ("{", "[]", None):
        settings = mtl / "settings.json"
        settings.write_text(damaged) if damaged else settings.unlink()
        with pytest.raises(SettingsError, match="settings.json"):
            find("mtl", mtl / "best.weights.h5")


def test_a_file_that_was_moved_with_its_run_is_found_again(find, tmp_path):
    old, new = tmp_path / "old" / "mtl", tmp_path / "new" / "blocks" / "mtl"
    new.parent.mkdir(parents=True)
    old.rename(new.with_name("mtl.1"))
    file = new.with_name("mtl.1") / "best.weights.h5"
    with pytest.raises(SettingsError, match=f"moved aside: {file}"):
        find("mtl", new / "best.weights.h5")
    # The new run in its place remembers what it began with.
    stored = json.loads((file.parent / "settings.json").read_text())
    stored["initial_weights"] = str(new / "best.weights.h5")
    stored["identity"]["initial_weights"] = file_digest(file)
    new.mkdir()
    (new / "settings.json").write_text(json.dumps(stored))
    found = find("mtl", new / "best.weights.h5")
    assert found.file == file and found.began_with == found.digest == file_digest(file)
    ignored = find("dae", os.path.relpath(new / "best.weights.h5"))
    assert (ignored.stage, ignored.began_with) == ("mtl", "")
    file.unlink()
    lost = find("mtl", new / "best.weights.h5")
    assert lost.file is None and lost.began_with and "no such file" in lost.problem
