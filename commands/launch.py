"""Asks how to train, shows the arithmetic of batch and learning rate, and runs the whole job.

The answers become a command line of ./run_train_test.sh, which is printed and run. Each answer is
also an option; without a terminal, or with --yes=true, the launcher accepts all proposals. It
passes settings on to the job. Example:
./launch.sh --mode=mirrored --devices=2 --scaling=sqrt --dry-run
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from commands.options import command_line, one_of, option, whole
from devices.cuda import count_gpus
from project.errors import UserError
from settings.arithmetic import STAGES, crops_per_replica, global_batch_size, learning_rate
from settings.command_line import read_arguments
from settings.loading import DEFAULT, Settings, fail, load
from settings.table import TABLE, SettingsError, show

MODES = {
    "mirrored": "several devices, each with its part of the batch",
    "one": "one device",
    "one_device_reduction": "the same as mirrored, but gradients are summed on the first device",
    "workers": "several processes on this machine's CPU, to rehearse several machines",
}
SEVERAL = ("mirrored", "one_device_reduction")
SCALINGS = TABLE["scale_learning_rate"].choices
OPTIONS = (
    ("--mode", {"type": str.lower, "choices": tuple(MODES), "help": "how the devices train"}),
    option("--devices", whole(1), "INT", "GPUs; without GPU, CPU replicas"),
    option("--workers", whole(1), "INT", "processes of --mode=workers"),
    ("--scaling", {"type": str.lower, "choices": SCALINGS, "help": "as --scale_learning_rate"}),
    option("--yes", one_of(("true", "false")), "BOOL", "accept all proposals [false]", "false"),
    ("--dry-run", {"action": "store_true", "help": "print the command and run nothing"}),
)
ROOT = Path(__file__).parents[1]
Answer = TypeVar("Answer", int, str)


def main(arguments: Sequence[str] | None = None) -> None:
    try:
        settings, texts, options = read_command_line(arguments)
        composed = plan_job(settings, texts, options)
    except UserError as error:
        fail(error)
    except (KeyboardInterrupt, EOFError):
        print("\nNothing was run.")
        raise SystemExit(130) from None
    script = "./run_train_test.sh" if Path.cwd() == ROOT else str(ROOT / "run_train_test.sh")
    print(f"\n{shlex.join([script, *composed])}", flush=True)
    if not options.dry_run:
        # Takes this process's place, so that signals reach the job and the status is the job's.
        os.execv(script, [script, *composed])


def read_command_line(
    arguments: Sequence[str] | None,
) -> tuple[Settings, dict[str, str], argparse.Namespace]:
    """Returns the settings, their texts on the command line, and the launcher's own options.

    Raises:
        SettingsError: for everything that is wrong on any machine, except a contradiction between
            mode, devices and workers.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    texts, options = read_arguments(__doc__, arguments, OPTIONS)
    if "correction" in texts:
        raise SettingsError(
            "The job tests both without and with the correction. Omit --correction."
        )
    if options.scaling and "scale_learning_rate" in texts:
        raise SettingsError("--scaling and --scale_learning_rate mean the same. Give one of them.")
    texts |= {"scale_learning_rate": options.scaling} if options.scaling else {}
    return load(__doc__, command_line(texts)), texts, options


def plan_job(settings: Settings, texts: dict[str, str], options: argparse.Namespace) -> list[str]:
    """Asks for what is still open and shows the arithmetic.

    Args:
        settings: as `texts` gives them.
        texts: the settings on the user's command line.
        options: the launcher's own.

    Returns:
        The arguments of run_train_test.sh.
    """
    modes = fitting_modes(options)
    gpus = find_gpus(settings)
    interactive = options.yes == "false" and sys.stdin.isatty()
    mode, replicas = choose_devices(
        settings, options, modes_of_machine(modes, gpus), gpus, interactive
    )
    wanted = device_settings(settings, mode, replicas, gpus)
    if "batch_size" not in texts:
        wanted["batch_size"] = ask(
            "Crops per replica (batch_size)", settings.batch_size, whole(1), interactive
        )
    fed = load(__doc__, compose(settings, texts, wanted))
    for stage in STAGES:
        print(f"{stage.upper()}: global batch = {batch_product(fed, stage, replicas)}")
    if "scale_learning_rate" not in texts:
        wanted["scale_learning_rate"] = choose_scaling(fed, replicas, interactive)
    composed = compose(settings, texts, wanted)
    job = load(__doc__, composed)
    for stage in STAGES:
        print(f"{stage.upper()}: learning rate = {rate_product(job, stage, replicas)}")
    return [f"--workers={replicas}", *composed] if mode == "workers" else composed


def ask(title: str, proposal: Answer, read: Callable[[str], Answer], interactive: bool) -> Answer:
    """Asks until the answer can be read.

    Args:
        title: what to ask for.
        proposal: the answer if the user gives none, or cannot be asked.
        read: raises argparse.ArgumentTypeError for a text that is no answer.
        interactive: False = ask nobody.

    Raises:
        EOFError: at the end of the input.
    """
    while interactive:
        text = input(f"{title} [{proposal}]: ").strip()
        try:
            return read(text) if text else proposal
        except argparse.ArgumentTypeError as error:
            print(f"{error}.")
    print(f"{title}: {proposal} (proposed)")
    return proposal


def fitting_modes(options: argparse.Namespace) -> tuple[str, ...]:
    """Returns the modes that the launcher's options leave open.

    Raises:
        SettingsError: if they leave none.
    """
    mode, devices, workers = options.mode, options.devices, options.workers
    if devices and workers:
        raise SettingsError("--devices and --workers: a worker has one device. Give one of them.")
    modes = ("workers",) if workers else tuple(MODES)
    if devices:
        modes = ("one",) if devices == 1 else SEVERAL
    if mode and mode not in modes:
        count = f"--workers={workers}" if workers else f"--devices={devices}"
        raise SettingsError(f"--mode={mode} contradicts {count}, which needs {' or '.join(modes)}.")
    return (mode,) if mode else modes


def find_gpus(settings: Settings) -> list[int]:
    """Shows the GPUs; returns the indices of those that the settings allow."""
    if settings.gpu_devices == "auto" and not count_gpus():
        print("GPUs: none (NVIDIA's driver offers none)")
        return []
    # TensorFlow, whose import takes seconds, is needed only where it may see a GPU.
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows

    # isort: split
    import tensorflow as tf

    from devices.gpus import device_table
    from devices.strategy import list_gpus, select_gpus

    print(f"GPUs that TensorFlow sees: {', '.join(list_gpus()) or 'none'}")
    print("\n".join(device_table()))
    found = tf.config.list_physical_devices("GPU")
    allowed = [] if settings.cpu_replicas else select_gpus(settings.gpu_devices, found)
    return [found.index(gpu) for gpu in allowed]


def modes_of_machine(modes: tuple[str, ...], gpus: Sequence[int]) -> tuple[str, ...]:
    """Returns those of the modes that a machine with these GPUs has.

    Raises:
        SettingsError: if it has none of them.
    """
    if not gpus:
        return modes
    if modes == ("workers",):
        raise SettingsError(
            "All workers on one machine would use the same GPUs. Use --mode=mirrored here, or "
            "start one worker on each machine: docs/distributed.md explains how, by hand or with "
            "Slurm. --cpu_replicas=1 rehearses workers without GPUs."
        )
    if len(gpus) == 1 and "one" not in modes:
        raise SettingsError(
            f"{' and '.join(modes)} need several GPUs, but only one can be used. Choose "
            "--mode=one, or check gpu_devices and CUDA_VISIBLE_DEVICES."
        )
    return ("one",) if len(gpus) == 1 else tuple(mode for mode in modes if mode != "workers")


def choose_devices(
    settings: Settings,
    options: argparse.Namespace,
    modes: Sequence[str],
    gpus: Sequence[int],
    interactive: bool,
) -> tuple[str, int]:
    """Asks for the mode and for the number of devices or workers; returns both."""
    mode, devices = modes[0], len(gpus) or settings.cpu_replicas
    if len(modes) > 1:
        if interactive:
            print("\n".join(f"  {name:<22}{MODES[name]}" for name in modes))
        proposal = proposed_mode(settings, modes, options.devices or devices)
        mode = ask("Mode", proposal, one_of(modes), interactive)
    if mode == "one":
        return mode, 1
    if mode == "workers":
        return mode, options.workers or ask("Workers", 2, whole(1), interactive)
    if gpus and (options.devices or 0) > len(gpus):
        raise SettingsError(f"--devices={options.devices}: there are {len(gpus)} GPUs to use.")
    title, read = "GPUs" if gpus else "CPU replicas", whole(2, len(gpus))
    return mode, options.devices or ask(title, max(2, devices), read, interactive)


def proposed_mode(settings: Settings, modes: Sequence[str], devices: int) -> str:
    """Returns the one of `modes` that is closest to the settings.

    Args:
        settings: of the job.
        modes: keys of `MODES`.
        devices: how many can be used; 0 = the CPU.
    """
    reduction = settings.gradient_reduction == "reduction_to_one_device"
    mode = "one_device_reduction" if reduction else "mirrored"
    if devices < 2 or not settings.multi_gpu_enabled:
        mode = "one"
    return mode if mode in modes else modes[0]


def device_settings(settings: Settings, mode: str, count: int, gpus: Sequence[int]) -> dict:
    """Returns the settings that a choice of devices needs, by name.

    Args:
        settings: of the job.
        mode: a key of `MODES`.
        count: replicas over all devices or workers.
        gpus: indices of the GPUs that can be used; empty = the CPU trains.
    """
    several = mode in SEVERAL
    reduction = settings.gradient_reduction
    if mode == "one_device_reduction":
        reduction = "reduction_to_one_device"
    elif not gpus or reduction == "reduction_to_one_device":
        reduction = "auto"
    fewer = several and count < len(gpus)
    return {
        "multi_gpu_enabled": mode != "one",
        "gpu_devices": ",".join(map(str, gpus[:count])) if fewer else settings.gpu_devices,
        "cpu_replicas": count if several and not gpus else min(settings.cpu_replicas, 1),
        "gradient_reduction": reduction,
    }


def choose_scaling(settings: Settings, replicas: int, interactive: bool) -> str:
    """Asks for the scaling of the learning rates; proposes that of config.py or the data set.

    If they give none and the global batch is not the base, the proposal is the square root,
    because the optimizer is Adam (Malladi et al., arXiv:2205.10287).
    """
    base = settings.base_batch_size
    proposal = "none" if global_batch_size(settings, "mtl", replicas) == base else "sqrt"
    if settings.sources["scale_learning_rate"] != DEFAULT:
        proposal = settings.scale_learning_rate
    if interactive:
        print(
            f"The learning rates were chosen for a global batch of {base}. The rate of the MTL "
            "under each scaling:"
        )
        for name in SCALINGS:
            scaled = replace(settings, values=settings.values | {"scale_learning_rate": name})
            print(f"  {name:<8}{rate_product(scaled, 'mtl', replicas)}")
    return ask("Scaling", proposal, one_of(SCALINGS), interactive)


def batch_product(settings: Settings, stage: str, replicas: int) -> str:
    """Returns the global batch of a stage as a product: "4 x 2 replicas x 1 part = 8"."""

    def counted(number, word):
        return f"{number} {word}" if number == 1 else f"{number} {word}s"

    factors = (
        str(crops_per_replica(settings, stage)),
        counted(replicas, "replica"),
        counted(settings.gradient_accumulation_steps, "part"),
    )
    return f"{' x '.join(factors)} = {global_batch_size(settings, stage, replicas)}"


def rate_product(settings: Settings, stage: str, replicas: int) -> str:
    """Returns the scaled learning rate of a stage as a product: "0.0002 x 8 / 4 = 0.0004"."""
    growth = f"{global_batch_size(settings, 'mtl', replicas)} / {settings.base_batch_size}"
    factors = {"none": "", "linear": f" x {growth}", "sqrt": f" x sqrt({growth})"}
    factor = factors[settings.scale_learning_rate]
    rate = show(settings.values[f"{stage}_learning_rate"])
    return f"{rate}{factor} = {learning_rate(settings, stage, replicas):.3g}" if factor else rate


def compose(settings: Settings, texts: dict[str, str], wanted: dict) -> list[str]:
    """Returns the arguments that give the settings as wanted.

    Args:
        settings: as `texts` gives them.
        texts: the settings on the user's command line.
        wanted: values by name.

    Raises:
        SettingsError: if the user's command line contradicts `wanted`.
    """
    changed = {name: value for name, value in wanted.items() if value != settings.values[name]}
    for name in changed:
        if name in texts:
            raise SettingsError(
                f"--{name}={texts[name]} contradicts the chosen mode and devices, which require "
                f"{name}={show(changed[name])}. Omit the option, or make other choices."
            )
    return command_line({name: show(value) for name, value in changed.items()} | texts)


if __name__ == "__main__":
    main()
