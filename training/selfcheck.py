"""Tests the devices of a run: how they share a batch, what they add up, how they train."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from models.mtl import NetworkOptions, build_mtl
from training.audit import AuditError, audit_construction, audit_replicas
from training.optimizers import SGD
from training.steps import MtlLosses, StepOptions, make_train_step, sum_over_replicas

REDUCTION_SIZES = (1, 1_000, 1_000_000)  # numbers; a network's gradient has millions
LEARNING_RATE = 1e-3
SIZE = 64  # pixels; at 32, statistics of one pixel per crop would magnify rounding
STEPS = 2  # the second loss shows whether the first update was right
LARGEST_DIFFERENCE = 1e-5  # of a loss, relative: float32 rounds at 6e-8
NETWORK = NetworkOptions("tiny", decoder_width=0.02, decoder_skips=True, sync_batch_norm=True)


@dataclass(frozen=True)
class Finding:
    """What a check saw.

    Attributes:
        line: what was found.
        problem: what is wrong; empty = all as expected.
    """

    line: str
    problem: str = ""


def run_checks(
    strategy: tf.distribute.Strategy, batch_sizes: dict[str, int], parts: int = 1
) -> Iterator[Finding]:
    """Runs all checks, one after another, until an operation fails.

    Args:
        strategy: of the run.
        batch_sizes: examples per replica and part, by stage.
        parts: gradient accumulation steps.
    """
    try:
        for stage, size in batch_sizes.items():
            yield check_batch(strategy, stage, size, parts)
        for size in REDUCTION_SIZES:
            yield check_reduction(strategy, size)
        yield from check_training(strategy)
    except tf.errors.OpError as error:
        # What comes after a broken collective operation fails as well.
        reason = f"{type(error).__name__}: {error.message.splitlines()[0]}"
        yield Finding("The checks end here.", f"an operation failed with {reason}")


def check_batch(strategy: tf.distribute.Strategy, stage: str, size: int, parts: int = 1) -> Finding:
    """Splits one global batch and checks its arithmetic."""
    replicas = strategy.num_replicas_in_sync
    total = size * replicas * parts
    dataset = tf.data.Dataset.range(total).batch(total)
    batch = next(iter(strategy.experimental_distribute_dataset(dataset)))
    sizes = [len(part) for part in strategy.experimental_local_results(batch)]
    accumulated = f" x {parts} accumulated" if parts > 1 else ""
    line = f"{stage}: {size} crops x {replicas} replicas{accumulated} = {total} per step; "
    # Of several machines, each sees its own replicas.
    right = set(sizes) == {size * parts}
    problem = "" if right else f"a batch of {total} is split into {sizes}"
    return Finding(f"{line}replicas get {sizes}", problem)


def check_reduction(strategy: tf.distribute.Strategy, size: int) -> Finding:
    """Sums `size` numbers over the replicas, of which replica i gives i + 1 each.

    Each number must become N (N + 1) / 2 on each of N replicas.
    """
    count = strategy.num_replicas_in_sync

    def replica() -> tf.Tensor:
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        return sum_over_replicas([tf.fill([size], tf.cast(number, tf.float32) + 1.0)])[0]

    sums = tf.function(lambda: strategy.run(replica))()
    expected = count * (count + 1) / 2
    wrong = [int(np.sum(x.numpy() != expected)) for x in strategy.experimental_local_results(sums)]
    line = f"Sum over the replicas of {size} numbers: expected {expected:g}, wrong numbers {wrong}"
    problem = f"of {size} sums over the replicas, {wrong} on each are not {expected:g}"
    return Finding(line, problem if any(wrong) else "")


def check_training(
    strategy: tf.distribute.Strategy, options: NetworkOptions = NETWORK
) -> list[Finding]:
    """Trains a tiny network on one device and over the replicas, on the same batch.

    Args:
        strategy: over the replicas.
        options: of the network. The losses can be the same because dropout belongs to the sample
            and the batch statistics are those of all replicas.

    Returns:
        The finding on one device, and for more the audit of the replicas and the comparison.
    """
    one_device, count = tf.distribute.get_strategy(), strategy.num_replicas_in_sync
    with plain_float32():
        model, optimizer = build(one_device, options)
        weights = model.get_weights()
        alone = take_steps(one_device, model, optimizer, 2 * count)
        problem = "" if np.isfinite(alone).all() else f"one device has the losses {shown(alone)}"
        findings = [Finding(f"Losses of a tiny network on one device: {shown(alone)}", problem)]
        if count == 1:
            return findings
        model, optimizer = build(strategy, options)
        model.set_weights(weights)
        together = take_steps(strategy, model, optimizer, 2 * count)
    audit = check_audit(strategy, model, optimizer, statistics=options.sync_batch_norm)
    return [*findings, audit, compare_losses(alone, together, count)]


def build(
    strategy: tf.distribute.Strategy, options: NetworkOptions
) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    """Builds a tiny height network under the strategy's scope; returns (network, optimizer)."""
    with strategy.scope():
        model = build_mtl(options, normals=False)
        # Adam would hide a factor on the gradient, and turn its rounding into full steps.
        optimizer = SGD(LEARNING_RATE)
        optimizer.build(model.trainable_variables)
    return model, optimizer


def take_steps(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    examples: int,
) -> list[float]:
    """Takes `STEPS` steps on one batch of different examples; returns their losses."""
    generator = np.random.default_rng(0)
    shape = (examples, SIZE, SIZE)
    brightness = np.linspace(0.1, 1, examples)[:, None, None, None]  # differs on each replica
    heights = generator.uniform(0, 9, shape + (1,)).astype("float32")
    arrays = {
        "image": (brightness * generator.uniform(0, 255, shape + (3,))).astype("float32"),
        "heights": np.where(heights > 1, heights, np.float32(np.nan)),
        "classes": np.full(heights.shape, -1),
        "gsd_factor": np.ones(examples, "float32"),
        "sample": np.arange(examples),
    }
    dataset = tf.data.Dataset.from_tensor_slices(arrays).batch(examples)
    batch = next(iter(strategy.experimental_distribute_dataset(dataset)))
    losses, weights = MtlLosses(model, 0.5, "unit"), {"height_loss": 1.0}
    step = make_train_step(strategy, model, optimizer, losses, weights, StepOptions(examples))
    return [float(step(batch)["loss"]) for _ in range(STEPS)]


def check_audit(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    statistics: bool = False,
) -> Finding:
    """Audits a trained network; `statistics` as in `audit_replicas`."""
    try:
        audit_construction(strategy, model, optimizer)
        audit_replicas(model, statistics)
    except AuditError as error:
        return Finding("Audit of the replicas: failed", str(error))
    count = len(model.weights if statistics else model.trainable_variables)
    line = f"Audit of the replicas on this machine after {STEPS} steps: {count} variables agree"
    return Finding(f"{line} to the bit")


def compare_losses(alone: list[float], together: list[float], count: int) -> Finding:
    """Compares the losses of one device with those over `count` replicas, step by step."""
    difference = np.max(np.abs(np.divide(together, alone) - 1))
    line = f"Losses over {count} replicas: {shown(together)}; relative difference {difference:.1g}"
    if difference <= LARGEST_DIFFERENCE:
        return Finding(line)
    problem = f"{count} replicas do not train like one device: losses {shown(together)}, expected "
    return Finding(line, f"{problem}{shown(alone)} to within {LARGEST_DIFFERENCE:g}")


def shown(losses: list[float]) -> str:
    return ", ".join(f"{loss:.7g}" for loss in losses)


@contextlib.contextmanager
def plain_float32() -> Iterator[None]:
    """Computes in float32 within the context, without the TF32 of newer GPUs (rounds at 1e-3)."""
    tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    policy = keras.config.dtype_policy()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(tf32)
        keras.config.set_dtype_policy(policy)
