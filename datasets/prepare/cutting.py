"""Where tiles lie in a large raster."""

from datasets.prepare.tile_files import PrepareError


def tile_starts(length, size, overlap=0.0):
    """Returns the first pixel of every whole tile along an axis; a remainder is left out.

    Args:
        length: pixels of the axis.
        size: pixels of a tile.
        overlap: share of a tile that the next one repeats, from 0 up to, not including, 1.
    """
    step = max(1, round(size * (1 - overlap)))
    return list(range(0, length - size + 1, step))


def cut_windows(grid, size, overlap, what):
    """Cuts a grid into tiles.

    Args:
        grid: `datasets.rasters.reading.Grid`.
        size: rows and columns of a tile, pixels; None = one tile of the whole grid.
        overlap: share of a tile that the next one repeats.
        what: the grid's name in the error, such as a path.

    Returns:
        dict of the end of a tile's name, such as "_000_003" (row and column of tiles; "" for the
        whole grid), to (row, column, rows, columns), pixels.

    Raises:
        PrepareError: if a tile is larger than the grid, or whole files are to overlap.
    """
    if size is None and overlap:
        raise PrepareError(
            f"overlap is {overlap:g}, but whole files are not cut. Give --tile=<size>."
        )
    if size is None:
        return {"": (0, 0, grid.rows, grid.columns)}
    rows, columns = (tile_starts(n, size, overlap) for n in (grid.rows, grid.columns))
    if not rows or not columns:
        raise PrepareError(
            f"{what} is {grid.rows} x {grid.columns} pixels (rows x columns), less than a tile of "
            f"{size}. Take smaller tiles."
        )
    return {
        f"_{i:03d}_{j:03d}": (row, column, size, size)
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    }
