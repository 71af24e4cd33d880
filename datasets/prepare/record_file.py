"""The dataset.toml of a prepared data set."""

import json

from datasets.records.record import TOML
from project.files import write_bytes

STRIDE = 32  # pixels, of the encoder: crops are multiples of it
USUAL_CROP = 256  # pixels, where a record says nothing

HEAD = """\
# Record of a prepared data set; docs/data.md explains the keys. Classes named class_<code> wait for
# their names; ignore_codes takes codes that are neither learned nor scored, building_code the code
# of buildings for the building metrics.
"""


def write_record(folder, keys, codes):
    """Writes the dataset.toml, unless there is one: the user may have changed it.

    Args:
        folder: `Path` of the data set.
        keys: dict of keys with texts, numbers or lists as values, "classes" or "like" among them
            if the classes are known.
        codes: label codes found; they become classes named class_<code> if none are known.

    Returns:
        True if it was written.
    """
    path = folder / TOML
    if path.exists():
        return False
    if codes and not {"classes", "like"} & set(keys):
        keys = {**keys, "classes": [_class(code) for code in sorted(codes)]}
    write_bytes(path, (HEAD + record_text(keys)).encode())
    return True


def fitting_crop(tile, usual):
    """Returns the key crop_size for tiles that are smaller than the usual crop, else no key.

    Args:
        tile: rows and columns of the tiles, pixels, or None.
        usual: crop size without that key, pixels.

    Returns:
        dict.
    """
    if tile is None or tile >= usual:
        return {}
    return {"crop_size": max(1, tile // STRIDE) * STRIDE}


def record_text(keys):
    """Returns keys as TOML, tables last.

    Args:
        keys: dict; values are texts, numbers, true or false, lists of them or lists of dicts (an
            array of tables).
    """
    plain, tables = [], []
    for key, value in keys.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            tables += [f"\n[[{key}]]\n{record_text(item)}" for item in value]
        else:
            # Texts, numbers and lists are written alike in JSON and in TOML.
            plain.append(f"{key} = {json.dumps(value, ensure_ascii=False)}\n")
    return "".join(plain + tables)


def _class(code):
    """Returns the keys of a class that is known by its code only."""
    parts = code if isinstance(code, tuple) else (code,)
    return {"code": code, "name": "class_" + "_".join(str(part) for part in parts)}
