"""test_multi_gpu.py on replicas of the processor."""

import pytest
import tensorflow as tf

import test_multi_gpu
from training import selfcheck


def run(blocks, *options):
    """Runs the script on the data set "blocks"; returns its exit status."""
    tf.distribute.MirroredStrategy._collective_key_base += 100000
    with pytest.raises(SystemExit) as ending:
        test_multi_gpu.main(["--dataset_name=blocks", f"--shortcut_path={blocks}", *options])
    return ending.value.code


def test_two_replicas_are_tried(blocks, capsys):
    options = ["--cpu_replicas=2", "--dae_batch_size=3", "--gradient_accumulation_steps=2"]
    status = run(blocks, *options)
    out = capsys.readouterr().out
    assert status == 0, out
    assert "MTL: 2 crops x 2 replicas x 2 accumulated = 8 per step; replicas get [4, 4]" in out
    assert "DAE: 3 crops x 2 replicas x 2 accumulated = 12 per step; replicas get [6, 6]" in out
    assert "MirroredStrategy, 2 replicas" in out and "TensorFlow" in out and "Memory:" in out
    assert "1000000 numbers: expected 3, wrong numbers [0, 0]" in out
    assert out.endswith("All as expected.\n")


def test_a_failed_check_is_named_and_is_the_exit_status(blocks, capsys, monkeypatch):
    monkeypatch.setattr(selfcheck, "sum_over_replicas", lambda tensors: [2 * t for t in tensors])
    assert run(blocks, "--cpu_replicas=1") == 1
    out = capsys.readouterr().out
    assert out.count("FAILED: ") == 3 and "FAILED: of 1 sums over the replicas, [1]" in out
