"""Photos of any size and kind as red, green and blue of 0-255, read in strips of rows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal

from datasets.rasters.declared import file_list, sample_values
from datasets.rasters.reading import (
    BROKEN,
    Grid,
    RasterError,
    gdal_errors,
    grid_of,
    pixel_bands,
    pixel_sides,
    read_bands,
    read_info,
)

RGB = (gdal.GCI_RedBand, gdal.GCI_GreenBand, gdal.GCI_BlueBand)
UNSAID = (*RGB, gdal.GCI_Undefined, gdal.GCI_GrayIndex)  # what bands of a plain GeoTIFF say
LARGEST = 255.5  # of 0-255, rounding allowed
MOST_BEYOND = 0.01  # of a photo's values; more are no glints, but another range
CACHE = 2**28, 2**30  # bytes, least and most, of decoded blocks; GDAL's own is a share of the RAM


@dataclass
class Photo:
    """An open photo, of which strips can be read.

    Attributes:
        path: the file.
        grid: `Grid` of what is read: the file's own, or the resampled one.
        sides: metres along a row and along a column of a pixel of the file itself; None where
            they are not known.
        notes: tuple of str, what a user should know about how the file is read.
        dataset: GDAL dataset; `read` may be called in one thread at a time.
        bands: numbers of its bands that are read.
        scale: 0-255 = stored x scale.
        clipped: int, pixels read so far of which a band was beyond 0-255.
    """

    path: Path
    grid: Grid
    sides: tuple | None
    notes: tuple
    dataset: object
    bands: tuple
    scale: float
    clipped: int = 0

    @property
    def gsd(self):
        """Metres per pixel of the file itself, the mean of `sides`; None where not known."""
        return self.sides and sum(self.sides) / 2

    def read(self, row, rows):
        """Reads whole rows.

        Args:
            row: int, the first one.
            rows: int, how many.

        Returns:
            (image, valid): float32 (rows, columns, bands) of 0-255, 0 where there is no data;
            bool (rows, columns), False at nodata, masks, alpha 0 and NaN. What is beyond 0-255,
            as cubic resampling makes some, is clipped.

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


def open_photo(path, rgb_scale=1.0, gsd=None):
    """Opens a photo.

    Args:
        path: str or path of a file that GDAL can open, of any size.
        rgb_scale: 0-255 = stored x rgb_scale, for other types than 8 bits; these are 0-255 as
            they are, unless the scale is above 1.
        gsd: float, metres per pixel to resample to, in the file's own CRS: averaged where that is
            coarser, cubic where it is finer. None = the file's own grid.

    Returns:
        `Photo` with three bands.

    Raises:
        RasterError: if the file cannot be read, has no red, green and blue, has values that are
            not 0-255 with the scale, or cannot be resampled for want of a georeference.
    """
    with gdal_errors(path, "open", BROKEN):
        dataset = gdal.Open(str(path))
        info = read_info(path)
        _check_kind(info)
        bands, notes = _rgb_bands(path, dataset)
        notes += _alpha_note(dataset)
    scale = 1.0 if info.dtype == "uint8" and rgb_scale < 1 else rgb_scale
    if scale != rgb_scale:
        notes.append(f"8 bits are taken as 0-255; the rgb_scale {rgb_scale:.3g} is not for them")
    _bound_cache(dataset)
    values = sample_values(path)
    _check_range(path, values * np.float64(scale), values.dtype, scale)
    if gsd is not None:
        dataset = resampled(path, gsd)
    sides = pixel_sides(info.grid)
    return Photo(Path(path), grid_of(dataset), sides, tuple(notes), dataset, tuple(bands), scale)


def open_radar(path, grid, scale=1.0, gsd=None):
    """Opens the radar image that belongs to a photo.

    Args:
        path: str or path of a file with one band.
        grid: `Grid` of the photo, as it is read.
        scale: 0-255 = stored x scale.
        gsd: as of `open_photo`.

    Returns:
        `Photo` with one band.

    Raises:
        RasterError: if the file cannot be read, has several bands, or does not lie on the grid.
    """
    with gdal_errors(path, "open", BROKEN):
        dataset = resampled(path, gsd) if gsd else gdal.Open(str(path))
        found, bands = grid_of(dataset), pixel_bands(dataset)
    if len(bands) != 1:
        raise RasterError(f"{path}: {len(bands)} bands, expected 1, radar. Name another file.")
    if not _same_place(found, grid):
        raise RasterError(
            f"{path} has {found.rows} x {found.columns} pixels (rows x columns) at "
            f"{found.geotransform}, but the photo has {grid.rows} x {grid.columns} at "
            f"{grid.geotransform}. Warp it to the photo's grid, for instance with gdalwarp."
        )
    sides = pixel_sides(read_info(path).grid)
    return Photo(Path(path), found, sides, (), dataset, tuple(bands), scale)


def resampled(path, gsd):
    """Opens a raster on a grid of another pixel size; GDAL computes what is read, as it is read.

    The grid covers the same extent in the same CRS with pixels that are square on the ground, so
    that the size is `gsd` up to half a pixel over the extent. Gaps are an alpha band.

    Args:
        path: str or path.
        gsd: float, metres per pixel.

    Returns:
        GDAL dataset.

    Raises:
        RasterError: if the file has no georeference.
    """
    sides = pixel_sides(read_info(path).grid)
    if sides is None:
        raise RasterError(
            f"{path} has no georeference with a CRS, so that its gsd is not known. Leave match_gsd "
            "out, or give it a place, for instance with gdal_edit.py -a_srs and -a_ullr."
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
            overviewLevel="NONE",  # they may be made by leaving pixels out
            dstAlpha=True,
            # A nodata value hides a pixel that has it in every band, as everywhere here.
            warpOptions=["UNIFIED_SRC_NODATA=YES"],
        )


def file_state(path):
    """Returns what tells a raster and its parts from others and from their later states."""
    stats = ((part, Path(part).stat()) for part in file_list(path))
    return [[str(Path(part).resolve()), stat.st_size, stat.st_mtime_ns] for part, stat in stats]


def _rgb_bands(path, dataset):
    """Returns the numbers of red, green and blue, and a list of notes on the choice."""
    numbers = pixel_bands(dataset)
    meanings = [dataset.GetRasterBand(i).GetColorInterpretation() for i in numbers]
    if len(numbers) < 3:
        raise RasterError(
            f"{path}: {len(numbers)} band{'s' * (len(numbers) > 1)}, expected 3: red, green, blue "
            "(alpha not counted). The network has learned from colours and cannot do without."
        )
    if set(RGB) <= set(meanings):
        bands = [numbers[meanings.index(colour)] for colour in RGB]
    elif set(meanings[:3]) <= set(UNSAID):
        bands = numbers[:3]
    else:
        names = ", ".join(gdal.GetColorInterpretationName(meaning) for meaning in meanings)
        raise RasterError(
            f"{path}: its bands are {names}; expected red, green and blue. Choose three, for "
            "instance with gdal_translate -b 3 -b 2 -b 1 -colorinterp red,green,blue."
        )
    unused = len(numbers) > 3 or bands != numbers
    told = f"of {len(numbers)} bands, {bands} are taken as red, green, blue"
    return bands, [told] if unused else []


def _bound_cache(dataset):
    """Lets GDAL keep two rows of a file's blocks, so that strips decode each of them once."""
    band = dataset.GetRasterBand(1)
    pixel = dataset.RasterCount * gdal.GetDataTypeSize(band.DataType) // 8  # bytes
    wanted = 2 * band.GetBlockSize()[1] * dataset.RasterXSize * pixel
    gdal.SetCacheMax(min(max(wanted, CACHE[0]), CACHE[1]))


def cache_limit():
    """Returns the bytes of decoded blocks that GDAL keeps at most."""
    return gdal.GetCacheMax()


def _alpha_note(dataset):
    """Returns a note where the last band hides pixels: of 4 bands GDAL makes the last alpha."""
    alpha = sorted({*range(1, dataset.RasterCount + 1)} - {*pixel_bands(dataset)})
    return [f"band {alpha[0]} is alpha: where it is 0 there is no data"] if alpha else []


def _check_kind(info):
    """Raises RasterError for pixels that are no measure of light."""
    if info.palette:
        raise RasterError(
            f"{info.path}: its pixels are numbers of colours in a table. Write the colours, for "
            "instance with gdal_translate -expand rgb."
        )
    if info.dtype.startswith("complex"):
        raise RasterError(f"{info.path}: pixels are {info.dtype}, expected real numbers. Convert.")


def _beyond(values):
    """Returns where values are not in 0-255, rounding allowed."""
    return (values > LARGEST) | (values < -0.5)


def _check_range(path, values, dtype, scale):
    """Raises RasterError where samples of a photo (0-255 expected) have another range."""
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    with_scale = "" if scale == 1 else f" after the rgb_scale {scale:.3g}"
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
    """Whether two grids are the same up to a thousandth of a pixel."""
    if (found.rows, found.columns) != (grid.rows, grid.columns):
        return False
    if found.geotransform is None or grid.geotransform is None:
        return True
    tolerance = 1e-3 * abs(grid.geotransform[1] or grid.geotransform[2])
    return np.allclose(found.geotransform, grid.geotransform, rtol=0, atol=tolerance)
