"""Makes the demo data set, made-up towns: `python -m datasets.demo --folder=data/Demo`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from datasets.demo.data_set import make_demo
from datasets.rasters.reading import read_raster
from datasets.records.record import SPLITS
from project.files import write_bytes

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
        with tqdm(total=sum(options.counts), unit="tile", leave=False) as bar:
            make_demo(
                options.folder,
                options.tile_size,
                options.counts,
                options.seed,
                progress=lambda done, total: bar.update(),
            )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.folder} holds {sum(options.counts)} tiles.")
    if options.sheet:
        draw_sheet(options.folder, options.sheet)
        print(f"{options.sheet} shows some of them.")
    return 0


def tile_counts(text: str) -> tuple[int, ...]:
    """Reads whole numbers with commas between them, such as 64,8,8."""
    return tuple(int(number) for number in text.split(","))


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
