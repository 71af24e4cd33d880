"""Asks how to train, shows the arithmetic of batch and learning rate, and runs the whole job.

It composes a command of ./run_train_test.sh, prints it and runs it. Each answer is also an option;
without a terminal, and with --yes=true, what is proposed is taken. Settings are passed on. Example:
./launch.sh --mode=mirrored --devices=2 --scaling=sqrt --dry-run
"""

import os
import shlex
import sys
from pathlib import Path

from commands.launch_plan import (
    MODES,
    SCALINGS,
    Choice,
    command_line,
    compose,
    device_settings,
    fitting_modes,
    global_batch,
    modes_of_machine,
    proposed_mode,
    rate_product,
)
from settings.command_line import read_arguments
from settings.loading import DEFAULT, fail, load
from settings.table import SettingsError

TRUE_FALSE = {"type": str.lower, "choices": ("true", "false"), "default": "false"}
OPTIONS = (
    ("--mode", {"type": str.lower, "choices": tuple(MODES), "help": "how the devices train"}),
    ("--devices", {"type": int, "metavar": "INT", "help": "GPUs; without GPU, CPU replicas"}),
    ("--workers", {"type": int, "metavar": "INT", "help": "processes of --mode=workers"}),
    ("--scaling", {"type": str.lower, "choices": SCALINGS, "help": "as --scale_learning_rate"}),
    ("--yes", TRUE_FALSE | {"help": "ask nothing, take what is proposed [false]"}),
    ("--dry-run", {"action": "store_true", "help": "print the command and run nothing"}),
)
ROOT = Path(__file__).parents[1]
STAGES = ("mtl", "dae")


def whole(low, high=None):
    """Returns a function (text) -> int that raises ValueError outside the limits."""
    words = f"a whole number, at least {low}" + (f", at most {high}" if high else "")

    def read(text):
        if not text.isdecimal() or not low <= int(text) <= (high or int(text)):
            raise ValueError(f"expected {words}")
        return int(text)

    return read


def one_of(names):
    """Returns a function (text) -> one of the names; it raises ValueError for another."""

    def read(text):
        if text.lower() not in names:
            raise ValueError(f"expected {', '.join(names)}")
        return text.lower()

    return read


def ask(title, proposal, read, interactive):
    """Asks until the answer can be read; an empty one, or no terminal, takes the proposal.

    Args:
        title: str, what is asked for.
        proposal: what `read` could have returned.
        read: function (text) -> answer that raises ValueError, saying what was expected.
        interactive: bool, False = nobody is asked.

    Raises:
        EOFError: at the end of the input.
    """
    while interactive:
        text = input(f"{title} [{proposal}]: ").strip()
        try:
            return read(text) if text else proposal
        except ValueError as error:
            print(f"{text!r}: {error}.")
    print(f"{title}: {proposal} (proposed)")
    return proposal


def check_count(options, name, read):
    """Raises SettingsError if the option `name` is given and `read` refuses it."""
    count = getattr(options, name)
    try:
        if count is not None:
            read(str(count))
    except ValueError as error:
        raise SettingsError(f"--{name}={count}: {error}.") from None


def read_command_line(arguments):
    """Returns (settings, dict of their texts on the command line, options of the launcher).

    Raises:
        SettingsError: if something is wrong that can be told without looking at the machine.
    """
    texts, options = read_arguments(__doc__, arguments, OPTIONS)
    if "correction" in texts:
        raise SettingsError("The whole job tests without and with the correction. Leave it out.")
    if options.scaling and "scale_learning_rate" in texts:
        raise SettingsError("--scaling and --scale_learning_rate are the same. Give one of them.")
    texts |= {"scale_learning_rate": options.scaling} if options.scaling else {}
    check_count(options, "devices", whole(1))
    check_count(options, "workers", whole(1))
    fitting_modes(options.mode, options.devices, options.workers)
    return load(__doc__, command_line(texts)), texts, options


def find_gpus(settings):
    """Shows the GPUs; returns the indices of those that the settings allow."""
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows

    # isort: split
    import tensorflow as tf

    from devices.strategy import DeviceError, list_gpus, select_gpus
    from devices.table import device_table

    print(f"GPUs that TensorFlow sees: {', '.join(list_gpus()) or 'none'}")
    print("\n".join(device_table()))
    found = tf.config.list_physical_devices("GPU")
    try:
        allowed = [] if settings.cpu_replicas else select_gpus(settings.gpu_devices, found)
    except DeviceError as error:
        raise SettingsError(error) from None
    return [found.index(gpu) for gpu in allowed]


def choose_devices(settings, options, gpus, interactive):
    """Asks for the mode and for how many devices or workers; returns the `Choice`."""
    open_modes = fitting_modes(options.mode, options.devices, options.workers)
    modes = modes_of_machine(open_modes, gpus)
    mode = modes[0]
    if len(modes) > 1:
        devices = options.devices or len(gpus) or settings.cpu_replicas
        if interactive:
            print("\n".join(f"  {name:<22}{MODES[name]}" for name in modes))
        mode = ask("Mode", proposed_mode(settings, modes, devices), one_of(modes), interactive)
    if mode == "one":
        return Choice(mode, 1, gpus)
    if mode == "workers":
        count = options.workers or ask("Workers", 2, whole(1), interactive)
        return Choice(mode, count, gpus)
    read = whole(2, len(gpus))  # 0 = any number
    check_count(options, "devices", read)
    title, proposal = ("GPUs" if gpus else "CPU replicas"), len(gpus) or settings.cpu_replicas
    count = options.devices or ask(title, max(2, proposal), read, interactive)
    return Choice(mode, count, gpus)


def choose_scaling(settings, replicas, interactive):
    """Asks for the scaling of the learning rates; proposes what config.py or the data set says.

    Where they say nothing and the global batch is not the base: the square root, since the
    optimizer is Adam (Malladi et al., arXiv:2205.10287).
    """
    base = settings.base_batch_size
    proposal = "none" if global_batch(settings, "mtl", replicas)[0] == base else "sqrt"
    if settings.sources["scale_learning_rate"] != DEFAULT:
        proposal = settings.scale_learning_rate
    if interactive:
        print(f"The learning rates belong to a global batch of {base}. That of the MTL, scaled:")
        for name in SCALINGS:
            print(f"  {name:<8}{rate_product(settings, 'mtl', replicas, name)}")
    return ask("Scaling", proposal, one_of(SCALINGS), interactive)


def plan_job(settings, texts, options):
    """Asks what is open and shows the arithmetic; returns the arguments of run_train_test.sh."""
    # TensorFlow comes in only now, so that a wrong option is refused at once.
    gpus = find_gpus(settings)
    interactive = options.yes == "false" and sys.stdin.isatty()
    choice = choose_devices(settings, options, gpus, interactive)
    wanted = device_settings(settings, choice)
    if "batch_size" not in texts:
        title = "Crops per replica (batch_size)"
        wanted["batch_size"] = ask(title, settings.batch_size, whole(1), interactive)
    fed = load(__doc__, compose(settings, texts, wanted))
    for stage in STAGES:
        product = global_batch(fed, stage, choice.replicas)[1]
        print(f"{stage.upper()}: global batch = {product}")
    if "scale_learning_rate" not in texts:
        wanted["scale_learning_rate"] = choose_scaling(fed, choice.replicas, interactive)
    composed = compose(settings, texts, wanted)
    scaling = load(__doc__, composed).scale_learning_rate
    for stage in STAGES:
        product = rate_product(fed, stage, choice.replicas, scaling)
        print(f"{stage.upper()}: learning rate = {product}")
    return [f"--workers={choice.replicas}", *composed] if choice.mode == "workers" else composed


def main(arguments=None):
    try:
        command = read_command_line(sys.argv[1:] if arguments is None else arguments)
        composed = plan_job(*command)
    except SettingsError as error:
        fail(error)
    except (KeyboardInterrupt, EOFError):
        print("\nNothing was run.")
        raise SystemExit(130) from None
    script = "./run_train_test.sh" if Path.cwd() == ROOT else str(ROOT / "run_train_test.sh")
    print(f"\n{shlex.join([script, *composed])}", flush=True)
    if not command[-1].dry_run:
        # Takes this process's place, so that signals reach the job and the status is the job's.
        os.execv(script, [script, *composed])


if __name__ == "__main__":
    main()
