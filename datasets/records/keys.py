"""The keys of a dataset.toml: for each the parser of its value and what is expected."""

import math
from dataclasses import dataclass

KINDS = ("rgb", "dsm", "dem", "sem", "sar")  # of a tile's files, and the folders of a split


@dataclass(frozen=True)
class ClassLabel:
    """A semantic class.

    Attributes:
        code: its label code in the files (int, or red, green, blue); the first of several.
        name: for people.
        more_codes: further label codes of the same class.
    """

    code: int | tuple[int, int, int]
    name: str
    more_codes: tuple = ()

    @property
    def codes(self):
        """All label codes of the class."""
        return (self.code, *self.more_codes)


def _text(value):
    if not isinstance(value, str):
        raise TypeError
    return value


def _name(value):
    if not _text(value).strip():
        raise ValueError
    return value


def _whole(value):
    if type(value) is not int:  # True is an int, too
        raise TypeError
    return value


def _count(value):
    if _whole(value) < 1:
        raise ValueError
    return value


def _weight(value):
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise ValueError
    return float(value)


def _positive(value):
    if _weight(value) == 0:
        raise ValueError
    return float(value)


def _code(value):
    if not isinstance(value, list):
        return _whole(value)
    if len(value) != 3 or not all(0 <= _whole(part) <= 255 for part in value):
        raise ValueError
    return tuple(value)


def _codes(value):
    if not isinstance(value, list):
        raise TypeError
    return tuple(_code(item) for item in value)


def _class(item):
    if set(item) == {"code", "name"}:
        return ClassLabel(_code(item["code"]), _name(item["name"]))
    if set(item) != {"codes", "name"}:
        raise ValueError
    first, *more = _codes(item["codes"])  # none at all: ValueError
    return ClassLabel(first, _name(item["name"]), tuple(more))


def _classes(value):
    if not isinstance(value, list):
        raise TypeError
    return tuple(_class(item) for item in value)


def _weights(value):
    if not set(_table(value)) <= {"height", "semantic", "normal"}:
        raise ValueError
    return {name: _weight(weight) for name, weight in value.items()}


def _limits(value):
    if not isinstance(value, list) or any(type(limit) not in (int, float) for limit in value):
        raise TypeError
    low, high = map(float, value)
    if not -math.inf < low < high < math.inf:
        raise ValueError
    return low, high


def _texts(value):
    if not isinstance(value, list):
        raise TypeError
    return tuple(_text(item) for item in value)


def _files(value):
    if not set(_table(value)) <= set(KINDS):
        raise ValueError
    return {kind: _text(text) for kind, text in value.items()}


def _splits(value):
    if not set(_table(value)) <= {"train", "valid", "test"}:
        raise ValueError
    return {
        split: _texts(tiles) if isinstance(tiles, list) else _count(tiles)
        for split, tiles in value.items()
    }


def _table(value):
    if not isinstance(value, dict):
        raise TypeError
    return dict(value)


# key: (parser that raises if the value is wrong, what is expected)
PARSERS = {
    "name": (_name, 'a text such as "My town"'),
    "source": (_text, "a text"),
    "paper": (_text, "a text"),
    "licence": (_text, 'a text such as "CC BY 4.0"'),
    "obtain": (_text, "a text that says how to get the data"),
    "files": (_files, f"a table of {', '.join(KINDS)}, texts on what the files hold"),
    "splits": (_splits, "a table of train, valid and test, lists of tile names or their number"),
    "notes": (_texts, 'a list of texts such as ["heights of trees are too low"]'),
    "gsd": (_positive, "metres per pixel, a number above 0 such as 0.5"),
    "crop_size": (_count, "pixels, a whole number above 0 such as 256"),
    "centre_crop": (_count, "pixels, a whole number above 0 such as 480"),
    "batch_size": (_count, "crops per replica, a whole number above 0 such as 4"),
    "ignore_codes": (_codes, "a list of label codes such as [0, 255] or [[255, 0, 0]]"),
    "building_code": (_code, "a label code such as 6 or [0, 0, 255]"),
    "classes": (
        _classes,
        "[[classes]] tables of just a code (whole number, or [red, green, blue] of 0-255) and "
        'a name, such as code = 6 and name = "building"; codes = [8, 9] where a class has several',
    ),
    "loss_weights": (_weights, "a table of height, semantic and normal, numbers from 0 up"),
    "height_scale": (_positive, "metres per stored unit, a number above 0 such as 0.1"),
    "height_limits": (
        _limits,
        "[lowest, highest] in metres such as [-1000, 1000]; what lies beyond has no data",
    ),
    "rgb_scale": (_positive, "a number above 0 such as 0.00390625; 0-255 = stored x rgb_scale"),
    "sar_scale": (_positive, "a number above 0 such as 0.1; 0-255 = stored x sar_scale"),
    "recommended": (_table, "a table of settings such as decoder_width = 0.25"),
}
