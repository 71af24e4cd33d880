"""Makes the demo data set, made-up towns: `python -m datasets.demo --folder=data/Demo`."""

import project.interrupts  # noqa: F401  first, so that Ctrl-C ends the imports in one line

# isort: split
import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from datasets.demo.data_set import make_demo
from datasets.rasters.ownership import check_replaceable
from datasets.rasters.reading import read_raster
from datasets.records.record import SPLITS
from project.errors import UserError
from project.files import check_writable, write_bytes

SHEET_TILES = 8  # of each split, at most


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the script; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("data/Demo"), help="to make")
    parser.add_argument("--tile_size", "--tile-size", type=int, default=256, help="pixels")
    parser.add_argument("--counts", type=tile_counts, default=(64, 8, 8), help="train,valid,test")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes")
    parser.add_argument("--sheet", type=Path, help="PNG to draw: photos and heights of some tiles")
    options = parser.parse_args(arguments)
    try:
        if options.sheet:
            check_sheet(options.sheet, options.folder)
        with tqdm(total=sum(options.counts), unit="tile", leave=False) as bar:
            make_demo(
                options.folder,
                options.tile_size,
                options.counts,
                options.seed,
                progress=lambda done, total: bar.update(),
            )
        print(f"{options.folder} holds {sum(options.counts)} tiles.")
        if options.sheet:
            draw_sheet(options.folder, options.sheet)
            print(f"{options.sheet} shows some of them.")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def tile_counts(text: str) -> tuple[int, ...]:
    """Reads whole numbers with commas between them, such as 64,8,8."""
    return tuple(int(number) for number in text.split(","))


def check_sheet(sheet: Path, folder: Path) -> None:
    """Checks that the sheet can be written, before the data set is made, which takes longer.

    Raises:
        UserError: if it is no PNG, is something else already, or in the way of the data set.
    """
    if sheet.suffix.lower() != ".png":
        raise UserError(f"--sheet={sheet}: the sheet is a PNG. Give a name that ends in .png.")
    check_writable(sheet.parent)
    check_replaceable(sheet)
    picture, data = (Path(os.path.abspath(path)) for path in (sheet, folder))
    if picture in (data, *data.parents):
        raise UserError(
            f"--sheet={sheet} is the folder of the data set, or one above it. Give another name."
        )


def draw_sheet(folder: Path, path: Path) -> None:
    """Draws photos above heights of the first tiles of each split.

    Args:
        folder: of the data set.
        path: PNG to write.
    """
    from matplotlib.figure import Figure  # slow to import, and needed here only

    from project.drawing import png_bytes

    tiles = [f for s in SPLITS for f in sorted((folder / s / "rgb").glob("*.tif"))[:SHEET_TILES]]
    lines = -(-len(tiles) // SHEET_TILES)
    figure = Figure(figsize=(2 * SHEET_TILES, 4 * lines), layout="constrained")
    axes = figure.subplots(2 * lines, SHEET_TILES, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for number, tile in enumerate(tiles):
        line, column = divmod(number, SHEET_TILES)
        photo, heights = axes[2 * line : 2 * line + 2, column]
        photo.imshow(read_raster(tile).pixels)
        photo.set_title(tile.stem, fontsize=8)
        metres = read_raster(tile.parents[1] / "dsm" / tile.name).pixels[..., 0]
        shown = heights.imshow(metres, vmin=0, vmax=30)
    figure.colorbar(shown, ax=axes, label="height above ground, metres", shrink=0.5)
    write_bytes(path, png_bytes(figure, dpi=130))


if __name__ == "__main__":
    sys.exit(main())
