"""The settings of one run: command line, preset, config.py, data set record, built-in default.

`load` is the first call of every script. It imports no TensorFlow, so that a wrong setting is
refused at once.
"""

import argparse
import sys
from dataclasses import dataclass, replace

import config
from datasets.records.record import SPLITS, Record, RecordError, find_record
from settings.command_line import nearest, read_arguments
from settings.conflicts import conflicts, told
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
    parse,
    show,
)


@dataclass(frozen=True)
class Settings:
    """The settings in force, each also an attribute: `settings.crop_size`.

    Attributes:
        values: dict of every setting's name to its value.
        sources: dict of every setting's name to the `Source` of its value.
        record: `datasets.records.record.Record` of the data set.
        options: namespace of the script's own options.
    """

    values: dict
    sources: dict
    record: Record
    options: argparse.Namespace

    def __getattr__(self, name):
        values = self.__dict__.get("values", {})
        if name not in values:
            raise AttributeError(f"There is no setting {name!r}.{nearest(name, values)}")
        return values[name]


def load(description, arguments=None, options=(), find=None):
    """Reads the settings of a script; on a wrong one it says so and ends with status 2.

    Args:
        description: str, what the script does, for --help.
        arguments: list of str; None = those of the command line.
        options: the script's own options, pairs (name, keyword arguments of
            `argparse.ArgumentParser.add_argument`).
        find: function (dict of values in config.py and on the command line, namespace of the own
            options) -> `datasets.records.record.Record`, for a script that needs no data set;
            None = the record of the data set.

    Returns:
        `Settings`.

    Raises:
        SystemExit: status 2 after an error message, 0 after --help.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        configured = _config_values()
        texts, own = read_arguments(description, arguments, options)
        given = {name: _parsed(name, text) for name, text in texts.items()}
        settings = _resolve(given, configured, own, find)
        for conflict in conflicts(settings):
            raise SettingsError(conflict)
        return settings
    except (SettingsError, RecordError) as error:
        fail(error)


def load_named(description, arguments=None, options=()):
    """Does what `load` does, for a script whose first argument may be the data set's name."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and not arguments[0].startswith("-"):
        arguments[0] = f"--dataset_name={arguments[0]}"
    return load(description, arguments, options)


def read_splits(text):
    """Returns the splits named in the option --splits, or ends the script with status 2."""
    splits = [part.strip() for part in text.split(",")]
    if not set(splits) <= set(SPLITS) or len(set(splits)) < len(splits):
        fail(f"--splits={text}: expected a list of {', '.join(SPLITS)}, each once.")
    return splits


def fail(message):
    """Prints `message` as an error and ends the script with status 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def adopt_network(settings, stored, origin):
    """Takes over the settings of a network that were stored with its weights.

    Args:
        settings: `Settings`.
        stored: dict of setting names to values, from a checkpoint's `settings.json`.
        origin: str, where `stored` was read; the source of the values taken from it.

    Returns:
        `Settings` with every setting in `NETWORK` as stored, and the crop size of the training
        unless the command line gives another.

    Raises:
        SettingsError: if one is missing or impossible, or was given otherwise on the command line.
    """
    values, sources = dict(settings.values), dict(settings.sources)
    for name in (*NETWORK, "crop_size"):
        if name not in stored:
            raise SettingsError(f"{origin} does not give {name}. Train the network anew.")
        value = _checked(name, stored[name], origin)
        if sources[name] == COMMAND_LINE and name not in NETWORK:
            continue
        if sources[name] == COMMAND_LINE and values[name] != value:
            raise SettingsError(
                f"{told(settings, name)}, but the network was trained with "
                f"{name}={show(value)} ({origin}). Leave the option out, or train anew."
            )
        values[name], sources[name] = value, Source(Kind.STORED, origin)
    if sources["window_size"].kind in (Kind.DEFAULT, Kind.BORROWED):
        values["window_size"] = values["crop_size"]
        sources["window_size"] = Source(Kind.BORROWED, "as crop_size")
    return replace(settings, values=values, sources=sources)


def identity(settings, stage=None):
    """Returns the settings that must be equal for a run to be resumed, as a dict.

    Args:
        settings: `Settings`.
        stage: "mtl" or "dae" leaves out what only the other stage uses; None keeps both.
    """
    names = [name for name in settings.values if TABLE[name].role != "run"]
    if stage:
        names = [name for name in names if TABLE[name].stage in (None, stage)]
    return {name: settings.values[name] for name in names}


def describe(settings):
    """Returns the lines of the start banner: each value that is not a built-in default."""
    changed = [name for name, value in settings.values.items() if value != TABLE[name].default]
    return [told(settings, name) for name in changed]


def _parsed(name, text):
    """Returns the value of a text from the command line."""
    try:
        return check(name, parse(name, text))
    except ValueError as error:
        raise SettingsError(f"--{name}={text}: {error}.") from None


def _checked(name, value, origin):
    """Returns the value of a setting that `origin` (a file) gives."""
    try:
        return check(name, value)
    except ValueError as error:
        raise SettingsError(f"{origin}: {name} = {value!r}: {error}.") from None


def _config_values():
    """Returns the checked values of config.py; its names must be exactly those of the table."""
    for name, value in vars(config).items():
        if not name.startswith("__") and name not in TABLE:
            raise SettingsError(f"config.py: {name} is not a setting.{nearest(name, TABLE)}")
        if name in TABLE and name not in KINDS:
            raise SettingsError(f"config.py: write {name}: <type> = {value!r}, with its type.")
    missing = [name for name in TABLE if not hasattr(config, name)]
    if missing:
        raise SettingsError(f"config.py lacks {', '.join(missing)}. Put the lines back.")
    return {name: _checked(name, getattr(config, name), "config.py") for name in TABLE}


def _resolve(given, configured, options, find=None):
    """Merges the sources from the lowest to the highest.

    Args:
        given: dict of the command line's values; None also silences preset and config.py.
        configured: dict of the values in config.py.
        options: namespace of the script's own options.
        find: as of `load`.

    Returns:
        `Settings`.
    """
    user = configured | given
    find = find or (lambda user, _: find_record(user["dataset_name"], user["shortcut_path"]))
    record = find(user, options)
    asked = {name: (value, CONFIG) for name, value in configured.items() if _is_asked(name, value)}
    preset = PRESETS.get(user["preset"], {})
    source = Source(Kind.PRESET, f"preset {user['preset']}")
    asked |= {name: (value, source) for name, value in preset.items()}
    asked |= {name: (value, COMMAND_LINE) for name, value in given.items()}

    merged = {name: (setting.default, DEFAULT) for name, setting in TABLE.items()}
    merged |= _recommended(record, user["dataset_name"])
    merged |= {name: pair for name, pair in asked.items() if pair[0] is not None}
    if merged["sem_flag"][1] == DEFAULT and not record.classes:
        source = Source(Kind.RECORD, f"{user['dataset_name']} has no classes")
        merged["sem_flag"] = False, source
    merged |= {name: _borrowed(merged, name) for name in TABLE if merged[name][0] is None}
    values = {name: value for name, (value, _) in merged.items()}
    sources = {name: source for name, (_, source) in merged.items()}
    return Settings(values, sources, record, options)


def _is_asked(name, value):
    """Whether config.py asks for a value, rather than repeating the built-in default."""
    optional = KINDS[name][1]
    return value is not None and (optional or value != TABLE[name].default)


def _borrowed(merged, name):
    """Returns (value, source) of a setting that may take the value of another."""
    other = TABLE[name].like
    if other is None:
        return merged[name]
    value, source = merged[other]
    return value, source if source == DEFAULT else Source(Kind.BORROWED, f"as {other}")


def _recommended(record, dataset_name):
    """Returns dict of setting name to (value, source) that a data set's record gives."""
    path = record.folder / "dataset.toml"
    in_file = path.is_file()
    source = f"dataset.toml of {dataset_name}" if in_file else f"record of {dataset_name}"
    origin = path if in_file else source
    for name in record.recommended:
        if name not in RECOMMENDABLE:
            raise SettingsError(
                f"{origin}: [recommended] {name} is not a setting that a data set can decide."
                f"{nearest(name, RECOMMENDABLE)}"
            )
    weights = {f"{task}_loss_weight": value for task, value in record.loss_weights.items()}
    values = {"crop_size": record.crop_size, "batch_size": record.batch_size} | weights
    values |= record.recommended
    return {
        name: (_checked(name, value, origin), Source(Kind.RECORD, source))
        for name, value in values.items()
        if value is not None
    }
