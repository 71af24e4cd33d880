import json
from collections import Counter

import pytest
import tensorflow as tf

from benchmarks import overhead

RUN = ["blocks", "--backbone=tiny", "--decoder_width=0.02", "--crop_size=32", "--sem_flag=false"]
RUN += ["--norm_flag=false", "--dropout=0"]


# Ranks of the sign test's 95 % interval, as tables of order statistics give them.
@pytest.mark.parametrize(
    "count, rank, coverage",
    [(5, 1, 0.9375), (6, 1, 0.96875), (10, 2, 0.97852), (20, 6, 0.95861), (30, 10, 0.95723)],
)
def test_the_interval_of_a_median_is_between_order_statistics(count, rank, coverage):
    values = list(range(count, 0, -1))  # their order does not matter
    low, high, covered = overhead.median_interval(values)
    assert (low, high) == (rank, count + 1 - rank)
    assert covered == pytest.approx(coverage, abs=1e-5)


def test_few_values_cover_less():
    assert overhead.median_interval([3.0, 1.0]) == (1.0, 3.0, 0.5)
    assert overhead.median_interval([2.0]) == (2.0, 2.0, 0.0)


def test_ratios_are_of_steps_of_the_same_round():
    result = overhead.compare([1.0, 2.0, 4.0], [1.5, 2.0, 12.0])
    assert result["ratio"] == 1.5 and (result["low"], result["high"]) == (1.0, 3.0)
    assert result["pairs"] == 3 and result["coverage"] == 0.75


def test_operations_are_compared_by_type():
    counts = overhead.compare_operations(Counter(Add=3, Relu=1), Counter(Add=3, Identity=2))
    assert counts["default"] == 4 and counts["mirrored"] == 5
    assert counts["different"] == {"Identity": (0, 2), "Relu": (1, 0)}


def test_operations_within_functions_count():
    inner = tf.function(lambda x: x * x)
    step = tf.function(lambda x: inner(x) + inner(x))
    counts = overhead.count_operations(step, tf.constant(1.0))
    assert counts["AddV2"] == 1 and counts["Mul"] == 1 and counts["PartitionedCall"] == 2


def test_the_three_trainings_are_compared(blocks, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(overhead, "STARTS", (2,))
    tf.distribute.MirroredStrategy._collective_key_base += 100000
    arguments = [*RUN, f"--shortcut_path={blocks}", f"--output_dir={tmp_path}", "--pairs=2"]
    overhead.main(arguments)
    result = json.loads((tmp_path / "blocks" / "overhead.json").read_text())
    assert set(result["seconds"]) == {"default", "mirrored", "two_replicas"}
    assert all(result["comparisons"][n]["pairs"] == 2 for n in ("mirrored", "two_replicas"))
    operations = result["operations"]
    assert not any(kind.startswith("Collective") for kind in operations["different"])
    change = sum(second - first for first, second in operations["different"].values())
    assert operations["mirrored"] - operations["default"] == change
    (start,) = result["starts"]
    assert start["replicas"] == 2 and start["global_batch_size"] == 4
    assert start["trace"] > 0 and start["first_step"] > 0 and "step" not in start
    assert result["settings"]["decoder_width"] == 0.02 and result["settings"]["batch_size"] == 4
    assert "| replicas | trace (s) | first step (s) |" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong, words",
    [
        ("--pairs=0", "expected a whole number, at least 1"),
        ("--batch_size=6", "a multiple of 4"),
        ("--cpu_replicas=2", "Omit the option"),
    ],
)
def test_wrong_options_end_before_any_measurement(blocks, capsys, wrong, words):
    with pytest.raises(SystemExit) as ended:
        overhead.main([*RUN, f"--shortcut_path={blocks}", wrong])
    assert ended.value.code == 2 and words in capsys.readouterr().err
