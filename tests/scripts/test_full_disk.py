"""Disks that are full at each kind of write, then room, then the same command again."""

import csv
import re
from contextlib import ExitStack

import h5py
import keras
import numpy as np
import pytest

import export
import predict
import test_dsm
import train_mtl
from datasets.demo.data_set import make_demo
from datasets.rasters.reading import read_raster
from project.files import DiskError
from tests.full_disk import closed_folder, file_limit, small_disk
from training.checkpoints import RunState
from training.history import RunLog
from training.optimizers import make_optimizer

RUN = ["--backbone=tiny", "--decoder_width=0.02", "--crop_size=32", "--dropout=0.3"]
RUN += ["--sem_flag=false", "--norm_flag=false", "--batch_size=4"]
RUN += ["--mtl_steps=6", "--samples_per_epoch=8"]  # an epoch of 2 steps
AGAIN = "start the same command again"


def train(blocks, folder):
    data = ["--dataset_name=blocks", f"--shortcut_path={blocks}"]
    places = [f"--checkpoint_dir={folder / 'ck'}", f"--output_dir={folder / 'out'}"]
    train_mtl.main([*data, *places, *RUN])


def results(folder):
    """Returns the losses by step and the best weights by name."""
    with (folder / "out" / "blocks" / "mtl" / "history.csv").open() as file:
        losses = [(row["step"], row["loss"]) for row in csv.DictReader(file)]
    weights = {}
    with h5py.File(folder / "ck" / "blocks" / "mtl" / "best.weights.h5") as file:
        file.visititems(lambda name, item: weights.update({name: item}))
        return losses, {k: v[()].tolist() for k, v in weights.items() if hasattr(v, "dtype")}


@pytest.fixture(scope="module")
def whole(blocks, tmp_path_factory):
    """Returns the folder of a run that nothing stops."""
    folder = tmp_path_factory.mktemp("whole")
    train(blocks, folder)
    return folder


def test_a_training_without_room_for_its_logs_goes_on_but_not_without_one_for_its_state(
    blocks, tmp_path, whole, monkeypatch, capsys
):
    log_step, limits = RunLog.step, {3: 0, 5: 1_000_000}  # the state has 1.7 MB

    def step(log, row):
        with file_limit(limits.get(row["step"], 10**9)):
            log_step(log, row)
        if row["step"] == 5:
            limit.enter_context(file_limit(limits[5]))

    with monkeypatch.context() as patch, ExitStack() as limit:
        patch.setattr(RunLog, "step", step)
        with pytest.raises(SystemExit) as ended:
            train(blocks, tmp_path)
    assert re.match(
        "error: the state .* cannot be written: .* MB needed, 1 MB allowed.* The last state, "
        f"of step 4, is whole.* {AGAIN}",
        ended.value.code,
    )
    printed = capsys.readouterr().out
    assert printed.count("history.csv cannot be written") == 1
    assert printed.count("history.csv is written again") == 1
    train(blocks, tmp_path)
    assert "after step 4" in capsys.readouterr().out
    assert results(tmp_path) == results(whole)


@pytest.mark.parametrize(("limit", "name"), [(100, "train_all.json"), (2000, "settings.json")])
def test_a_training_does_not_begin_without_room(blocks, tmp_path, limit, name):
    with file_limit(limit), pytest.raises(SystemExit, match=f"error: .*{name} cannot .*{AGAIN}"):
        train(blocks, tmp_path)
    assert not list(tmp_path.rglob("*.h5"))


def make_state(folder):
    """Returns the state of a network of 480 kB, saved after step 3, with its best weights."""
    inputs = keras.Input((400,))
    model = keras.Model(inputs, keras.layers.Dense(300)(inputs))
    state = RunState(folder, model, make_optimizer(model, 0.1))
    state.step = 3
    state.save()
    state.save_best()
    return state


def check_state_without_room(state):
    """Checks that neither state nor best weights are lost where they cannot be written."""
    path = state.folder / "best.weights.h5"
    before = path.read_bytes()
    state.step = 4
    message = "the best weights .*49. kB needed.* The last state, of step 3, is whole."
    with pytest.raises(DiskError, match=message):
        state.save_best()
    with pytest.raises(DiskError, match="the state .*1.4. MB needed.*of step 3, is whole."):
        state.save()
    assert path.read_bytes() == before
    assert state.restore() and state.step == 3


def test_best_weights_and_states_without_room_leave_the_earlier_ones(tmp_path):
    state = make_state(tmp_path)
    with file_limit(400_000):
        check_state_without_room(state)


def test_best_weights_and_states_are_written_once_a_full_disk_has_room(tmp_path):
    with small_disk(tmp_path / "disk", 2200) as resize:
        state = make_state(tmp_path / "disk")
        check_state_without_room(state)
        resize(10_000)
        state.step = 4
        state.save()
        state.save_best()
        assert state.restore() and state.step == 4


def test_a_folder_that_is_closed_during_a_run_is_named_and_nothing_is_lost(tmp_path):
    state = make_state(tmp_path)
    for folder, save in ((tmp_path, state.save_best), (tmp_path / "last", state.save)):
        message = (
            "cannot be written: writing is not permitted .*of step 3, is whole. Change the perm"
        )
        with closed_folder(folder), pytest.raises(DiskError, match=message):
            save()
    assert state.restore() and state.step == 3


def trained(folder):
    return ["--dataset_name=blocks", f"--checkpoint_dir={folder / 'ck'}"]


def test_an_evaluation_without_room_leaves_the_earlier_one(blocks, whole, tmp_path):
    def evaluate(window_size=64):
        places = [f"--shortcut_path={blocks}", f"--output_dir={tmp_path}", "--figures=0"]
        test_dsm.main([*trained(whole), *places, f"--window_size={window_size}"])

    folder = tmp_path / "blocks" / "test_mtl"
    full = f"error: .*test_mtl cannot .*{AGAIN}"
    with file_limit(30_000), pytest.raises(SystemExit, match=full):  # too little for the report
        evaluate()
    assert not folder.exists()
    evaluate()
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {"metrics.json", "report.html"} <= {path.name for path in files}
    with file_limit(1000), pytest.raises(SystemExit, match=full):  # too little for a GeoTIFF
        evaluate()
    with pytest.raises(SystemExit, match="(?s)^error: out of memory .*--window_size=240000"):
        evaluate(320_000)
    assert files == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_prediction_without_room_is_made_by_the_same_command_later(blocks, whole, tmp_path):
    scene, output = blocks / "blocks" / "test" / "rgb" / "test_0.tif", tmp_path / "h.tif"
    command = [str(scene), str(output), *trained(whole), "--shortcut_path=absent"]
    with file_limit(5000), pytest.raises(SystemExit, match=f"error: {output} cannot .*{AGAIN}"):
        predict.main(command)
    assert not output.exists()
    predict.main(command)
    assert read_raster(output).valid.all()
    assert [path.name for path in tmp_path.iterdir()] == ["h.tif"]


def test_a_model_that_finds_no_room_is_exported_by_the_same_command_later(whole, tmp_path):
    command = [str(tmp_path / "model"), *trained(whole), "--shortcut_path=absent"]
    with file_limit(100_000), pytest.raises(SystemExit, match=f"error: .*/model cannot .*{AGAIN}"):
        export.main(command)
    assert not list(tmp_path.iterdir())
    export.main(command)
    assert (tmp_path / "model" / "saved_model.pb").is_file()


def test_demo_data_that_find_no_room_are_made_later(tmp_path):
    with file_limit(2000), pytest.raises(DiskError, match="/Demo cannot be written"):
        make_demo(tmp_path / "Demo", 32, (1, 1, 1))
    assert not list(tmp_path.iterdir())
    make_demo(tmp_path / "Demo", 32, (1, 1, 1))
    assert np.isfinite(read_raster(tmp_path / "Demo/train/dsm/train_000.tif").pixels).all()
