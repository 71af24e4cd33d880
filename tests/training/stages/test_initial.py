"""Runs that start from the weights of an earlier run: real trainings of tiny networks."""

import json
from pathlib import Path

import h5py
import pytest

import train_mtl
from models.weight_files import store_digest
from runs.folders import file_digest
from runs.initial import find_initial_weights
from runs.start import prepare_data, start_strategy
from settings.loading import load
from settings.table import SettingsError
from training.stages import run as stages_run
from training.stages.stage import dae_stage, mtl_stage

NETWORK = "--backbone=tiny --decoder_width=0.03125 --sem_flag=false --norm_flag=false".split()


@pytest.fixture
def places(earlier_run):
    """Returns the arguments that name an earlier run and its network."""
    return [*earlier_run, *NETWORK]


def tensors(file):
    """Returns the arrays of a weight file, by shape and content."""
    found = []
    with h5py.File(file) as opened:
        opened.visititems(lambda _, e: found.append(e[()]) if isinstance(e, h5py.Dataset) else None)
    return sorted((array.shape, array.tobytes()) for array in found)


def tensors_of(model):
    arrays = [variable.numpy() for variable in model.variables]
    return sorted((array.shape, array.tobytes()) for array in arrays)


@pytest.mark.parametrize("options", [[], ["--freeze_backbone_epochs=1", "--ema_decay=0.9"]])
def test_a_stage_has_the_weights_of_the_file(places, tmp_path, capsys, options):
    for name in ("mtl", "dae"):
        file = tmp_path / "ck" / "blocks" / name / "best.weights.h5"
        settings = load("", [*places, f"--initial_weights={file}", *options])
        initial = find_initial_weights(settings, name)
        strategy = start_strategy(settings)
        if name == "mtl":
            made = mtl_stage(settings, prepare_data(settings), strategy, initial)
        else:
            made = dae_stage(settings, strategy, initial=initial)
        assert tensors_of(made.network) == tensors(file)
        assert made.origin["initial_weights"] == file_digest(file)
    assert "freezes an encoder" not in capsys.readouterr().out


def test_a_run_starts_from_the_run_that_it_moves_aside(places, tmp_path, capsys, monkeypatch):
    mtl = tmp_path / "ck" / "blocks" / "mtl"
    named, aside = mtl / "best.weights.h5", Path(f"{mtl}.1/best.weights.h5")
    digest, began = file_digest(named), []
    command = [*places, "--samples_per_epoch=8", "--seed=3", f"--initial_weights={named}"]

    def interrupted(run):  # when the earlier run is moved, and no state is written yet
        began.append(tensors_of(run.stage.network))
        raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr(stages_run, "compile_step", interrupted)
            train_mtl.main([*command, "--mtl_steps=1"])
    assert file_digest(aside) == digest and began == 2 * [tensors(aside)]
    assert capsys.readouterr().out.count("moved aside") == 1

    train_mtl.main([*command, "--mtl_steps=1"])
    assert f"began with weights of {named}" in capsys.readouterr().out
    stored = json.loads((mtl / "settings.json").read_text())
    assert stored["identity"]["initial_weights"] == digest

    # The file is now its own, and the run goes on whatever has become of it.
    named.write_bytes(b"damaged")
    train_mtl.main([*command, "--mtl_steps=2"])
    told = capsys.readouterr().out
    assert "after step 1" in told and f"began with weights of {named}" in told
    named.write_bytes(b"damaged")
    with pytest.raises(SystemExit, match="best.weights.h5.* cannot be used"):
        train_mtl.main([*command, "--mtl_steps=2", "--mtl_learning_rate=0.001"])
    assert not Path(f"{mtl}.2").exists()


def test_the_other_stage_ignores_the_file_and_says_so(places, tmp_path, capsys):
    file = tmp_path / "ck" / "blocks" / "mtl" / "best.weights.h5"
    settings = load("", [*places, f"--initial_weights={file}"])
    made = dae_stage(
        settings, start_strategy(settings), initial=find_initial_weights(settings, "dae")
    )
    assert list(made.origin) == ["mtl_weights"] and made.initial is None
    assert f"{file} is of stage MTL; DAE ignores it.\n" in capsys.readouterr().out


def test_weights_that_cannot_be_loaded_are_refused_before_the_training(places, tmp_path):
    file = tmp_path / "ck" / "blocks" / "dae" / "best.weights.h5"
    store_digest(file)
    with h5py.File(file, "r+") as opened:
        opened["layers/conv2d/vars/0"][...] += 1
    settings = load("", [*places, f"--initial_weights={file}"])
    initial = find_initial_weights(settings, "dae")
    with pytest.raises(SettingsError, match="not those that were written"):
        dae_stage(settings, start_strategy(settings), initial=initial)
