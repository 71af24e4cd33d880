"""Real processes: a run that is killed, and runs over replicas, from the command line."""

import csv
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import train_mtl
from training.stages import run as stage_run

ROOT = Path(__file__).parents[2]
# An epoch of 2 steps, so that a state lies before the kill; dropout is on.
RUN = ["--preset=improved", "--backbone=tiny", "--decoder_width=0.02", "--crop_size=32"]
RUN += ["--sem_flag=false", "--norm_flag=false", "--dropout=0.3", "--sync_batch_norm=true"]
RUN += ["--mtl_steps=12", "--samples_per_epoch=8"]


def arguments_of(blocks, folder, *arguments):
    data = ["--dataset_name=blocks", f"--shortcut_path={blocks}"]
    places = [f"--checkpoint_dir={folder / 'ck'}", f"--output_dir={folder / 'out'}"]
    return [*data, *places, *RUN, *arguments]


def command(blocks, folder, *arguments):
    script = [sys.executable, str(ROOT / "train_mtl.py")]
    return script + arguments_of(blocks, folder, *arguments)


def history(folder, name="history"):
    path = folder / "out" / "blocks" / "mtl" / f"{name}.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def losses(folder):
    return [float(row["loss"]) for row in history(folder)]


@pytest.fixture(scope="module")
def whole(blocks, tmp_path_factory):
    """Returns the folder of a run on one device that nothing stops."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(command(blocks, folder, "--batch_size=4"), check=True, cwd=folder)
    assert len(losses(folder)) == 12
    return folder


def validations(folder):
    return [(int(row["step"]), float(row["rmse"])) for row in history(folder, "validation")]


def test_a_signal_in_the_last_validation_leaves_it_for_the_next_start(
    blocks, tmp_path, whole, monkeypatch, capsys
):
    arguments, tiles = arguments_of(blocks, tmp_path, "--batch_size=4"), []
    predict = stage_run.predict_maps

    def stop_at_step_12(*given):
        tiles.append(len(history(tmp_path)))
        if tiles[-1] == 12:
            signal.raise_signal(signal.SIGTERM)
        return predict(*given)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(stage_run, "predict_maps", stop_at_step_12)
        train_mtl.main(arguments)
    assert tiles.count(10) == 2 and tiles.count(12) == 1
    assert "its validation will be done first" in capsys.readouterr().out
    assert [step for step, _ in validations(tmp_path)] == [2, 4, 6, 8, 10]
    train_mtl.main(arguments)
    shown = capsys.readouterr().out
    assert "after step 12, whose validation comes first" in shown
    assert "MB each; the newest 2 are kept" in shown
    assert losses(tmp_path) == pytest.approx(losses(whole), rel=1e-6)
    assert validations(tmp_path) == [(s, pytest.approx(v, rel=1e-6)) for s, v in validations(whole)]
    train_mtl.main(arguments)
    assert "finished" in capsys.readouterr().out


def test_replicas_from_the_command_line_give_the_same_losses(blocks, tmp_path, whole):
    run = command(blocks, tmp_path, "--cpu_replicas=2", "--batch_size=2")
    subprocess.run(run, check=True, cwd=tmp_path)
    # Rounding grows from step to step.
    assert losses(tmp_path)[:5] == pytest.approx(losses(whole)[:5], rel=1e-4)
