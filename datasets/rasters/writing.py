"""Writing GeoTIFFs: whole at once, or in rows that end as a Cloud-Optimized GeoTIFF."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from osgeo import gdal

from datasets.rasters.grids import new_dataset
from datasets.rasters.reading import Grid, check_result, gdal_errors, open_raster, text_of
from project.files import whole_file, writing

TYPES = {"uint8": gdal.GDT_Byte, "uint16": gdal.GDT_UInt16, "float32": gdal.GDT_Float32}
ADVICE = "Check that its folder exists."


@dataclass(frozen=True)
class Layer:
    """What a raster holds.

    Attributes:
        dtype: one of `TYPES`.
        nodata: value of pixels without data; None = every pixel has data.
        bands: the description of each band.
        unit: of the values, such as "metre".
        colours: (code, name, (red, green, blue)) of each class, for one band of integers: its
            colour table. The names go into the band's metadata as CLASS_<code>, because GDAL
            stores the category names of a GeoTIFF in a second file.
        tags: metadata of the file.
    """

    dtype: str
    nodata: float | None
    bands: tuple[str, ...]
    unit: str = ""
    colours: Sequence[tuple[int, str, Sequence[int]]] | None = None
    tags: dict[str, str] = field(default_factory=dict)


def write_raster(
    path: str | Path,
    pixels: np.ndarray,
    grid: Grid,
    nodata: float | None = None,
    unit: str = "",
    description: str = "",
    colours: Sequence[tuple[int, str, Sequence[int]]] | None = None,
) -> None:
    """Writes a compressed, tiled GeoTIFF, which appears under its name only when it is complete.

    Args:
        path: of the file; its folder is made if necessary, an existing file is replaced.
        pixels: (rows, columns) or (rows, columns, bands); uint8, uint16 or float32.
        grid: size and place of the pixels.
        nodata: declared as nodata and written for NaN; None = NaN stays, nothing is declared.
        unit, colours: as for `Layer`.
        description: of every band.

    Raises:
        ValueError: if the pixels are not on the grid, or have another type.
        DiskError: if its disk is the reason that the file cannot be written.
        RasterError: if the reason is another one.
    """
    _check_pixels(pixels, grid)
    bands = pixels.reshape(grid.rows, grid.columns, -1)
    is_float = bands.dtype.kind == "f"
    is_photo = bands.shape[2] == 3 and not is_float
    if nodata is not None and is_float:
        bands = np.where(np.isnan(bands), np.float32(nodata), bands)
    layer = Layer(bands.dtype.name, nodata, (description,) * bands.shape[2], unit, colours)
    options = [
        "COMPRESS=DEFLATE",
        "TILED=YES",
        "BIGTIFF=IF_SAFER",
        f"PREDICTOR={3 if is_float else 2}",
        # Given for every file, because by default GDAL takes the last of four bands for alpha.
        f"PHOTOMETRIC={'RGB' if is_photo else 'MINISBLACK'}",
    ]
    with whole_file(path) as part, gdal_errors(path, "write", ADVICE):
        dataset = _create(part, layer, grid, options)
        _write_rows(dataset, 0, bands)
        dataset.FlushCache()  # raises here; an error on closing would be lost
        dataset = None


def _check_pixels(pixels, grid):
    """Raises ValueError for pixels that cannot be written on the grid."""
    if pixels.dtype.name not in TYPES:
        raise ValueError(
            f"pixels are {pixels.dtype.name}, expected one of {', '.join(TYPES)}. "
            "Convert them with .astype before writing."
        )
    if pixels.ndim not in (2, 3) or pixels.shape[:2] != (grid.rows, grid.columns):
        raise ValueError(
            f"pixels have shape {pixels.shape}, but the grid has ({grid.rows}, {grid.columns}) "
            "(rows, columns). Give (rows, columns) or (rows, columns, bands) on that grid."
        )


def _create(path, layer, grid, options):
    """Creates a GeoTIFF without pixels that says what its bands mean."""
    count = len(layer.bands)
    dataset = new_dataset("GTiff", path, grid, count, TYPES[layer.dtype], options)
    if layer.tags:
        dataset.SetMetadata(layer.tags)
    for i, description in enumerate(layer.bands):
        band = dataset.GetRasterBand(i + 1)
        if layer.nodata is not None:
            band.SetNoDataValue(layer.nodata)
        band.SetUnitType(layer.unit)
        band.SetDescription(description)
        if layer.colours:
            table = gdal.ColorTable()
            for code, name, rgb in layer.colours:
                table.SetColorEntry(code, tuple(rgb))
                band.SetMetadataItem(f"CLASS_{code}", name)
            band.SetRasterColorTable(table)
    return dataset


def _write_rows(dataset, row, pixels):
    """Writes (rows, columns, bands) from a row on."""
    for i in range(pixels.shape[2]):
        # GDAL takes a stride of 0, as in a broadcast array, to mean contiguous values.
        dataset.GetRasterBand(i + 1).WriteArray(np.ascontiguousarray(pixels[..., i]), 0, row)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Turns errors of the disk into `DiskError` and others of GDAL into `RasterError`."""
    with writing(path, safe="", part=path), gdal_errors(path, "write", ADVICE):
        yield


class RowFile:
    """A GeoTIFF that is written row by row and survives the process that writes it."""

    def __init__(self, path: str | Path, layer: Layer, grid: Grid | None = None):
        """Creates a file without data, or opens an existing one to continue it.

        Args:
            path: of the file.
            layer: what it holds.
            grid: of a file to create; None = the file exists.

        Raises:
            DiskError: if its disk is the reason that it cannot be opened or created.
            RasterError: if the reason is another one.
        """
        self.path, self.layer = Path(path), layer
        # Strips of one row each: a row that has been written is never touched again.
        options = ["BLOCKYSIZE=1", "SPARSE_OK=TRUE", "BIGTIFF=IF_SAFER", "INTERLEAVE=BAND"]
        with _written(self.path):
            if grid:
                self.dataset = _create(path, layer, grid, options)
                self.dataset.FlushCache()
            else:
                self.dataset = gdal.Open(str(path), gdal.GA_Update)

    def write(self, row: int, pixels: np.ndarray) -> None:
        """Writes whole rows from `row` on: pixels (rows, columns, bands)."""
        with _written(self.path):
            _write_rows(self.dataset, row, pixels.astype(self.layer.dtype, copy=False))

    def flush(self) -> None:
        """Hands all rows to the operating system, so that they survive a killed process."""
        with _written(self.path):
            self.dataset.FlushCache()

    def close(self) -> None:
        """Closes the file."""
        self.flush()
        self.dataset = None


def write_cog(source: str | Path, path: str | Path, classes: bool = False) -> None:
    """Writes a raster as a compressed Cloud-Optimized GeoTIFF with overviews.

    Args:
        source: the raster, whose grid and metadata are copied.
        path: the file to write.
        classes: True = overviews hold the most frequent value instead of the mean.

    Raises:
        DiskError: if its disk is the reason that the file cannot be written.
        RasterError: if the reason is another one.
    """
    options = {
        "COMPRESS": "DEFLATE",
        "PREDICTOR": "YES",
        "BIGTIFF": "IF_SAFER",
        "OVERVIEWS": "IGNORE_EXISTING",
        "RESAMPLING": "MODE" if classes else "AVERAGE",
        "NUM_THREADS": "ALL_CPUS",
        "SPARSE_OK": "TRUE",
    }
    with _written(Path(path)):
        driver, original = gdal.GetDriverByName("COG"), gdal.Open(str(source))
        creation = [f"{key}={value}" for key, value in options.items()]
        check_result(driver.CreateCopy(str(path), original, options=creation)).FlushCache()


def read_tags(path: str | Path) -> dict[str, str]:
    """Returns the metadata of a raster file.

    Raises:
        RasterError: if it cannot be opened.
    """
    with open_raster(path) as dataset:
        tags = dataset.GetMetadata()
    return {text_of(name): text_of(value) for name, value in tags.items()}
