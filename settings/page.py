"""Writes docs/settings.md: `python -m settings.page`."""

import argparse
from pathlib import Path

from settings.command_line import PRECEDENCE, comments
from settings.presets import PRESETS
from settings.table import TABLE, expected, show


def page() -> str:
    """Returns the text of docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Written by `python -m settings.page`; edit `config.py` instead.",
        "",
        f"{PRECEDENCE} Use `none` to cancel the value of the preset or of config.py.",
    ]
    for heading, settings in comments().items():
        lines += ["", f"## {heading}", "", "| name | default | allowed values | meaning |"]
        lines += ["| --- | --- | --- | --- |"]
        lines += [
            f"| `{name}` | {show(TABLE[name].default)} | {expected(name)} | {comment} |"
            for name, comment in settings.items()
        ]
    for preset, values in PRESETS.items():
        lines += ["", f"## `--preset={preset}`", "", "| name | value |", "| --- | --- |"]
        lines += [f"| `{name}` | {show(value)} |" for name, value in values.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    argparse.ArgumentParser("python -m settings.page", description=__doc__).parse_args()
    target = Path(__file__).parents[1] / "docs" / "settings.md"
    target.write_text(page(), encoding="utf-8")
    print(f"Wrote {target}")
