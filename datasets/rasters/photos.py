"""Photos of any size and kind as red, green and blue of 0-255, read in strips of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal

from datasets.rasters.grids import missing_georeference, part_of_grid
from datasets.rasters.masks import alpha_bands, pixel_bands
from datasets.rasters.reading import (
    BROKEN,
    Grid,
    RasterError,
    RasterInfo,
    file_list,
    gdal_errors,
    open_raster,
    pixel_sides,
    read_bands,
    read_info,
    sample_values,
)
from datasets.rasters.references import check_named_file
from datasets.rasters.warping import square_grid, warp_dataset

RGB = (gdal.GCI_RedBand, gdal.GCI_GreenBand, gdal.GCI_BlueBand)
# Interpretations of the bands of a plain GeoTIFF, which may be red, green and blue.
PLAIN = (*RGB, gdal.GCI_Undefined, gdal.GCI_GrayIndex)
MOST_BEYOND = 0.01  # of a photo's values beyond 0-255: more are not glints, but another range
CACHE = 2**28, 2**30  # bytes of decoded blocks, least and most; GDAL's default depends on the RAM


@dataclass
class Photo:
    """An open photo, which is read in strips of rows.

    Attributes:
        info: header of the file.
        grid: what is read: the file's own grid, or the resampled one.
        notes: what a user should know about how the file is read.
        dataset: open file; only one thread at a time may call `read`.
        bands: numbers of its bands that are read.
        scale: 0-255 = stored x scale.
        method: of resampling to the grid; None = it is the file's own.
        clipped: pixels read so far with a band beyond 0-255.
    """

    info: RasterInfo
    grid: Grid
    notes: Sequence[str]
    dataset: gdal.Dataset
    bands: Sequence[int]
    scale: float
    method: str | None = None
    clipped: int = 0

    @property
    def path(self) -> Path:
        """The file."""
        return self.info.path

    @property
    def gsd(self) -> float | None:
        """Metres per pixel of the file itself, the mean of `sides`; None = unknown."""
        return self.info.gsd

    @property
    def sides(self) -> tuple[float, float] | None:
        """Metres along a row and along a column of a pixel of the file itself; None = unknown."""
        return pixel_sides(self.info.grid)

    def read(self, row: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads `rows` whole rows from `row` on.

        Returns:
            (image, valid): float32 (rows, columns, bands) of 0-255, 0 where there is no data;
            bool (rows, columns), False at nodata, masks, alpha 0 and NaN. Values beyond 0-255,
            such as those of cubic resampling, are clipped.

        Raises:
            RasterError: if the file cannot be read.
        """
        pixels, valid = self._stored(row, rows)
        image = np.where(valid[..., None], pixels, 0).astype("float32") * np.float32(self.scale)
        if pixels.dtype != np.uint8 or self.scale > 1:
            self.clipped += int(_beyond(image).any(axis=-1).sum())
            image.clip(0, 255, out=image)
        return image, valid

    def _stored(self, row, rows):
        """Reads whole rows of the grid: (pixels, valid), in the dtype and units of the file."""
        if self.method is None:
            with gdal_errors(self.path, "read", BROKEN):
                return read_bands(self.dataset, (0, row, self.grid.columns, rows), self.bands)
        strip = part_of_grid(self.grid, row, 0, rows, self.grid.columns)
        return warp_dataset(self.dataset, self.info, strip, self.method, self.bands)


def open_photo(path: str | Path, rgb_scale: float = 1.0, gsd: float | None = None) -> Photo:
    """Opens a photo with red, green and blue.

    Args:
        path: of a local file of any size that GDAL can open.
        rgb_scale: 0-255 = stored x rgb_scale. Files of 8 bits are read unscaled unless the scale
            is above 1.
        gsd: metres per pixel to resample to, in the file's own CRS: averaged if that is coarser,
            cubic if it is finer. None = the file's own grid.

    Raises:
        RasterError: if the file cannot be read, has no red, green and blue, has values beyond
            0-255 after scaling, or is to be resampled but has no georeference.
    """
    mosaic_notes = check_named_file(path)
    with open_raster(path) as dataset:
        info = read_info(path)
        _check_kind(info)
        bands, notes = _rgb_bands(path, dataset)
    scale = 1.0 if info.dtype == "uint8" and rgb_scale < 1 else rgb_scale
    if scale != rgb_scale:
        notes.append(f"8 bits are taken as 0-255; the rgb_scale {rgb_scale:.3g} is not applied")
    _bound_cache(dataset)
    values = sample_values(path)
    _check_range(path, values * np.float64(scale), values.dtype, scale)
    grid, method = _target(dataset, info, gsd)
    return Photo(info, grid, (*mosaic_notes, *notes), dataset, tuple(bands), scale, method)


def open_radar(path: str | Path, grid: Grid, scale: float = 1.0, gsd: float | None = None) -> Photo:
    """Opens the radar image that belongs to a photo.

    Args:
        path: of a local file with one band.
        grid: of the photo, as it is read.
        scale: 0-255 = stored x scale.
        gsd: as for `open_photo`.

    Raises:
        RasterError: if the file cannot be read, has several bands, or does not lie on the grid.
    """
    notes = tuple(check_named_file(path))
    with open_raster(path) as dataset:
        info, bands = read_info(path), pixel_bands(dataset)
    found, method = _target(dataset, info, gsd)
    if len(bands) != 1:
        raise RasterError(f"{path}: {len(bands)} bands, expected 1 of radar. Choose another file.")
    if not _same_place(found, grid):
        raise RasterError(
            f"{path} has {found.rows} x {found.columns} pixels (rows x columns) at "
            f"{found.geotransform}, but the photo has {grid.rows} x {grid.columns} at "
            f"{grid.geotransform}. Warp it to the photo's grid, for instance with gdalwarp."
        )
    return Photo(info, found, notes, dataset, tuple(bands), scale, method)


def _target(dataset, info, gsd):
    """Returns the grid on which a photo is read, and how it is resampled; None = it is not.

    Raises:
        RasterError: if the pixel size of the file is not known.
    """
    if gsd is None:
        return info.grid, None
    if info.gsd is None:
        raise RasterError(f"{info.path} {missing_georeference(info.grid)}, or leave match_gsd out.")
    with gdal_errors(info.path, "resample", BROKEN):
        return square_grid(dataset, gsd), "average" if gsd >= info.gsd else "cubic"


def file_state(path: str | Path) -> list[list]:
    """Returns [path, bytes, time] of a raster and its parts; they differ once a file changes."""
    stats = ((part, Path(part).stat()) for part in file_list(path))
    return [[str(Path(part).resolve()), stat.st_size, stat.st_mtime_ns] for part, stat in stats]


def _rgb_bands(path, dataset):
    """Returns the numbers of red, green and blue, and a list of notes on the choice."""
    numbers = pixel_bands(dataset)
    meanings = [dataset.GetRasterBand(i).GetColorInterpretation() for i in numbers]
    if len(numbers) < 3:
        raise RasterError(
            f"{path}: {len(numbers)} band{'s' * (len(numbers) > 1)}, expected 3: red, green, blue "
            "(alpha not counted). The network was trained on colours and needs them."
        )
    if set(RGB) <= set(meanings):
        bands = [numbers[meanings.index(colour)] for colour in RGB]
    elif set(meanings[:3]) <= set(PLAIN):
        bands = numbers[:3]
    else:
        names = ", ".join(gdal.GetColorInterpretationName(meaning) for meaning in meanings)
        raise RasterError(
            f"{path}: its bands are {names}; expected red, green and blue. Choose three, for "
            "instance with gdal_translate -b 3 -b 2 -b 1 -colorinterp red,green,blue."
        )
    notes = []
    if len(numbers) > 3 or bands != numbers:
        notes.append(f"of {len(numbers)} bands, {bands} are taken as red, green, blue")
    for number in alpha_bands(dataset):
        notes.append(f"band {number} is alpha: where it is 0 there is no data")
    return bands, notes


def _bound_cache(dataset):
    """Lets GDAL keep two rows of a file's blocks, so that strips decode each block once."""
    band = dataset.GetRasterBand(1)
    pixel = dataset.RasterCount * gdal.GetDataTypeSize(band.DataType) // 8  # bytes
    wanted = 2 * band.GetBlockSize()[1] * dataset.RasterXSize * pixel
    gdal.SetCacheMax(min(max(wanted, CACHE[0]), CACHE[1]))


def cache_limit() -> int:
    """Returns the largest number of bytes of decoded blocks that GDAL keeps."""
    return gdal.GetCacheMax()


def _check_kind(info):
    """Raises RasterError for pixels that do not measure light."""
    if info.palette:
        raise RasterError(
            f"{info.path}: its pixels are indices into a colour table. Write the colours, for "
            "instance with gdal_translate -expand rgb."
        )
    if info.dtype.startswith("complex"):
        raise RasterError(f"{info.path}: pixels are {info.dtype}, expected real numbers. Convert.")


def _beyond(values):
    """Returns where values are not in 0-255, even after rounding."""
    return (values > 255.5) | (values < -0.5)


def _check_range(path, values, dtype, scale):
    """Raises RasterError for samples of a photo, stored as `dtype`, whose range is not 0-255."""
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    with_scale = "" if scale == 1 else f" after scaling by rgb_scale {scale:.3g}"
    advice = "Scale them, for instance with gdal_translate -ot Byte -scale"
    if _beyond(values).mean() > MOST_BEYOND:
        raise RasterError(
            f"{path}: {dtype} values from {low:.6g} to {high:.6g}{with_scale}, expected 0-255. "
            f"{advice} <low> <high> 0 255, or train with rgb_scale in dataset.toml."
        )
    if dtype.kind == "f" and 0 < high <= 1:
        raise RasterError(
            f"{path}: {dtype} values up to {high:.3g}{with_scale}, expected 0-255; they look like "
            f"0-1. {advice} 0 1 0 255."
        )


def _same_place(found, grid):
    """Returns whether two grids are the same up to a thousandth of a pixel."""
    is_same_size = (found.rows, found.columns) == (grid.rows, grid.columns)
    if not is_same_size or found.geotransform is None or grid.geotransform is None:
        return is_same_size
    tolerance = 1e-3 * abs(grid.geotransform[1] or grid.geotransform[2])
    return np.allclose(found.geotransform, grid.geotransform, rtol=0, atol=tolerance)
