"""What folders of data sets are called elsewhere, for messages that say which name is meant."""

from collections.abc import Iterable
from pathlib import Path

ELSEWHERE = {  # in lower case, by the name that is meant
    "train": "training",
    "valid": "val validation",
    "test": "testing",
    "rgb": "images image imgs img photos photo orthophotos orthophoto ortho top optical",
    "dsm": "ndsm ndsms dsms heights height agl",
    "dem": "dtm dtms dems terrain",
    "sem": "labels label masks mask semantics semantic annotations classes gt",
    "sar": "radar",
}


def rename_advice(folder: Path, names: Iterable[str]) -> str:
    """Returns advice on folders in `folder` that are called otherwise than one of `names`.

    Args:
        folder: to look into; it may be missing.
        names: of folders; those that are there need no advice.

    Returns:
        A sentence, with a space before it, such as " Rename data/town/val to valid."; "" if no
        folder has such a name.
    """
    try:
        found = sorted(path.name for path in folder.iterdir() if path.is_dir())
    except OSError:
        return ""
    renamed = []
    for name in names:
        alike = [other for other in found if other.lower() in (name, *ELSEWHERE[name].split())]
        if alike and not (folder / name).exists():
            renamed.append(f"{' or '.join(str(folder / other) for other in alike)} to {name}")
    return f" Rename {' and '.join(renamed)}." if renamed else ""
