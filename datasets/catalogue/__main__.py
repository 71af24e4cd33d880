"""Writes docs/datasets.md: `python -m datasets.catalogue`."""

from pathlib import Path

from datasets.catalogue.page import page

if __name__ == "__main__":
    target = Path(__file__).parents[2] / "docs" / "datasets.md"
    target.write_text(page(), encoding="utf-8")
    print(f"Wrote {target}")
