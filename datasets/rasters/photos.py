"""Photos of any size and kind as red, green and blue of 0-255, read in strips of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal

from datasets.rasters.reading import (
    BROKEN,
    Grid,
    RasterError,
    file_list,
    gdal_errors,
    grid_of,
    open_raster,
    pixel_bands,
    pixel_sides,
    read_bands,
    read_info,
    sample_values,
)
from datasets.rasters.references import check_named_file

RGB = (gdal.GCI_RedBand, gdal.GCI_GreenBand, gdal.GCI_BlueBand)
# Interpretations of the bands of a plain GeoTIFF, which may be red, green and blue.
PLAIN = (*RGB, gdal.GCI_Undefined, gdal.GCI_GrayIndex)
MOST_BEYOND = 0.01  # of a photo's values beyond 0-255: more are not glints, but another range
CACHE = 2**28, 2**30  # bytes of decoded blocks, least and most; GDAL's default depends on the RAM


@dataclass
class Photo:
    """An open photo, which is read in strips of rows.

    Attributes:
        path: the file.
        grid: what is read: the file's own grid, or the resampled one.
        sides: metres along a row and along a column of a pixel of the file itself; None = unknown.
        notes: what a user should know about how the file is read.
        dataset: open file; only one thread at a time may call `read`.
        bands: numbers of its bands that are read.
        scale: 0-255 = stored x scale.
        clipped: pixels read so far with a band beyond 0-255.
    """

    path: Path
    grid: Grid
    sides: tuple[float, float] | None
    notes: Sequence[str]
    dataset: gdal.Dataset
    bands: Sequence[int]
    scale: float
    clipped: int = 0

    @property
    def gsd(self) -> float | None:
        """Metres per pixel of the file itself, the mean of `sides`; None = unknown."""
        return self.sides and sum(self.sides) / 2

    def read(self, row: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads `rows` whole rows from `row` on.

        Returns:
            (image, valid): float32 (rows, columns, bands) of 0-255, 0 where there is no data;
            bool (rows, columns), False at nodata, masks, alpha 0 and NaN. Values beyond 0-255,
            such as those of cubic resampling, are clipped.

        Raises:
            RasterError: if the file cannot be read.
        """
        with gdal_errors(self.path, "read", BROKEN):
            window = (0, row, self.grid.columns, rows)
            pixels, valid = read_bands(self.dataset, window, list(self.bands))
        image = np.where(valid[..., None], pixels, 0).astype("float32") * np.float32(self.scale)
        if pixels.dtype != np.uint8 or self.scale > 1:
            self.clipped += int(_beyond(image).any(axis=-1).sum())
            image.clip(0, 255, out=image)
        return image, valid


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
    if gsd is not None:
        dataset = _resampled(path, gsd)
    sides = pixel_sides(info.grid)
    notes = (*mosaic_notes, *notes)
    return Photo(Path(path), grid_of(dataset), sides, notes, dataset, tuple(bands), scale)


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
    with gdal_errors(path, "open", BROKEN):
        dataset = _resampled(path, gsd) if gsd else gdal.Open(str(path))
        found, bands = grid_of(dataset), pixel_bands(dataset)
    if len(bands) != 1:
        raise RasterError(f"{path}: {len(bands)} bands, expected 1 of radar. Choose another file.")
    if not _same_place(found, grid):
        raise RasterError(
            f"{path} has {found.rows} x {found.columns} pixels (rows x columns) at "
            f"{found.geotransform}, but the photo has {grid.rows} x {grid.columns} at "
            f"{grid.geotransform}. Warp it to the photo's grid, for instance with gdalwarp."
        )
    sides = pixel_sides(read_info(path).grid)
    return Photo(Path(path), found, sides, notes, dataset, tuple(bands), scale)


def _resampled(path, gsd):
    """Opens a raster on a grid of another pixel size; GDAL resamples each strip as it is read.

    The grid covers the same extent in the same CRS, with pixels that are square on the ground:
    their size is `gsd` metres, up to half a pixel over the extent. Gaps become an alpha band.
    """
    sides = pixel_sides(read_info(path).grid)
    if sides is None:
        raise RasterError(
            f"{path} has no georeference with a CRS, so its gsd is unknown. Leave match_gsd out, "
            "or georeference the file, for instance with gdal_edit.py -a_srs and -a_ullr."
        )
    coarser = gsd >= sum(sides) / 2
    with gdal_errors(path, "resample", BROKEN):
        straight = grid_of(gdal.AutoCreateWarpedVRT(gdal.Open(str(path))))  # north is up
        along_row, along_column = pixel_sides(straight)
        return gdal.Warp(
            "",
            str(path),
            format="VRT",
            width=max(1, round(straight.columns * along_row / gsd)),
            height=max(1, round(straight.rows * along_column / gsd)),
            resampleAlg="average" if coarser else "cubic",
            overviewLevel="NONE",  # overviews may have been made by leaving pixels out
            dstAlpha=True,
            # As in `read_window`, a nodata value hides only pixels that have it in every band.
            warpOptions=["UNIFIED_SRC_NODATA=YES"],
        )


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
    alpha = sorted({*range(1, dataset.RasterCount + 1)} - {*numbers})
    if alpha:
        notes.append(f"band {alpha[0]} is alpha: where it is 0 there is no data")
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
