"""What several entries of the catalogue share."""

from collections.abc import Sequence
from typing import Any

Entry = dict[str, Any]  # the keys of a dataset.toml

AUTHORS = "https://github.com/melhousni/DSMNet"  # the published code
FORK = "https://github.com/ahmad-naghavi-ozu/DSMNet"  # its multi-GPU fork
NOT_STATED = "not stated"


def fork_weights(
    height: float, semantic: float, normal: float, unit: float = 1.0
) -> dict[str, float]:
    """Converts the fork's loss weights to those for heights in metres and normals in [0, 1].

    The fork uses heights as they are stored and normals times 255. Only the ratios matter to an
    optimizer that scales its steps, as Adam does (Kingma & Ba, arXiv:1412.6980, section 2.1).

    Args:
        height, semantic, normal: weights of the fork's losses.
        unit: metres per stored unit of its heights.

    Returns:
        Value of the key loss_weights, scaled so that `height` is 1.
    """
    scale = height / unit**2
    weights = {"height": 1.0, "semantic": semantic / scale, "normal": normal * 255**2 / scale}
    return {name: round(weight, 6) for name, weight in weights.items()}


def building_or_not(entry: Entry, building_codes: Sequence, notes: Sequence[str]) -> Entry:
    """Returns the two-class variant of an entry, for the same label files.

    Args:
        entry: of the data set with all its classes.
        building_codes: label codes that mean building; all others mean other.
        notes: that apply to the variant only.
    """
    codes = [code for label in entry["classes"] for code in label_codes(label)]
    other = [code for code in codes if code not in building_codes]
    return entry | {
        "name": f"{entry['name']}, building or not",
        "classes": [
            {"codes": other, "name": "other"},
            {"codes": building_codes, "name": "building"},
        ],
        "building_code": building_codes[0],
        "notes": [*notes, *entry["notes"]],
    }


def label_codes(label: Entry) -> list:
    """Returns the label codes of a class in an entry."""
    return label["codes"] if "codes" in label else [label["code"]]
