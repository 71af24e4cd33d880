"""A few real training steps of a stage, judged: quick_test_mtl.py and quick_test_dae.py."""

import math
import time

import numpy as np

from commands.errors import clear_errors
from devices.strategy import describe_devices
from runs.folders import is_trained
from runs.start import prepare_data, start_strategy
from runs.stored import adopt_stored_network
from training.audit import count_collectives, replicas_agree
from training.stages.feeding import distributed_batches
from training.stages.stage import StageRun, dae_stage, mtl_stage
from training.stages.step import compile_step

STEPS = 8  # on one and the same batch, so that the loss must fall


def check_stage(settings, name):
    """Trains a stage for `STEPS` steps on one batch of the configured data.

    Nothing is written. Stage 2 takes stage 1 as it is trained, or else with random weights.

    Args:
        settings: `settings.loading.Settings`.
        name: "mtl" or "dae".

    Returns:
        list of str, what is wrong; empty if all is well.
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
    rows = run_steps(step, batch)
    count = count_collectives(step, batch, strategy.num_replicas_in_sync)
    print(f"A step holds {count:g} collective operations per replica.")
    idle = idle_heads(rows, stage.loss_weights) + resting_variables(stage.network, optimizer)
    losses = [row["loss"] for row in rows]
    return [*loss_problems(losses), *variable_problems(stage.network, before, idle)]


def run_steps(step, batch):
    """Runs and prints the steps; returns their dicts of losses."""
    rows = []
    for number in range(1, STEPS + 1):
        start = time.perf_counter()
        row = {name: float(value) for name, value in step(batch).items()}
        rows.append(row)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
        print(f"step {number}: {shown} ({time.perf_counter() - start:.1f} s)", flush=True)
    return rows


def idle_heads(rows, loss_weights):
    """Returns the heads that rightly get no gradient: without weight, or without labels here."""
    # The other decoders' features go into the height decoder, so that only their heads are idle.
    heads = {"semantic_loss": "semantics/", "normal_loss": "normals/", "height_loss": "height"}
    return [
        heads[name]
        for name, weight in loss_weights.items()
        if name in rows[0] and (weight == 0 or all(row[name] == 0 for row in rows))
    ]


def resting_variables(network, optimizer):
    """Returns the paths of the variables that are not trained yet in these steps."""
    schedules = getattr(optimizer, "inner_optimizer", optimizer).schedules or []
    pairs = zip(network.trainable_variables, schedules, strict=False)
    return [variable.path for variable, schedule in pairs if schedule.first_step >= STEPS]


def loss_problems(losses):
    """Returns what is wrong with the losses of steps on one batch."""
    if not all(map(math.isfinite, losses)):
        return [f"A loss is not finite: {losses}."]
    last = np.mean(losses[-3:])
    if last >= losses[0]:
        return [f"The loss does not fall: {losses[0]:.4g} at first, {last:.4g} at the end."]
    return []


def variable_problems(network, before, idle=()):
    """Returns which variables no gradient has reached, and where replicas disagree.

    Adam moves every value that has a gradient, so a variable as it was has got none.
    """
    problems = []
    variables = network.trainable_variables
    still = [
        v.path
        for v, old in zip(variables, before, strict=True)
        if np.array_equal(v.numpy(), old) and not v.path.startswith(tuple(idle))
    ]
    if still:
        problems.append(f"No gradient reaches {len(still)} variables: {', '.join(still[:5])}.")
    apart = [v.path for v in variables if not replicas_agree(v)]
    if apart:
        problems.append(f"Replicas disagree on {len(apart)} variables: {', '.join(apart[:5])}.")
    if not problems:
        print(f"Gradients reach all of {len(variables)} variables that learn; the replicas agree.")
    return problems


def run_check(settings, name):
    """Runs the check and ends the script with status 0 or 1."""
    start = time.perf_counter()
    with clear_errors():
        problems = check_stage(settings, name)
    for problem in problems:
        print(f"FAILED: {problem}")
    verdict = "failed" if problems else "passed"
    print(f"Quick test of stage {name.upper()} {verdict} in {time.perf_counter() - start:.0f} s.")
    raise SystemExit(1 if problems else 0)
