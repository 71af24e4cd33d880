"""Rasters that grow row by row and end as Cloud-Optimized GeoTIFFs."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from osgeo import gdal

from datasets.rasters.reading import gdal_errors
from datasets.rasters.writing import TYPES, describe_band

SPACE = "Its folder must exist and have space left."


@dataclass(frozen=True)
class Layer:
    """What a raster is to hold.

    Attributes:
        dtype: "uint8", "uint16" or "float32".
        nodata: value of pixels without data.
        bands: tuple of str, the descriptions of the bands.
        unit: of the values, such as "metre".
        colours: as of `datasets.rasters.writing.write_raster`, or None.
        tags: dict of str to str, metadata of the file.
    """

    dtype: str
    nodata: float
    bands: tuple
    unit: str = ""
    colours: list | None = None
    tags: dict = field(default_factory=dict)


class RowFile:
    """A GeoTIFF that is written in rows, and outlives the process that writes it."""

    def __init__(self, path, layer, grid=None):
        """Creates the file without data, or opens one that is there to go on with it.

        Args:
            path: `Path` of the file.
            layer: `Layer`.
            grid: `datasets.rasters.reading.Grid` of a file to create; None = it is there.

        Raises:
            RasterError: if it cannot be opened or created.
        """
        self.path, self.layer = Path(path), layer
        with gdal_errors(path, "write", SPACE):
            self.dataset = (
                _create(path, layer, grid) if grid else gdal.Open(str(path), gdal.GA_Update)
            )

    def write(self, row, pixels):
        """Writes whole rows from `row` on: pixels (rows, columns, bands)."""
        with gdal_errors(self.path, "write", SPACE):
            for i in range(len(self.layer.bands)):
                # GDAL takes a stride of 0, as of a broadcast array, for "one after the other".
                values = np.ascontiguousarray(pixels[..., i], self.layer.dtype)
                self.dataset.GetRasterBand(i + 1).WriteArray(values, 0, row)

    def flush(self):
        """Hands everything over to the operating system, which outlives a killed process."""
        with gdal_errors(self.path, "write", SPACE):
            self.dataset.FlushCache()

    def close(self):
        """Closes the file."""
        self.flush()
        self.dataset = None


def write_cog(source, path, classes=False):
    """Writes a raster as a compressed Cloud-Optimized GeoTIFF with overviews.

    Args:
        source: path of the raster; what it says of itself is copied.
        path: path of the file to write.
        classes: bool, True = overviews show the commonest value, not the mean.

    Raises:
        RasterError: if the file cannot be written.
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
    with gdal_errors(path, "write", SPACE):
        dataset = gdal.GetDriverByName("COG").CreateCopy(
            str(path), gdal.Open(str(source)), options=[f"{k}={v}" for k, v in options.items()]
        )
        if dataset is None:  # not every failure raises in the GDAL versions in use
            raise RuntimeError(gdal.GetLastErrorMsg() or "no file came out")
        dataset.FlushCache()


def read_tags(path):
    """Returns the metadata of a raster file, dict of str to str.

    Raises:
        RasterError: if it cannot be opened.
    """
    with gdal_errors(path, "open", "Move it away."):
        return gdal.Open(str(path)).GetMetadata()


def _create(path, layer, grid):
    """Creates the file: strips of a row each, so that a row once written is not touched again."""
    options = ["BLOCKYSIZE=1", "SPARSE_OK=TRUE", "BIGTIFF=IF_SAFER", "INTERLEAVE=BAND"]
    dataset = gdal.GetDriverByName("GTiff").Create(
        str(path), grid.columns, grid.rows, len(layer.bands), TYPES[layer.dtype], options
    )
    if grid.geotransform is not None:
        dataset.SetGeoTransform(grid.geotransform)
    if grid.projection:
        dataset.SetProjection(grid.projection)
    dataset.SetMetadata(layer.tags)
    for i, description in enumerate(layer.bands):
        band = dataset.GetRasterBand(i + 1)
        describe_band(band, layer.nodata, layer.unit, description, layer.colours)
    dataset.FlushCache()
    return dataset
