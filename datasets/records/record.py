"""What is known of a data set: its record, from the catalogue or from its dataset.toml.

Every script imports this module before TensorFlow, so it needs the standard library only.
"""

import difflib
import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets.catalogue import CATALOGUE
from datasets.records.folder_names import rename_advice
from project.errors import UserError

SPLITS = ("train", "valid", "test")
KINDS = ("rgb", "dsm", "dem", "sem", "sar")  # of a tile's files, and the folders of a split
TOML = "dataset.toml"
MADE_ON_DEMAND = ("Demo",)
HEIGHT_LIMITS = (-100.0, 1000.0)  # metres above ground that buildings, trees and pits have
SURFACE_LIMITS = (-1000.0, 10000.0)  # metres of land and buildings above any sea or ellipsoid
LAYOUT = "{train,valid,test}/{rgb,dsm,dem,sem,sar}/<tile>.<ext>, dem, sem and sar optional"

Code = int | tuple[int, int, int]  # a label code: a whole number, or red, green, blue


class RecordError(UserError):
    """A data set that is not known, or a record with a mistake."""


@dataclass(frozen=True)
class ClassLabel:
    """A semantic class.

    Attributes:
        code: the label code in the files; the first of several.
        name: shown in tables and figures.
        more_codes: further label codes of the same class.
    """

    code: Code
    name: str
    more_codes: tuple[Code, ...] = ()

    @property
    def codes(self) -> tuple[Code, ...]:
        """All label codes of the class."""
        return (self.code, *self.more_codes)


@dataclass(frozen=True)
class Record:
    """What is known of a data set; the order of `classes` gives the class index.

    Attributes:
        name: shown in reports.
        folder: holds the splits.
        source, paper, licence: of the data.
        obtain: how to get the data.
        files: descriptions of the files, by `KINDS`.
        splits: tile names of train, valid and test, or their number; absent = not known.
        notes: known errors of the data, and what is not verified or not supported.
        gsd: metres per pixel; None = as the files say.
        crop_size: pixels; None = no advice.
        centre_crop: rows and columns used in the middle of each tile; None = the whole tile.
        batch_size: crops per replica; None = no advice.
        classes: () = no labels.
        ignore_codes: label codes that every loss and metric ignores.
        building_code: code of the building class, or None.
        loss_weights: of the losses named height, semantic, normal; absent = no advice.
        height_scale: metres = stored height x height_scale, for surface and terrain; None = as
            the files say, which are metres if they say nothing.
        height_limits: lowest and highest in metres above ground; beyond is nodata. None = heights
            beyond HEIGHT_LIMITS are an error.
        rgb_scale: 0-255 = stored image value x rgb_scale.
        sar_scale: 0-255 = stored radar value x sar_scale.
        recommended: settings by name; checked when the settings are read.
    """

    name: str
    folder: Path
    source: str = ""
    paper: str = ""
    licence: str = ""
    obtain: str = ""
    files: dict[str, str] = field(default_factory=dict)
    splits: dict[str, tuple[str, ...] | int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    gsd: float | None = None
    crop_size: int | None = None
    centre_crop: int | None = None
    batch_size: int | None = None
    classes: tuple[ClassLabel, ...] = ()
    ignore_codes: tuple[Code, ...] = ()
    building_code: Code | None = None
    loss_weights: dict[str, float] = field(default_factory=dict)
    height_scale: float | None = None
    height_limits: tuple[float, float] | None = None
    rgb_scale: float = 1.0
    sar_scale: float = 1.0
    recommended: dict[str, Any] = field(default_factory=dict)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of the class index."""
        return tuple(label.name for label in self.classes)

    @property
    def codes(self) -> frozenset[Code]:
        """All label codes of all classes."""
        return frozenset(code for label in self.classes for code in label.codes)

    @property
    def building_index(self) -> int | None:
        """Class index of buildings, or None."""
        indices = (i for i, label in enumerate(self.classes) if self.building_code in label.codes)
        return next(indices, None)


def find_record(dataset_name: str, shortcut_path: str | Path) -> Record:
    """Finds the record of a data set.

    A dataset.toml in the folder <shortcut_path>/<dataset_name> comes first, then the catalogue,
    then a folder in the standard layout, which gets a record of defaults.

    Args:
        dataset_name: name of a folder; it may also be a name in the catalogue.
        shortcut_path: folder that holds the data sets.

    Returns:
        The record. The folder of a data set that is made on demand (Demo) may not exist yet.

    Raises:
        RecordError: if the data set is unknown, its folder is missing, or dataset.toml is wrong.
    """
    if dataset_name in ("", ".", "..") or "/" in dataset_name or "\\" in dataset_name:
        raise RecordError(
            f"dataset_name is {dataset_name!r}, expected the plain name of a folder. "
            "Give the folder that holds it as shortcut_path."
        )
    folder = Path(shortcut_path) / dataset_name
    if not folder.exists() and _is_data_set(folder.parent):
        own = folder.parent.resolve()
        raise RecordError(
            f"shortcut_path is {shortcut_path}, which is a data set itself, and holds no folder "
            f"{dataset_name}. shortcut_path is the folder that holds the data sets: set "
            f"--shortcut_path={own.parent} --dataset_name={own.name}."
        )
    if (folder / TOML).is_file():
        return read_record(folder / TOML)
    if dataset_name in CATALOGUE:
        entry = CATALOGUE[dataset_name]
        if not folder.is_dir() and dataset_name not in MADE_ON_DEMAND:
            obtain = f" How to obtain it: {entry['obtain']}" if "obtain" in entry else ""
            raise RecordError(
                f"The data set {dataset_name} was expected in {folder}, which is not a folder. "
                f"Put it there as {LAYOUT}, or give the folder that holds it as shortcut_path."
                f"{obtain}"
            )
        return parse_record(entry, folder, f"catalogue record of {dataset_name}")
    if _has_layout(folder):
        return Record(name=dataset_name, folder=folder)
    raise RecordError(_unknown_data_set(dataset_name, folder))


def read_record(path: Path) -> Record:
    """Reads a dataset.toml; its folder is the data set.

    Raises:
        RecordError: if the file cannot be read or a key is wrong; names file and key.
    """
    try:
        keys = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        _check_whole_numbers(keys)
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: not a readable TOML file ({error}). Correct it.") from error
    except RecursionError:
        raise RecordError(f"{path}: its brackets are nested too deeply. Correct it.") from None
    return parse_record(keys, path.parent, str(path))


def _check_whole_numbers(value):
    """Raises ValueError for a whole number of more than 64 bits, which TOML does not have."""
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise ValueError("a whole number has more than 64 bits")
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        _check_whole_numbers(item)


def parse_record(keys: dict[str, Any], folder: Path, origin: str) -> Record:
    """Checks the keys of a dataset.toml and makes a record of them.

    Args:
        keys: the keys given; every key is optional. `like` names the catalogue record that
            gives the absent ones.
        folder: of the data set; also gives the default name.
        origin: where the keys come from, for messages.

    Raises:
        RecordError: if a key is unknown, of a wrong type or impossible; names origin and key.
    """
    _check_names(keys, ("like", *PARSERS), origin)
    keys = _with_catalogue(keys, folder, origin) if "like" in keys else keys
    values: dict[str, Any] = {"name": folder.name}
    for key, value in keys.items():
        parse, expected = PARSERS[key]
        try:
            values[key] = parse(value)
        except (ValueError, TypeError, KeyError, OverflowError):
            raise RecordError(f"{origin}: {key} is {value!r}, expected {expected}.") from None
    record = Record(folder=folder, **values)
    _check_codes(record, origin)
    return record


def _with_catalogue(keys, folder, origin):
    """Returns the given keys, and those of the catalogue record `like` where they are absent."""
    keys = dict(keys)
    like = keys.pop("like")
    if not isinstance(like, str) or like not in CATALOGUE:
        raise RecordError(
            f"{origin}: like is {like!r}, expected a data set of the catalogue: "
            f"{', '.join(CATALOGUE)}."
        )
    return CATALOGUE[like] | {"name": folder.name} | keys


def _check_names(keys, known, origin):
    """Raises RecordError for an unknown key, with the nearest known one."""
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(known)}."
            raise RecordError(f"{origin}: unknown key {key}. {hint}")


def _check_codes(record, origin):
    """Raises RecordError if codes or class names contradict each other."""
    codes = [code for label in record.classes for code in label.codes]
    ignored, building = record.ignore_codes, record.building_code
    for key, items in (
        ("classes", codes),
        ("classes", record.class_names),
        ("ignore_codes", ignored),
    ):
        for item in items:
            if items.count(item) > 1:
                raise RecordError(f"{origin}: {key} has {item!r} twice. Give each only once.")
    for code in ignored:
        if code in codes:
            raise RecordError(
                f"{origin}: ignore_codes has {code!r}, which is also in classes. Drop one of them."
            )
    if len({type(code) for code in (*codes, *ignored)}) > 1:
        raise RecordError(
            f"{origin}: classes and ignore_codes mix whole numbers with [red, green, blue]. "
            "Use the one kind that the label files have."
        )
    if building is not None and building not in codes:
        raise RecordError(
            f"{origin}: building_code is {building!r}, which is not in classes, whose codes are "
            f"{codes}. Give one of these or add the class."
        )


def _has_layout(folder):
    """Returns whether a folder looks like a data set in the standard layout."""
    return any((folder / split / "rgb").is_dir() for split in SPLITS)


def _is_data_set(folder):
    """Returns whether a folder looks like a data set, even if its folders are called otherwise."""
    splits = [folder / split for split in SPLITS]
    has_layout = (folder / TOML).is_file() or _has_layout(folder)
    return has_layout or any(rename_advice(split, ("rgb", "dsm")) for split in splits)


def _unknown_data_set(name, folder):
    """Returns the message for a data set that is neither in the catalogue nor a data folder."""
    siblings = list(folder.parent.iterdir()) if folder.parent.is_dir() else []
    own = [path.name for path in siblings if (path / TOML).is_file() or _has_layout(path)]
    known = sorted({*MADE_ON_DEMAND, *own})
    near = difflib.get_close_matches(name, {*known, *CATALOGUE}, 1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    found = f"{folder} is not in the layout {LAYOUT}" if folder.is_dir() else f"no folder {folder}"
    advice = rename_advice(folder, SPLITS)
    advice += "".join(rename_advice(folder / split, KINDS) for split in SPLITS)
    if advice:
        return f"The data set {name!r} cannot be read: {found}.{advice}"
    return (
        f"Unknown data set {name!r}: {found}.{hint} Known here: {', '.join(known)}; "
        "docs/datasets.md lists the published ones."
    )


# Parsers of the values in a dataset.toml. They raise ValueError, TypeError or KeyError if a value
# is wrong; `parse_record` then says what is expected.


def _of_type(kind):
    """Returns a parser of values of exactly this type: True is an int for `isinstance`."""

    def parse(value):
        if type(value) is not kind:
            raise TypeError
        return value

    return parse


def _where(is_right, parse):
    """Returns a parser that does what `parse` does, but only accepts some of its results."""

    def parse_some(value):
        parsed = parse(value)
        if not is_right(parsed):
            raise ValueError
        return parsed

    return parse_some


def _list_of(parse):
    """Returns a parser of lists, whose items `parse` takes; it returns tuples."""
    as_list = _of_type(list)
    return lambda value: tuple(parse(item) for item in as_list(value))


def _table_of(parse, keys):
    """Returns a parser of tables, whose values `parse` takes; each key is one of `keys`."""
    as_table = _where(lambda table: set(table) <= set(keys), _of_type(dict))
    return lambda value: {key: parse(item) for key, item in as_table(value).items()}


_text, _whole = _of_type(str), _of_type(int)
_name = _where(str.strip, _text)
_count = _where(lambda number: number > 0, _whole)
_texts = _list_of(_text)


def _number(value):
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError
    return float(value)


_positive = _where(lambda number: number > 0, _number)
_weight = _where(lambda number: number >= 0, _number)
_limits = _where(lambda pair: len(pair) == 2 and pair[0] < pair[1], _list_of(_number))


def _code(value):
    if not isinstance(value, list):
        return _whole(value)
    if len(value) != 3 or not all(0 <= _whole(part) <= 255 for part in value):
        raise ValueError
    return tuple(value)


_codes = _list_of(_code)


def _class(item):
    if set(item) == {"code", "name"}:
        return ClassLabel(_code(item["code"]), _name(item["name"]))
    if set(item) != {"codes", "name"}:
        raise ValueError
    first, *more = _codes(item["codes"])  # ValueError if there is none
    return ClassLabel(first, _name(item["name"]), tuple(more))


def _tiles(value):
    return _texts(value) if isinstance(value, list) else _count(value)


# key: (parser, what is expected)
PARSERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "name": (_name, 'a text such as "My town"'),
    "source": (_text, "a text"),
    "paper": (_text, "a text"),
    "licence": (_text, 'a text such as "CC BY 4.0"'),
    "obtain": (_text, "a text that says how to get the data"),
    "files": (
        _table_of(_text, KINDS),
        f"a table of {', '.join(KINDS)}, texts that describe the files",
    ),
    "splits": (
        _table_of(_tiles, SPLITS),
        "a table of train, valid and test, lists of tile names or their number",
    ),
    "notes": (_texts, 'a list of texts such as ["heights of trees are too low"]'),
    "gsd": (_positive, "metres per pixel, a number above 0 such as 0.5"),
    "crop_size": (_count, "pixels, a whole number above 0 such as 256"),
    "centre_crop": (_count, "pixels, a whole number above 0 such as 480"),
    "batch_size": (_count, "crops per replica, a whole number above 0 such as 4"),
    "ignore_codes": (_codes, "a list of label codes such as [0, 255] or [[255, 0, 0]]"),
    "building_code": (_code, "a label code such as 6 or [0, 0, 255]"),
    "classes": (
        _list_of(_class),
        "[[classes]] tables with exactly a code (whole number, or [red, green, blue] of 0-255) "
        'and a name, such as code = 6 and name = "building"; codes = [8, 9] if a class has several',
    ),
    "loss_weights": (
        _table_of(_weight, ("height", "semantic", "normal")),
        "a table of height, semantic and normal, numbers of at least 0",
    ),
    "height_scale": (_positive, "metres per stored unit, a number above 0 such as 0.1"),
    "height_limits": (
        _limits,
        "[lowest, highest] in metres such as [-1000, 1000]; heights beyond them are nodata",
    ),
    "rgb_scale": (_positive, "a number above 0 such as 0.00390625; 0-255 = stored x rgb_scale"),
    "sar_scale": (_positive, "a number above 0 such as 0.1; 0-255 = stored x sar_scale"),
    "recommended": (_of_type(dict), "a table of settings such as decoder_width = 0.25"),
}
