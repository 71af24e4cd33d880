"""The keys of a dataset.toml: for each the parser of its value and what is expected."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ClassLabel:
    """A semantic class: its label code in the files (int, or red, green, blue) and its name."""

    code: int | tuple[int, int, int]
    name: str


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


def _classes(value):
    if not isinstance(value, list) or any(set(item) != {"code", "name"} for item in value):
        raise ValueError
    return tuple(ClassLabel(_code(item["code"]), _name(item["name"])) for item in value)


def _weights(value):
    if not set(_table(value)) <= {"height", "semantic", "normal"}:
        raise ValueError
    return {name: _weight(weight) for name, weight in value.items()}


def _table(value):
    if not isinstance(value, dict):
        raise TypeError
    return dict(value)


# key: (parser that raises if the value is wrong, what is expected)
PARSERS = {
    "name": (_name, 'a text such as "My town"'),
    "source": (_text, "a text"),
    "licence": (_text, 'a text such as "CC BY 4.0"'),
    "gsd": (_positive, "metres per pixel, a number above 0 such as 0.5"),
    "crop_size": (_count, "pixels, a whole number above 0 such as 256"),
    "batch_size": (_count, "crops per replica, a whole number above 0 such as 4"),
    "ignore_codes": (_codes, "a list of label codes such as [0, 255] or [[255, 0, 0]]"),
    "building_code": (_code, "a label code such as 6 or [0, 0, 255]"),
    "classes": (
        _classes,
        "[[classes]] tables of just a code (whole number, or [red, green, blue] of 0-255) and "
        'a name, such as code = 6 and name = "building"',
    ),
    "loss_weights": (_weights, "a table of height, semantic and normal, numbers from 0 up"),
    "height_scale": (_positive, "metres per stored unit, a number above 0 such as 0.1"),
    "rgb_scale": (_positive, "a number above 0 such as 0.00390625; 0-255 = stored x rgb_scale"),
    "recommended": (_table, "a table of settings such as decoder_width = 0.25"),
}
