"""What the launcher composes: modes, the settings that they need, and the arithmetic of a step."""

from dataclasses import dataclass

from settings.table import SettingsError, show

MODES = {
    "mirrored": "several devices, each with its part of the batch",
    "one": "one device",
    "one_device_reduction": "the same as mirrored, but gradients are summed on the first device",
    "workers": "several processes on this machine's CPU, to rehearse several machines",
}
SEVERAL = ("mirrored", "one_device_reduction")
SCALINGS = ("none", "linear", "sqrt")


@dataclass(frozen=True)
class Choice:
    """How the devices train.

    Attributes:
        mode: a key of `MODES`.
        replicas: int, over all devices or workers.
        gpus: list of int, indices of the GPUs that may be used; empty = the CPU trains.
    """

    mode: str
    replicas: int
    gpus: list


def fitting_modes(mode, devices, workers):
    """Returns the modes that the answers given as options leave open.

    Args:
        mode: a key of `MODES`, or None.
        devices: int, or None; `workers` alike.

    Raises:
        SettingsError: if they leave none.
    """
    if devices and workers:
        raise SettingsError("--devices and --workers: a worker has one device. Give one of them.")
    modes = ("workers",) if workers else tuple(MODES)
    if devices:
        modes = ("one",) if devices == 1 else SEVERAL
    if mode and mode not in modes:
        count = f"--workers={workers}" if workers else f"--devices={devices}"
        raise SettingsError(
            f"--mode={mode} does not go with {count}, which needs {' or '.join(modes)}."
        )
    return (mode,) if mode else modes


def modes_of_machine(modes, gpus):
    """Leaves out the modes that a machine with these GPUs, a list, does not have.

    Raises:
        SettingsError: if none is left.
    """
    if not gpus:
        return modes
    if modes == ("workers",):
        raise SettingsError(
            "workers on one machine would all take the same GPUs. Use --mode=mirrored here; "
            "docs/distributed.md tells how to start a worker on each machine, by hand or with "
            "Slurm. --cpu_replicas=1 rehearses without GPUs."
        )
    if len(gpus) == 1 and "one" not in modes:
        raise SettingsError(
            f"{' and '.join(modes)} need several GPUs, but there is one to use. Choose --mode=one, "
            "or look at gpu_devices and CUDA_VISIBLE_DEVICES."
        )
    return ("one",) if len(gpus) == 1 else tuple(mode for mode in modes if mode != "workers")


def proposed_mode(settings, modes, devices):
    """Returns the mode, out of `modes`, that comes closest to the settings in force.

    Args:
        settings: `settings.loading.Settings`.
        modes: tuple of keys of `MODES`.
        devices: int, how many there are to use; 0 = the CPU.
    """
    reduction = settings.gradient_reduction == "reduction_to_one_device"
    mode = "one_device_reduction" if reduction else "mirrored"
    if devices < 2 or not settings.multi_gpu_enabled:
        mode = "one"
    return mode if mode in modes else modes[0]


def device_settings(settings, choice):
    """Returns the settings, name to value, that a `Choice` needs."""
    several, gpus, count = choice.mode in SEVERAL, choice.gpus, choice.replicas
    reduction = settings.gradient_reduction
    if choice.mode == "one_device_reduction":
        reduction = "reduction_to_one_device"
    elif not gpus or reduction == "reduction_to_one_device":
        reduction = "auto"
    fewer = several and count < len(gpus)
    return {
        "multi_gpu_enabled": choice.mode != "one",
        "gpu_devices": ",".join(map(str, gpus[:count])) if fewer else settings.gpu_devices,
        "cpu_replicas": count if several and not gpus else min(settings.cpu_replicas, 1),
        "gradient_reduction": reduction,
    }


def compose(settings, texts, wanted):
    """Returns the arguments that give the settings as wanted.

    Args:
        settings: `settings.loading.Settings` that `texts` gives.
        texts: dict of name to text, the user's command line.
        wanted: dict of name to value.

    Raises:
        SettingsError: if the user's command line says otherwise.
    """
    changed = {name: value for name, value in wanted.items() if value != settings.values[name]}
    for name in changed:
        if name in texts:
            raise SettingsError(
                f"--{name}={texts[name]} does not go with the mode and devices chosen, which need "
                f"{name}={show(changed[name])}. Leave it out, or choose others."
            )
    return command_line({name: show(value) for name, value in changed.items()} | texts)


def command_line(texts):
    """Returns a dict of settings as the arguments of a script."""
    return [f"--{name}={text}" for name, text in texts.items()]


def global_batch(settings, stage, replicas):
    """Returns (crops per step of a stage, the same as a product)."""
    size = settings.batch_size if stage == "mtl" else settings.dae_batch_size
    parts = settings.gradient_accumulation_steps
    total = size * replicas * parts
    return total, f"{size} x {counted(replicas, 'replica')} x {counted(parts, 'part')} = {total}"


def counted(number, word):
    """Returns "1 part" or "2 parts"."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def rate_product(settings, stage, replicas, scaling):
    """Returns the learning rate of a stage under one of `SCALINGS`, as a product."""
    from training.schedules import scaled_rate

    rate, base = getattr(settings, f"{stage}_learning_rate"), settings.base_batch_size
    total, _ = global_batch(settings, "mtl", replicas)  # the DAE's batch grows as much
    factors = {"none": "", "linear": f"{total} / {base}", "sqrt": f"sqrt({total} / {base})"}
    if not factors[scaling]:
        return show(rate)
    return f"{show(rate)} x {factors[scaling]} = {scaled_rate(rate, scaling, total / base):.3g}"
