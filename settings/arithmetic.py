"""The global batch and the learning rate of a training step, for training and launch.sh."""

import math

from settings.loading import Settings

STAGES = ("mtl", "dae")


def crops_per_replica(settings: Settings, stage: str) -> int:
    """Returns the crops that a replica processes at a time in a stage, "mtl" or "dae"."""
    return settings.batch_size if stage == "mtl" else settings.dae_batch_size


def global_batch_size(settings: Settings, stage: str, replicas: int) -> int:
    """Returns the crops of one optimizer step: per replica x replicas x accumulated batches."""
    parts = settings.gradient_accumulation_steps
    return crops_per_replica(settings, stage) * replicas * parts


def learning_rate(settings: Settings, stage: str, replicas: int) -> float:
    """Returns the learning rate of a stage, scaled with the global batch if so configured.

    Both stages use the growth of stage 1's global batch, since that of stage 2 grows by the same
    factor.
    """
    rate = settings.mtl_learning_rate if stage == "mtl" else settings.dae_learning_rate
    growth = global_batch_size(settings, "mtl", replicas) / settings.base_batch_size
    return scaled_rate(rate, settings.scale_learning_rate, growth)


def scaled_rate(rate: float, rule: str, growth: float) -> float:
    """Adapts a learning rate to a larger or smaller global batch.

    Args:
        rate: learning rate at the base batch.
        rule: "none", "linear" (Goyal et al., arXiv:1706.02677, for SGD) or "sqrt" (Malladi et
            al., arXiv:2205.10287, for Adam).
        growth: global batch / base batch.

    Raises:
        ValueError: if `rule` is none of these.
    """
    factors = {"none": 1.0, "linear": growth, "sqrt": math.sqrt(growth)}
    if rule not in factors:
        raise ValueError(f"scale_learning_rate is {rule!r}, but must be {', '.join(factors)}.")
    return rate * factors[rule]
