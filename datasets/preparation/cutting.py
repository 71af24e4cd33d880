"""Where tiles lie in a large raster."""

from datasets.rasters.reading import Grid


def tile_starts(length, size, overlap=0.0):
    """Returns the first pixel of every whole tile along an axis; a remainder is left out.

    Args:
        length: pixels of the axis.
        size: pixels of a tile.
        overlap: share of a tile that the next one repeats, from 0 up to, not including, 1.
    """
    step = max(1, round(size * (1 - overlap)))
    return list(range(0, length - size + 1, step))


def part_of_grid(grid, row, column, rows, columns):
    """Returns the `Grid` of a rectangle of a grid whose upper left pixel is (row, column)."""
    if grid.geotransform is None:
        return Grid(rows, columns, None, grid.projection)
    left, x_column, x_row, top, y_column, y_row = grid.geotransform
    corner = (
        left + column * x_column + row * x_row,
        x_column,
        x_row,
        top + column * y_column + row * y_row,
        y_column,
        y_row,
    )
    return Grid(rows, columns, corner, grid.projection)
