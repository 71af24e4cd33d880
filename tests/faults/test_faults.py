"""A part of the fault suite: python -m tests.faults runs more. This test may take a minute."""

import subprocess
import sys

import pytest

from tests.faults.process import ROOT
from tests.faults.stage import Stage, largest_difference


def test_a_run_that_signals_stop_ends_like_one_that_nothing_stops():
    # A process of its own, because TensorFlow must be unused where scripts are forked from.
    command = [sys.executable, "-m", "tests.faults", "--kinds=mixed", "--trials=3", "--seed=117"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 x 75, 2 x 137" in ended.stdout


def test_a_step_that_is_missing_or_doubled_is_no_equal_loss():
    assert largest_difference([1.0, 2.0], [1.0, 2.002]) == pytest.approx(1e-3, rel=1e-3)
    assert largest_difference([1.0], [1.0, 2.0]) == float("inf")


def test_phases_are_told_from_files(tmp_path):
    stage = Stage(tmp_path, "mtl")
    assert stage.phase(begun=False) == "start"
    stage.results.mkdir(parents=True)
    history = stage.results / "history.csv"
    history.write_text("step,epoch\n1,1\n2,1\n3")
    assert stage.step() == 2 and stage.phase(begun=True) == "step"
    part = stage.states / ".part.0123abcd.step-00000003"
    part.mkdir(parents=True)
    assert stage.phase(begun=True) == "state write"
    assert stage.phase(begun=True, left=stage.unfinished()) == "step"
    state = part.rename(stage.states / "step-00000003")
    history.write_text("step,epoch\n1,1\n2,1\n3,1\n")
    (state / "state.json").write_text('{"pending": true}')
    assert stage.phase(begun=True) == "validation"
    (stage.weights / ".part.0123abcd.best.weights.h5").touch()
    assert stage.phase(begun=True) == "best weights"
    (stage.weights.parent / "mtl.1").mkdir()
    assert stage.phase(begun=True) == "move"
