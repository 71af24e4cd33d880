"""A run that goes on with another length than it began with, from the command line."""

import csv
import signal

import pytest

import train_mtl
from training.history import RunLog
from training.schedules import make_schedule

# The rise would take a quarter of an epoch, 5 steps, but at most half of the run.
RUN = ["--dataset_name=blocks", "--backbone=tiny", "--decoder_width=0.02", "--norm_flag=false"]
RUN += ["--sem_flag=false", "--dropout=0", "--samples_per_epoch=40", "--batch_size=2"]
RUN += ["--mtl_learning_rate=0.01", "--learning_rate_schedule=cosine", "--warmup_epochs=0.25"]


def test_the_rates_are_those_with_which_the_run_began(blocks, tmp_path, monkeypatch, capsys):
    places = [f"--checkpoint_dir={tmp_path / 'ck'}", f"--output_dir={tmp_path / 'out'}"]
    arguments = [*RUN, f"--shortcut_path={blocks}", *places]
    step = RunLog.step

    def stop_at_3(log, row):
        step(log, row)
        if row["step"] == 3:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(RunLog, "step", stop_at_3)
        train_mtl.main([*arguments, "--mtl_steps=8"])
    assert "Stopped after step 3 of 8" in capsys.readouterr().out
    train_mtl.main([*arguments, "--mtl_steps=11"])
    shown = capsys.readouterr().out
    assert "after step 3" in shown
    assert "the learning rate keeps to the 8 steps with which the run began and is at" in shown
    with (tmp_path / "out/blocks/mtl/history.csv").open(newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    planned = make_schedule("cosine", 0.01, 8, warmup_steps=4)
    assert rates == pytest.approx([float(planned(step)) for step in range(11)], abs=1e-9)
