"""How the learning rate moves over a run."""

import keras


def make_schedule(kind, learning_rate, total_steps, warmup_steps=0, minimum=0.0):
    """Makes the learning rate of a run.

    "constant": the rate all along, as published. "cosine": half a cosine from the rate down to
    `minimum` (Loshchilov and Hutter, "SGDR", ICLR 2017). Both after a linear rise from 0 over
    `warmup_steps`.

    Args:
        kind: "constant" or "cosine".
        learning_rate: float, the largest rate.
        total_steps: int, optimizer steps of the run.
        warmup_steps: int, of them for the rise.
        minimum: float, the rate at the end of the cosine.

    Returns:
        `keras.optimizers.schedules.LearningRateSchedule`.

    Raises:
        ValueError: if `kind` is neither.
    """
    if kind not in ("constant", "cosine"):
        raise ValueError(f"learning_rate_schedule is {kind!r}, but must be constant or cosine.")
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else learning_rate,
        decay_steps=max(1, total_steps - warmup_steps),
        alpha=1.0 if kind == "constant" else minimum / learning_rate,
        warmup_target=learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
