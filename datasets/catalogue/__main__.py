"""Writes docs/datasets.md: `python -m datasets.catalogue`."""

import argparse
from pathlib import Path

from datasets.catalogue import CATALOGUE
from datasets.catalogue.entries import label_codes

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"
INTRO = """# Published data sets

Written by `python -m datasets.catalogue`; edit `datasets/catalogue/` instead.

A data set named here needs no `dataset.toml`:
`--dataset_name=SSBH --shortcut_path=/folder/of/datasets` reads
`/folder/of/datasets/SSBH/{train,valid,test}/{rgb,dsm,dem,sem,sar}` ([data.md](data.md)). Nothing is
downloaded; [`python -m datasets.prepare`](preparing.md) converts some of them from the files that
you have downloaded. A `dataset.toml` in that folder replaces the whole record below. If it contains
`like = "SSBH"`, it changes only the keys that it gives; a folder of another name can have such a
`dataset.toml`, too.

- The record corrects these while files are read: units of heights and images, sentinel heights,
  label colours, several label codes of one class. NaN, and a nodata value that the file declares,
  need no record.
- There must be a `valid` split. Where none was published, the record says whose split it uses.
- Crop size, batch size and loss weights are those of the published codes: for `Vaihingen` and
  `DFC2018` those of the authors, otherwise those of their multi-GPU fork. The weights are converted
  to heights in metres and normals in [0, 1] (`normal_coding=published`; unit vectors count four
  times as much). The fork's are also scaled to a height weight of 1, since only their ratios matter
  to Adam.
- `--preset=published` sets `crop_size` to 320: add `--crop_size=256` for tiles of 256 pixels.
- Where sources disagree, or a fact could not be verified, the notes say so.

Not supported: pixel sizes that differ within a split (DFC2023).
"""
LABELS = {
    "name": "full name",
    "loss_weights": "loss weights",
    "crop_size": "crop size, pixels",
    "centre_crop": "used in the middle of each tile, pixels",
    "batch_size": "crops per replica",
    "gsd": "gsd, metres per pixel",
    "height_scale": "metres per unit of stored heights",
    "height_limits": "heights beyond these are nodata, metres",
    "rgb_scale": "0-255 per stored image value",
    "sar_scale": "0-255 per stored radar value",
    "ignore_codes": "ignored label codes",
    "building_code": "building code",
}


def page() -> str:
    """Returns docs/datasets.md as text."""
    return "\n".join([INTRO, *(_section(name) for name in CATALOGUE)])


def _section(name):
    """Returns the section of one data set; for a variant, what differs from its base."""
    entry, base = CATALOGUE[name], _base(name)
    known = CATALOGUE.get(base, {})
    lines = [f"## {name}", ""]
    lines += [f"As [{base}](#{base.lower()}), except:", ""] if base else []
    for key, value in entry.items():
        if key not in ("notes", "classes") and value != known.get(key):
            lines += _lines(LABELS.get(key, key), value)
    lines += [f"- **{key}**: not known" for key in ("gsd", "splits") if not entry.get(key)]
    if entry.get("classes") != known.get("classes"):
        lines += _class_table(entry["classes"])
    notes = [note for note in entry["notes"] if note not in known.get("notes", ())]
    lines += ["", "Notes:", "", *(f"- {note}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def _base(name):
    """Returns the longest other name that `name` begins with, or None."""
    return max((n for n in CATALOGUE if n != name and name.startswith(n)), key=len, default=None)


def _lines(label, value):
    """Returns the lines of one key."""
    if not isinstance(value, dict):
        return [f"- **{label}**: {value}"]
    parts = [f"{name}: {_shown(part)}" for name, part in value.items()]
    if not any(isinstance(part, str | list) for part in value.values()):
        return [f"- **{label}**: {', '.join(parts)}"] if parts else []
    return [f"- **{label}**", *(f"  - {part}" for part in parts)]


def _shown(value):
    """Returns a value within a table: texts, numbers, or names of tiles with their count."""
    if isinstance(value, list):
        return f"{len(value)} ({', '.join(value)})"
    return f"{value:,}" if type(value) is int else str(value)


def _class_table(classes):
    """Returns the lines of the table of classes."""
    rows = [f"| {', '.join(map(str, label_codes(c)))} | {c['name']} |" for c in classes]
    return ["", "| label codes | class |", "| --- | --- |", *rows]


if __name__ == "__main__":
    argparse.ArgumentParser("python -m datasets.catalogue", description=__doc__).parse_args()
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE}")
