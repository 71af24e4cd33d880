"""Real processes: a run that is killed, and runs over replicas, from the command line."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NETWORK = ["--backbone=tiny", "--decoder_width=0.02"]


def command(blocks, folder, *arguments):
    data = ["--dataset_name=blocks", f"--shortcut_path={blocks}"]
    places = [f"--checkpoint_dir={folder / 'ck'}", f"--output_dir={folder / 'out'}"]
    return [sys.executable, str(ROOT / "train_mtl.py"), *data, *places, *NETWORK, *arguments]


def history(folder):
    path = folder / "out" / "blocks" / "mtl" / "history.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def losses(folder):
    return [float(row["loss"]) for row in history(folder)]


@pytest.mark.parametrize("preset", ["published", "improved"])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(blocks, tmp_path, preset):
    # An epoch of 2 steps, so that a state lies before the kill; dropout is on.
    length = ["--mtl_steps=30", "--samples_per_epoch=4", "--crop_size=32", "--batch_size=2"]
    length += [f"--preset={preset}", "--dropout=0.3"]
    subprocess.run(command(blocks, tmp_path / "whole", *length), check=True, cwd=tmp_path)
    killed = subprocess.Popen(command(blocks, tmp_path / "killed", *length), cwd=tmp_path)
    while len(history(tmp_path / "killed")) < 5:
        assert killed.poll() is None
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    again = subprocess.run(
        command(blocks, tmp_path / "killed", *length), capture_output=True, text=True, cwd=tmp_path
    )
    assert again.returncode == 0, again.stderr
    assert "Continuing" in again.stdout
    assert len(losses(tmp_path / "killed")) == 30
    assert losses(tmp_path / "killed") == pytest.approx(losses(tmp_path / "whole"), rel=1e-6)


@pytest.mark.parametrize(
    "preset, batch_norm",
    [("improved", "--sync_batch_norm=true"), ("published", "--encoder_batch_norm=frozen")],
)
def test_replicas_from_the_command_line_give_the_same_losses(blocks, tmp_path, preset, batch_norm):
    found = {}
    for count in (1, 2):
        arguments = [f"--cpu_replicas={count}", f"--batch_size={4 // count}", "--mtl_steps=5"]
        arguments += ["--dropout=0", f"--preset={preset}", "--crop_size=32", batch_norm]
        folder = tmp_path / str(count)
        subprocess.run(command(blocks, folder, *arguments), check=True, cwd=tmp_path)
        found[count] = losses(folder)
    assert len(found[1]) == 5
    assert found[2] == pytest.approx(found[1], rel=1e-4)
