"""A few training steps of a stage and their checks: quick_test_mtl.py and quick_test_dae.py."""

import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows

# isort: split
import math
import time
from collections.abc import Sequence

import keras
import numpy as np

from commands.errors import clear_errors
from devices.strategy import describe_devices
from runs.folders import is_trained
from runs.start import prepare_data, start_strategy
from runs.stored import adopt_stored_network
from settings.loading import Settings
from training.audit import count_collectives, replicas_agree
from training.stages.feeding import distributed_batches
from training.stages.stage import StageRun, dae_stage, mtl_stage
from training.stages.step import compile_step

STEPS = 8  # on one and the same batch, so that the loss must decrease


def run_check(settings: Settings, name: str) -> None:
    """Checks stage `name`, "mtl" or "dae", and ends the script with status 0 or 1."""
    start = time.perf_counter()
    with clear_errors(settings, name):
        problems = check_stage(settings, name)
    for problem in problems:
        print(f"FAILED: {problem}")
    print(
        f"Quick test of stage {name.upper()} {'failed' if problems else 'passed'} in "
        f"{time.perf_counter() - start:.0f} s."
    )
    raise SystemExit(1 if problems else 0)


def check_stage(settings: Settings, name: str) -> list[str]:
    """Trains a stage for `STEPS` steps on one batch of the configured data.

    It writes nothing. Stage 2 uses the trained stage 1, or random weights if there is none.

    Returns:
        What is wrong; empty if nothing is.
    """
    trained = name == "dae" and is_trained(settings, "mtl")
    if trained:
        settings = adopt_stored_network(settings)
    strategy = start_strategy(settings)
    data = prepare_data(settings, ("train",))
    if name == "mtl":
        stage = mtl_stage(settings, data, strategy)
    else:
        stage = dae_stage(settings, strategy, trained)
        print(f"Stage 1: {'trained' if trained else 'not trained yet, random weights'}.")
    run = StageRun.begin(settings, data, strategy, stage)
    print(f"Devices: {describe_devices(strategy)}; global batch {run.plan.global_batch_size}.")
    step, optimizer = compile_step(run)
    batch = next(distributed_batches(run, range(1)))
    before = [value.numpy() for value in stage.network.trainable_variables]
    rows = []
    for number in range(1, STEPS + 1):
        start = time.perf_counter()
        rows.append({name: float(value) for name, value in step(batch).items()})
        shown = ", ".join(f"{name} {value:.4g}" for name, value in rows[-1].items())
        print(f"step {number}: {shown} ({time.perf_counter() - start:.1f} s)", flush=True)
    count = count_collectives(step, batch, strategy.num_replicas_in_sync)  # type: ignore[arg-type]
    print(f"A step holds {count:g} collective operations per replica.")
    idle = idle_heads(rows, stage.loss_weights) + frozen_variables(stage.network, optimizer)
    return [
        *loss_problems([row["loss"] for row in rows]),
        *variable_problems(stage.network, before, idle),
    ]


def idle_heads(rows: Sequence[dict[str, float]], loss_weights: dict[str, float]) -> list[str]:
    """Returns the heads that rightly get no gradient: without weight, or without labels here."""
    # The height decoder takes the features of the other decoders, so that only their heads idle.
    heads = {"semantic_loss": "semantics/", "normal_loss": "normals/", "height_loss": "height"}
    return [
        heads[name]
        for name, weight in loss_weights.items()
        if name in rows[0] and (weight == 0 or all(row[name] == 0 for row in rows))
    ]


def frozen_variables(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> list[str]:
    """Returns the paths of the variables that the freeze schedule keeps frozen for these steps."""
    schedules = getattr(optimizer, "inner_optimizer", optimizer).schedules or []
    pairs = zip(network.trainable_variables, schedules, strict=False)
    return [variable.path for variable, schedule in pairs if schedule.first_step >= STEPS]


def loss_problems(losses: Sequence[float]) -> list[str]:
    """Returns what is wrong with the losses of steps on one batch."""
    if not all(map(math.isfinite, losses)):
        return [f"A loss is not finite: {losses}."]
    last = np.mean(losses[-3:])
    if last >= losses[0]:
        return [f"The loss does not decrease: {losses[0]:.4g} at first, {last:.4g} at the end."]
    return []


def variable_problems(
    network: keras.Model, before: Sequence[np.ndarray], idle: Sequence[str]
) -> list[str]:
    """Lists the variables that no gradient has reached, and those on which replicas disagree.

    Adam changes every value that has a gradient, so an unchanged variable had none.

    Args:
        network: after the steps.
        before: its trainable variables before them.
        idle: beginnings of the paths of variables that need no gradient.
    """
    variables = network.trainable_variables
    still = [
        v.path
        for v, old in zip(variables, before, strict=True)
        if np.array_equal(v.numpy(), old) and not v.path.startswith(tuple(idle))
    ]
    apart = [v.path for v in variables if not replicas_agree(v)]
    if not still and not apart:
        print(f"Gradients reach all of {len(variables)} variables that learn; the replicas agree.")
    found = (("No gradient reaches", still), ("Replicas disagree on", apart))
    return [f"{text} {len(v)} variables: {', '.join(v[:5])}." for text, v in found if v]
