import math

import pytest

from settings.arithmetic import global_batch_size, learning_rate, scaled_rate
from settings.loading import load


def read(*arguments):
    return load("", ["--batch_size=3", "--dae_batch_size=2", *arguments])


def test_the_global_batch_counts_replicas_and_accumulated_parts():
    settings = read("--gradient_accumulation_steps=5")
    assert global_batch_size(settings, "mtl", 4) == 60
    assert global_batch_size(settings, "dae", 4) == 40


def test_both_stages_grow_with_stage_1():
    scaled = read(
        "--scale_learning_rate=sqrt",
        "--base_batch_size=6",
        "--mtl_learning_rate=0.1",
        "--dae_learning_rate=0.01",
    )
    assert learning_rate(scaled, "mtl", 4) == pytest.approx(0.1 * math.sqrt(12 / 6))
    assert learning_rate(scaled, "dae", 4) == pytest.approx(0.01 * math.sqrt(12 / 6))


@pytest.mark.parametrize("rule, expected", [("none", 0.2), ("linear", 0.8), ("sqrt", 0.4)])
def test_scaled_rate_by_hand(rule, expected):
    assert scaled_rate(0.2, rule, 16 / 4) == pytest.approx(expected)


def test_unknown_rule_is_named():
    with pytest.raises(ValueError, match="'square'.*none, linear, sqrt"):
        scaled_rate(0.2, "square", 2)
