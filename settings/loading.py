"""Loads the settings of one run and refuses contradictions.

`load` is the first call of every script. It imports no TensorFlow, so that a wrong setting is
reported at once.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import config
from datasets.records.record import SPLITS, TOML, Record, find_record
from project.errors import UserError
from settings.command_line import Option, read_arguments
from settings.presets import PRESETS
from settings.table import (
    COMMAND_LINE,
    CONFIG,
    DEFAULT,
    KINDS,
    NETWORK,
    RECOMMENDABLE,
    TABLE,
    Kind,
    SettingsError,
    Source,
    check,
    nearest,
    parse,
    show,
)

# A setting, the setting that it needs, and the values of the latter with which it has an effect.
_NEEDS = (
    ("huber_delta", "reg_loss", ("huber",)),
    ("min_learning_rate", "learning_rate_schedule", ("cosine", "step")),
    ("decay_epochs", "learning_rate_schedule", ("step",)),
    ("decay_factor", "learning_rate_schedule", ("step",)),
    ("base_batch_size", "scale_learning_rate", ("linear", "sqrt")),
    ("flips", "augment", (True,)),
    ("turns", "augment", (True,)),
    ("brightness_jitter", "augment", (True,)),
    ("contrast_jitter", "augment", (True,)),
    ("colour_jitter", "augment", (True,)),
    ("scale_jitter", "augment", (True,)),
    ("semantic_loss_weight", "sem_flag", (True,)),
    ("normal_loss_weight", "norm_flag", (True,)),
    ("class_weights", "sem_flag", (True,)),
    ("label_smoothing", "sem_flag", (True,)),
)


@dataclass(frozen=True)
class Settings:
    """The settings of a run, each also an attribute: `settings.crop_size`.

    Attributes:
        values: of all settings, by name.
        sources: of the values, by name of the setting.
        record: of the data set.
        options: the script's own options.
    """

    values: dict[str, Any]
    sources: dict[str, Source]
    record: Record
    options: argparse.Namespace

    def __getattr__(self, name: str) -> Any:
        # Any, because only config.py says which type each setting has.
        values = self.__dict__.get("values", {})
        if name not in values:
            raise AttributeError(f"There is no setting {name!r}.{nearest(name, values)}")
        return values[name]

    def quote(self, name: str) -> str:
        """Returns a setting as messages show it: "crop_size=128 (command line)"."""
        return f"{name}={show(self.values[name])} ({self.sources[name]})"


# Finds a record from the values of config.py and the command line, and the script's own options.
FindRecord = Callable[[dict[str, Any], argparse.Namespace], Record]


def load(
    purpose: str,
    arguments: Sequence[str] | None = None,
    options: Sequence[Option] = (),
    find: FindRecord | None = None,
) -> Settings:
    """Loads the settings of a script, or ends it with an error message if one is wrong.

    Args:
        purpose: what the script does, for --help.
        arguments: None = those of the command line.
        options: the script's own options and positional arguments.
        find: for a script that needs no data set; None = the record of the data set.

    Raises:
        SystemExit: status 2 after an error message, 0 after --help or --version.
    """
    try:
        configured = _config_values()
        arguments = sys.argv[1:] if arguments is None else arguments
        texts, own = read_arguments(purpose, arguments, options)
        given = {name: _parsed(name, text) for name, text in texts.items()}
        settings = _resolve(given, configured, own, find)
        for conflict in conflicts(settings):
            raise SettingsError(conflict)
        return settings
    except UserError as error:
        fail(error)


def load_named(
    purpose: str, arguments: Sequence[str] | None = None, options: Sequence[Option] = ()
) -> Settings:
    """Does the same as `load`, but also accepts the name of the data set as first argument."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and not arguments[0].startswith("-"):
        arguments[0] = f"--dataset_name={arguments[0]}"
    return load(purpose, arguments, options)


def read_splits(text: str) -> list[str]:
    """Returns the splits in the option --splits, or ends the script with status 2."""
    splits = [part.strip() for part in text.split(",")]
    if not set(splits) <= set(SPLITS) or len(set(splits)) < len(splits):
        fail(f"--splits={text}: expected a list of {', '.join(SPLITS)}, each at most once.")
    return splits


def fail(message: object) -> NoReturn:
    """Prints an error message and ends the script with status 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def adopt_network(settings: Settings, stored: dict[str, Any], origin: str) -> Settings:
    """Replaces the settings of the network by those that were stored with its weights.

    Args:
        settings: of the script.
        stored: settings by name, from the settings.json of a checkpoint.
        origin: path of this file, for messages; the source of the values that are replaced.

    Returns:
        Settings with every setting in `NETWORK` as stored, and with the crop size of the training
        unless the command line gives another.

    Raises:
        SettingsError: if a stored value is absent or wrong, or the command line contradicts it.
    """
    values, sources = dict(settings.values), dict(settings.sources)
    for name in (*NETWORK, "crop_size"):
        if name not in stored:
            raise SettingsError(f"{origin} does not give {name}. Train the network again.")
        value = _checked(name, stored[name], origin)
        if sources[name] == COMMAND_LINE and name not in NETWORK:
            continue
        if sources[name] == COMMAND_LINE and values[name] != value:
            raise SettingsError(
                f"{settings.quote(name)}, but the network was trained with "
                f"{name}={show(value)} ({origin}). Omit the option, or train again."
            )
        values[name], sources[name] = value, Source(Kind.STORED, origin)
    if sources["window_size"].kind in (Kind.DEFAULT, Kind.BORROWED):
        values["window_size"] = values["crop_size"]
        sources["window_size"] = Source(Kind.BORROWED, "as crop_size")
    return replace(settings, values=values, sources=sources)


def identity(settings: Settings, stage: str | None = None) -> dict[str, Any]:
    """Returns the settings that must stay the same for a run to be resumed, by name.

    Args:
        settings: of the run.
        stage: "mtl" or "dae" = without settings that only affect the other stage; None = all.
    """
    stages = {None, stage} if stage else {None, "mtl", "dae"}
    return {
        name: value
        for name, value in settings.values.items()
        if TABLE[name].role != "run" and TABLE[name].stage in stages
    }


def describe(settings: Settings) -> list[str]:
    """Returns the lines of the start banner: each value that is not a built-in default."""
    return [settings.quote(n) for n, value in settings.values.items() if value != TABLE[n].default]


def conflicts(settings: Settings) -> Iterator[str]:
    """Yields a message for each pair of settings that contradict each other."""
    quote = settings.quote
    yield from _conflicts_of_devices(settings)
    if settings.sem_flag and not settings.record.classes:
        yield (
            f"{quote('sem_flag')} needs classes, but {settings.dataset_name} has none. Set "
            "sem_flag=false, or list the classes in its dataset.toml."
        )
    if settings.eval_metric == "miou" and not settings.sem_flag:
        yield (
            f"{quote('eval_metric')} needs classes, but {quote('sem_flag')}. Choose rmse, mae or "
            "delta1."
        )
    rate = min(settings.mtl_learning_rate, settings.dae_learning_rate)
    if settings.min_learning_rate > rate and settings.scale_learning_rate == "none":
        yield f"{quote('min_learning_rate')} is above the learning rate, {show(rate)}. Lower it."
    weights = [settings.height_loss_weight]
    weights += [settings.semantic_loss_weight] if settings.sem_flag else []
    weights += [settings.normal_loss_weight] if settings.norm_flag else []
    if not any(weights):
        yield "All loss weights are 0, so there is nothing to learn. Set at least one above 0."
    frozen = settings.freeze_backbone_epochs
    if frozen and settings.mtl_steps is None and frozen >= settings.mtl_epochs:
        yield (
            f"{quote('freeze_backbone_epochs')}, but {quote('mtl_epochs')}: the encoder would "
            "stay frozen for the whole run. Freeze it for fewer epochs."
        )
    if settings.scale_jitter and settings.norm_flag and settings.normal_coding == "published":
        yield (
            f"{quote('scale_jitter')} changes the pixel size, but {quote('normal_coding')} "
            "ignores it. Set normal_coding=unit, norm_flag=false or scale_jitter=0."
        )
    if settings.backbone == "tiny" and settings.backbone_weights not in ("auto", "none"):
        yield (
            f"{quote('backbone_weights')} is not possible: {quote('backbone')} has no pretrained "
            "weights. Omit backbone_weights, or choose another backbone."
        )
    yield from _without_effect(settings)


def _conflicts_of_devices(settings: Settings) -> Iterator[str]:
    quote = settings.quote
    if settings.cpu_replicas > 0 and settings.gpu_devices != "auto":
        yield (
            f"{quote('cpu_replicas')} simulates replicas without GPUs, but {quote('gpu_devices')} "
            "names GPUs. Use only one of the two settings."
        )
    if settings.cpu_replicas > 1 and not settings.multi_gpu_enabled:
        yield (
            f"{quote('cpu_replicas')} needs several devices, but {quote('multi_gpu_enabled')} "
            "allows one. Set multi_gpu_enabled=true or cpu_replicas=1."
        )
    if settings.gradient_pack_bytes and settings.gradient_reduction != "auto":
        yield (
            f"{quote('gradient_pack_bytes')} has no effect with {quote('gradient_reduction')}. "
            "Omit it, or set gradient_reduction=auto."
        )


def _without_effect(settings: Settings) -> Iterator[str]:
    """Yields a message for each setting that the user gave, but that another one switches off.

    A switch on the command line may turn off what config.py sets.
    """
    for name, switch, needed in _NEEDS:
        source, switched_by = settings.sources[name], settings.sources[switch]
        in_config = source == CONFIG and switched_by in (CONFIG, DEFAULT)
        if settings.values[switch] not in needed and (source == COMMAND_LINE or in_config):
            yield (
                f"{settings.quote(name)} has no effect with {settings.quote(switch)}. Omit it, "
                f"or set {switch}={' or '.join(show(value) for value in needed)}."
            )


def _parsed(name: str, text: str) -> Any:
    """Returns the value of a text on the command line."""
    try:
        return check(name, parse(name, text))
    except ValueError as error:
        raise SettingsError(f"--{name}={text}: {error}.") from None


def _checked(name: str, value: object, origin: object) -> Any:
    """Returns the value of a setting in `origin`, a file."""
    try:
        return check(name, value)
    except ValueError as error:
        raise SettingsError(f"{origin}: {name} = {value!r}: {error}.") from None


def _config_values() -> dict[str, Any]:
    """Returns the values of config.py by name, which must be exactly the names of the table."""
    for name, value in vars(config).items():
        if not name.startswith("__") and name not in TABLE:
            raise SettingsError(f"config.py: {name} is not a setting.{nearest(name, TABLE)}")
        if name in TABLE and name not in KINDS:
            raise SettingsError(f"config.py: write {name}: <type> = {value!r}, with its type.")
    missing = [name for name in TABLE if not hasattr(config, name)]
    if missing:
        raise SettingsError(f"config.py lacks {', '.join(missing)}. Restore these lines.")
    return {name: _checked(name, getattr(config, name), "config.py") for name in TABLE}


def _resolve(
    given: dict[str, Any],
    configured: dict[str, Any],
    options: argparse.Namespace,
    find: FindRecord | None,
) -> Settings:
    """Merges the values of all sources.

    Args:
        given: values on the command line; None cancels that of the preset and of config.py.
        configured: values in config.py.
        options: the script's own options.
        find: as in `load`.
    """
    user = configured | given
    data_set = user["dataset_name"]
    record = find(user, options) if find else find_record(data_set, user["shortcut_path"])
    preset = Source(Kind.PRESET, f"preset {user['preset']}")
    # A line of config.py counts unless it is None or, if it cannot be None, the built-in default.
    asked = {
        name: (value, CONFIG)
        for name, value in configured.items()
        if value != (None if KINDS[name][1] else TABLE[name].default)
    }
    asked |= {name: (value, preset) for name, value in PRESETS.get(user["preset"], {}).items()}
    asked |= {name: (value, COMMAND_LINE) for name, value in given.items()}

    merged = {name: (setting.default, DEFAULT) for name, setting in TABLE.items()}
    merged |= _recommended(record, data_set)
    merged |= {name: pair for name, pair in asked.items() if pair[0] is not None}
    if merged["sem_flag"][1] == DEFAULT and not record.classes:
        merged["sem_flag"] = False, Source(Kind.RECORD, f"{data_set} has no classes")
    for name, setting in TABLE.items():
        if setting.like and merged[name][0] is None:
            value, source = merged[setting.like]
            borrowed = Source(Kind.BORROWED, f"as {setting.like}")
            merged[name] = value, source if source == DEFAULT else borrowed
    values = {name: value for name, (value, _) in merged.items()}
    sources = {name: source for name, (_, source) in merged.items()}
    return Settings(values, sources, record, options)


def _recommended(record: Record, dataset_name: str) -> dict[str, tuple[Any, Source]]:
    """Returns the values, with their source, that the record of a data set recommends, by name."""
    path = record.folder / TOML
    in_file = path.is_file()
    source = f"{TOML} of {dataset_name}" if in_file else f"record of {dataset_name}"
    origin = path if in_file else source
    for name in record.recommended:
        if name not in RECOMMENDABLE:
            raise SettingsError(
                f"{origin}: [recommended] {name} is not a setting that a data set can recommend."
                f"{nearest(name, RECOMMENDABLE)}"
            )
    weights = record.recommended.get("backbone_weights", "auto")
    if weights not in ("auto", "imagenet", "none"):  # a data set of a stranger names no files
        raise SettingsError(
            f"{origin}: [recommended] backbone_weights is {weights!r}, expected auto, imagenet or "
            "none. Name a weight file on the command line."
        )
    values: dict[str, Any] = {"crop_size": record.crop_size, "batch_size": record.batch_size}
    values |= {f"{task}_loss_weight": value for task, value in record.loss_weights.items()}
    values |= record.recommended
    return {
        name: (_checked(name, value, origin), Source(Kind.RECORD, source))
        for name, value in values.items()
        if value is not None
    }
