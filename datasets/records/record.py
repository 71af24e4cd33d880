"""What is known of a data set: its record, from the catalogue or from its dataset.toml.

Imported before TensorFlow by every script, so it needs the standard library only.
"""

import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from datasets.catalogue import CATALOGUE
from datasets.records.keys import PARSERS, ClassLabel
from project.errors import UserError

SPLITS = ("train", "valid", "test")
TOML = "dataset.toml"
MADE_ON_DEMAND = ("Demo",)
LAYOUT = "{train,valid,test}/{rgb,dsm,dem,sem,sar}/<tile>.<ext>, dem, sem and sar optional"


class RecordError(UserError):
    """A data set that is not known, or a record that is not right."""


@dataclass(frozen=True)
class Record:
    """What is known of a data set; the order of `classes` gives the class index.

    Attributes:
        name: for people.
        folder: holds the splits.
        source, paper, licence: of the data.
        obtain: how to get it.
        files: texts on what the files hold, by `datasets.records.keys.KINDS`.
        splits: names of the tiles of train, valid and test, or their number; absent = not known.
        notes: known errors of the data, and what is not verified or not supported.
        gsd: metres per pixel; None = as the files say.
        crop_size: pixels; None = no advice.
        centre_crop: rows and columns in the middle of each tile that are used; None = all.
        batch_size: crops per replica; None = no advice.
        classes: `ClassLabel`s; () = no labels.
        ignore_codes: label codes that count in no loss and no metric.
        building_code: code of the class of buildings, or None.
        loss_weights: of the losses named height, semantic, normal; absent = no advice.
        height_scale: metres = stored height x height_scale, of surface and terrain.
        height_limits: lowest and highest in metres; beyond is nodata. None = any.
        rgb_scale: 0-255 = stored image value x rgb_scale.
        sar_scale: 0-255 = stored radar value x sar_scale.
        recommended: settings by name, checked where settings are read.
    """

    name: str
    folder: Path
    source: str = ""
    paper: str = ""
    licence: str = ""
    obtain: str = ""
    files: dict = field(default_factory=dict)
    splits: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    gsd: float | None = None
    crop_size: int | None = None
    centre_crop: int | None = None
    batch_size: int | None = None
    classes: tuple[ClassLabel, ...] = ()
    ignore_codes: tuple = ()
    building_code: int | tuple[int, int, int] | None = None
    loss_weights: dict = field(default_factory=dict)
    height_scale: float = 1.0
    height_limits: tuple[float, float] | None = None
    rgb_scale: float = 1.0
    sar_scale: float = 1.0
    recommended: dict = field(default_factory=dict)

    @property
    def class_names(self):
        """Names in the order of the class index."""
        return tuple(label.name for label in self.classes)

    @property
    def building_index(self):
        """Class index of buildings, or None."""
        indices = (i for i, label in enumerate(self.classes) if self.building_code in label.codes)
        return next(indices, None)


def find_record(dataset_name, shortcut_path):
    """Finds the record of a data set.

    A dataset.toml in the folder <shortcut_path>/<dataset_name> wins, then the catalogue, then
    a folder in the standard layout, which gets a record of defaults.

    Args:
        dataset_name: name of a folder, of the catalogue or of the user's own.
        shortcut_path: folder that holds the data sets.

    Returns:
        `Record`. The folder of a data set that is made on demand (Demo) may not exist yet.

    Raises:
        RecordError: if the data set is unknown, its folder is missing, or dataset.toml is wrong.
    """
    if dataset_name in ("", ".", "..") or "/" in dataset_name or "\\" in dataset_name:
        raise RecordError(
            f"dataset_name is {dataset_name!r}, expected the plain name of a folder. "
            "Give the folder that holds it as shortcut_path."
        )
    folder = Path(shortcut_path) / dataset_name
    if (folder / TOML).is_file():
        return read_record(folder / TOML)
    if dataset_name in CATALOGUE:
        if not folder.is_dir() and dataset_name not in MADE_ON_DEMAND:
            raise RecordError(
                f"The data set {dataset_name} was expected in {folder}, which is not a folder. "
                f"Put it there as {LAYOUT}, or give the folder that holds it as shortcut_path."
                f"{_how_to_obtain(dataset_name)}"
            )
        origin = f"catalogue record of {dataset_name}"
        return parse_record(CATALOGUE[dataset_name], folder, origin)
    if _has_layout(folder):
        return Record(name=dataset_name, folder=folder)
    raise RecordError(_unknown_data_set(dataset_name, folder))


def read_record(path):
    """Reads a dataset.toml.

    Args:
        path: `Path` of the file; its folder is the data set.

    Returns:
        `Record`.

    Raises:
        RecordError: if the file cannot be read or a key is wrong; names file and key.
    """
    try:
        keys = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: not a readable TOML file ({error}). Correct it.") from error
    return parse_record(keys, path.parent, str(path))


def parse_record(keys, folder, origin):
    """Checks the keys of a dataset.toml and makes the record of them.

    Args:
        keys: dict of the keys given; every key is optional. `like` names the record of the
            catalogue that gives the absent ones.
        folder: `Path` of the data set, which also gives the default name.
        origin: where the keys come from, for messages.

    Returns:
        `Record`.

    Raises:
        RecordError: if a key is unknown, of a wrong type or impossible; names origin and key.
    """
    _check_names(keys, ("like", *PARSERS), origin)
    keys = _with_catalogue(keys, folder, origin) if "like" in keys else keys
    values = {"name": folder.name}
    for key, value in keys.items():
        parse, expected = PARSERS[key]
        try:
            values[key] = parse(value)
        except (ValueError, TypeError, KeyError):
            raise RecordError(f"{origin}: {key} is {value!r}, expected {expected}.") from None
    _check_codes(values, origin)
    return Record(folder=folder, **values)


def _with_catalogue(keys, folder, origin):
    """Returns the keys given, and those of the catalogue's record `like` where there are none."""
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


def _check_codes(values, origin):
    """Raises RecordError if codes or class names contradict each other."""
    classes = values.get("classes", ())
    codes = [code for label in classes for code in label.codes]
    ignored = list(values.get("ignore_codes", ()))
    building = values.get("building_code")
    for key, items in [
        ("classes", codes),
        ("classes", [label.name for label in classes]),
        ("ignore_codes", ignored),
    ]:
        for item in items:
            if items.count(item) > 1:
                raise RecordError(f"{origin}: {key} has {item!r} twice. Give each only once.")
    for code in ignored:
        if code in codes:
            raise RecordError(
                f"{origin}: ignore_codes has {code!r}, which is also in classes. Drop one of them."
            )
    if len({type(code) for code in codes + ignored}) > 1:
        raise RecordError(
            f"{origin}: classes and ignore_codes mix whole numbers with [red, green, blue]. "
            "Use the one kind that the label files have."
        )
    if building is not None and building not in codes:
        raise RecordError(
            f"{origin}: building_code is {building!r}, which is not in classes, whose codes are "
            f"{codes}. Give one of these or add the class."
        )


def _how_to_obtain(name):
    """Returns a sentence on how to get a data set of the catalogue; "" if that is not known."""
    obtain = CATALOGUE[name].get("obtain")
    return f" How to obtain it: {obtain}" if obtain else ""


def _has_layout(folder):
    """Tells whether a folder looks like a data set in the standard layout."""
    return any((folder / split / "rgb").is_dir() for split in SPLITS)


def _unknown_data_set(name, folder):
    """Returns the message for a data set that is neither in the catalogue nor a data folder."""
    parent = folder.parent
    own = []
    if parent.is_dir():
        own = [p.name for p in parent.iterdir() if (p / TOML).is_file() or _has_layout(p)]
    known = sorted({*MADE_ON_DEMAND, *own})
    near = difflib.get_close_matches(name, {*known, *CATALOGUE}, 1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    found = f"{folder} is not in the layout {LAYOUT}" if folder.is_dir() else f"no folder {folder}"
    return (
        f"Unknown data set {name!r}: {found}.{hint} Known here: {', '.join(known)}; "
        "docs/datasets.md has the published ones."
    )
