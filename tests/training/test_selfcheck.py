"""The checks of the devices pass on sound replicas, and each sees the fault that it is for."""

from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from training import selfcheck
from training.optimizers import ReducedGradients


@pytest.mark.parametrize("replicas, sizes", [(1, "[6]"), (2, "[6, 6]")])
def test_a_batch_is_split_evenly(make_replicas, replicas, sizes):
    finding = selfcheck.check_batch(make_replicas(replicas), "MTL", 3, parts=2)
    assert not finding.problem and finding.line.endswith(f"per step; replicas get {sizes}")


def test_a_global_batch_on_every_replica_is_detected():
    whole = SimpleNamespace(
        num_replicas_in_sync=2,
        experimental_distribute_dataset=lambda dataset: dataset,
        experimental_local_results=lambda batch: (batch, batch),
    )
    problem = selfcheck.check_batch(whole, "MTL", 3).problem
    assert problem == "a batch of 6 is split into [6, 6]"


@pytest.mark.parametrize("replicas, expected", [(1, 1), (2, 3), (4, 10)])
def test_known_sums(make_replicas, replicas, expected):
    finding = selfcheck.check_reduction(make_replicas(replicas), 5)
    assert not finding.problem and f"expected {expected}, wrong numbers [0" in finding.line


def test_a_reduction_that_adds_nothing_is_seen(make_replicas, monkeypatch):
    monkeypatch.setattr(selfcheck, "sum_over_replicas", lambda tensors: tensors)
    problem = selfcheck.check_reduction(make_replicas(2), 5).problem
    assert problem == "of 5 sums over the replicas, [5, 5] on each are not 3"


def test_replicas_train_like_one_device(make_replicas):
    findings = selfcheck.check_training(make_replicas(2))
    assert len(findings) == 3 and not any(finding.problem for finding in findings)
    assert "agree to the bit" in findings[1].line


def test_statistics_of_each_replica_are_seen_in_the_losses(make_replicas):
    local = replace(selfcheck.NETWORK, sync_batch_norm=False)
    one, audit, comparison = selfcheck.check_training(make_replicas(2), local)
    assert not one.problem and not audit.problem
    assert "2 replicas do not train like one device" in comparison.problem


def test_a_gradient_summed_twice_is_seen_in_the_second_loss(make_replicas, monkeypatch):
    monkeypatch.delattr(ReducedGradients, "_all_reduce_sum_gradients")
    *_, comparison = selfcheck.check_training(make_replicas(2))
    assert "2 replicas do not train like one device" in comparison.problem


def test_a_replica_of_its_own_is_seen(make_replicas):
    strategy = make_replicas(2)
    model, optimizer = selfcheck.build(strategy, selfcheck.NETWORK)
    assert not selfcheck.check_audit(strategy, model, optimizer).problem
    copy = model.trainable_variables[-1].value.values[1]
    copy.assign(tf.ones_like(copy))
    assert "replicas disagree on 1 of " in selfcheck.check_audit(strategy, model, optimizer).problem


@pytest.mark.parametrize(
    "losses, fine",
    [([2.0, 1.0], True), ([2.0, 1.000005], True), ([2.0, 1.00002], False), ([2.0, np.nan], False)],
)
def test_losses_are_compared_step_by_step(losses, fine):
    assert bool(selfcheck.compare_losses([2.0, 1.0], losses, 2).problem) != fine


def test_an_operation_that_fails_ends_the_checks(make_replicas, monkeypatch):
    def broken(tensors):
        return [tf.debugging.check_numerics(tensor / 0.0, "broken") for tensor in tensors]

    monkeypatch.setattr(selfcheck, "sum_over_replicas", broken)
    *_, last = selfcheck.run_checks(make_replicas(1), {"MTL": 2})
    assert "an operation failed with InvalidArgumentError: " in last.problem


def test_the_comparison_is_in_float32_whatever_the_run_is_in():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with selfcheck.plain_float32():
            assert keras.config.dtype_policy().name == "float32"
            assert not tf.config.experimental.tensor_float_32_execution_enabled()
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert tf.config.experimental.tensor_float_32_execution_enabled()
    finally:
        keras.config.set_dtype_policy("float32")
