"""Real processes: a run that is killed, and runs over replicas, from the command line."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import train_mtl

ROOT = Path(__file__).parents[2]
# An epoch of 2 steps, so that a state lies before the kill; dropout is on.
RUN = ["--preset=improved", "--backbone=tiny", "--decoder_width=0.02", "--crop_size=32"]
RUN += ["--sem_flag=false", "--norm_flag=false", "--dropout=0.3", "--sync_batch_norm=true"]
RUN += ["--mtl_steps=12", "--samples_per_epoch=8"]


def command(blocks, folder, *arguments):
    data = ["--dataset_name=blocks", f"--shortcut_path={blocks}"]
    places = [f"--checkpoint_dir={folder / 'ck'}", f"--output_dir={folder / 'out'}"]
    return [sys.executable, str(ROOT / "train_mtl.py"), *data, *places, *RUN, *arguments]


def history(folder):
    path = folder / "out" / "blocks" / "mtl" / "history.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def losses(folder):
    return [float(row["loss"]) for row in history(folder)]


@pytest.fixture(scope="module")
def whole(blocks, tmp_path_factory):
    """Returns the losses of a run on one device that nothing stops."""
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run(command(blocks, folder, "--batch_size=4"), check=True, cwd=folder)
    assert len(losses(folder)) == 12
    return losses(folder)


def test_a_killed_run_resumes_to_the_same_result(blocks, tmp_path, whole):
    run = command(blocks, tmp_path, "--batch_size=4")
    killed = subprocess.Popen(run, cwd=tmp_path)
    while len(history(tmp_path)) < 5:
        assert killed.poll() is None
        time.sleep(0.01)
    with pytest.raises(SystemExit, match=f"mtl is in use by process {killed.pid} on "):
        train_mtl.main(run[2:])  # at once, and the first goes on
    assert killed.poll() is None
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert len(losses(tmp_path)) < 12
    again = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "Continuing" in again.stdout
    assert losses(tmp_path) == pytest.approx(whole, rel=1e-6)
    assert not list(tmp_path.rglob("*.lease"))


def test_replicas_from_the_command_line_give_the_same_losses(blocks, tmp_path, whole):
    run = command(blocks, tmp_path, "--cpu_replicas=2", "--batch_size=2")
    subprocess.run(run, check=True, cwd=tmp_path)
    # Rounding grows from step to step.
    assert losses(tmp_path)[:5] == pytest.approx(whole[:5], rel=1e-4)
