"""What several entries of the catalogue share."""

AUTHORS = "https://github.com/melhousni/DSMNet"  # the published code
FORK = "https://github.com/ahmad-naghavi-ozu/DSMNet"  # its multi-GPU fork
NOT_STATED = "not stated"


def fork_weights(height, semantic, normal, unit=1.0):
    """Turns the fork's loss weights into those of heights in metres and normals in [0, 1].

    The fork takes heights as they are stored and normals times 255; an optimizer that scales
    its steps, as Adam does, only needs the ratios (Kingma & Ba, arXiv:1412.6980, section 2.1).

    Args:
        height, semantic, normal: weights of the fork's losses.
        unit: metres per stored unit of its heights.

    Returns:
        dict for the key loss_weights, scaled so that `height` is 1.
    """
    scale = height / unit**2
    weights = {"height": 1.0, "semantic": semantic / scale, "normal": normal * 255**2 / scale}
    return {name: round(weight, 6) for name, weight in weights.items()}


def building_or_not(entry, name, building_codes, notes):
    """Makes the two-class variant of an entry, from the same label files.

    Args:
        entry: dict with the keys of a dataset.toml.
        name: of the variant.
        building_codes: label codes that mean building; all others mean other.
        notes: list of texts on the variant alone.

    Returns:
        dict with the keys of a dataset.toml.
    """
    codes = [code for label in entry["classes"] for code in label_codes(label)]
    other = [code for code in codes if code not in building_codes]
    classes = [
        {"codes": other, "name": "other"},
        {"codes": building_codes, "name": "building"},
    ]
    changes = {"name": name, "classes": classes, "building_code": building_codes[0]}
    return entry | changes | {"notes": [*notes, *entry["notes"]]}


def label_codes(label):
    """Returns the list of label codes of a class in an entry."""
    return label["codes"] if "codes" in label else [label["code"]]
