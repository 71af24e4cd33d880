"""Checks of a tile's files by what their headers say, before pixels are read."""

from dataclasses import replace

import numpy as np

from datasets.rasters.grids import same_projection
from datasets.rasters.reading import RasterError, read_info
from datasets.rasters.references import check_references
from datasets.tiles.folders import DataError
from datasets.tiles.samples import band_message, expected_bands, used_part

GSD_TOLERANCE = 0.05  # share of the gsd
SHIFT_TOLERANCE = 0.5  # pixels


def check_headers(tile, record, crop_size):
    """Reads the headers of a tile's files and checks that they fit each other and the record.

    Args:
        tile: `datasets.tiles.folders.Tile`.
        record: `datasets.records.record.Record`.
        crop_size: pixels; a smaller tile is a problem.

    Returns:
        (infos, problems, warnings): dict of kind to the `RasterInfo` of the files that can be
        opened, with the grid of the part that is used if there are no problems; texts on files
        that cannot be used; texts on files that are usable but strange.
    """
    infos, problems = {}, []
    for kind, path in tile.files.items():
        try:
            check_references(path, record.folder)
            infos[kind] = read_info(path)
        except RasterError as error:
            problems.append(str(error))
    problems = problems or [
        *_band_problems(infos, record),
        *_type_problems(infos, record),
        *_size_problems(infos, record, crop_size),
        *_place_problems(infos),
        *_gsd_problems(infos, record),
    ]
    if problems:
        return infos, problems, []
    used = {kind: replace(info, grid=used_part(info.grid, record)) for kind, info in infos.items()}
    return used, [], _place_warnings(infos)


def _band_problems(infos, record):
    expected = expected_bands(record)
    wrong = [kind for kind, info in infos.items() if info.bands != expected[kind]]
    return [
        f"{infos[kind].path}: a palette image, expected {expected[kind]} bands of colours. Convert "
        "the file, for instance with gdal_translate -expand rgb."
        if infos[kind].palette and expected[kind] == 3
        else band_message(infos[kind].path, infos[kind].bands, expected[kind])
        for kind in wrong
    ]


def _type_problems(infos, record):
    """Refuses complex numbers, and images whose range is not known or that a scale makes dark."""
    problems = [
        f"{info.path}: pixels are {info.dtype}, expected real numbers. Convert the file."
        for info in infos.values()
        if info.dtype.startswith("complex")
    ]
    for kind in ("rgb", "sar"):
        if kind in infos:
            problems += _scale_problems(
                infos[kind], f"{kind}_scale", getattr(record, f"{kind}_scale")
            )
    return problems


def _scale_problems(info, key, scale):
    """Compares the type of an image's pixels with the record's scale, whose key is `key`."""
    problems = []
    if info.dtype.startswith("float") and scale == 1:
        problems.append(
            f"{info.path}: pixels are {info.dtype}, so their range is not known. "
            f"Give {key} in dataset.toml (0-255 = stored x {key})."
        )
    if info.dtype in ("uint8", "int8") and scale < 1:
        problems.append(
            f"{info.path}: pixels are {info.dtype}, but {key} {scale:.3g} makes "
            f"0-{255 * scale:.3g} of 0-255. Set {key} = 1 in dataset.toml, or use "
            "the files with more bits that the scale is for."
        )
    return problems


def _size_problems(infos, record, crop_size):
    grid = infos["rgb"].grid
    problems = [
        f"{info.path}: {info.grid.rows} x {info.grid.columns} pixels (rows x columns), but "
        f"{infos['rgb'].path} has {grid.rows} x {grid.columns}. Put both on one grid."
        for info in infos.values()
        if (info.grid.rows, info.grid.columns) != (grid.rows, grid.columns)
    ]
    try:
        grid = used_part(grid, record)
    except DataError as error:
        return [*problems, f"{infos['rgb'].path}: {error}"]
    if min(grid.rows, grid.columns) < crop_size:
        part = " in the middle (centre_crop)" if record.centre_crop else ""
        problems.append(
            f"{infos['rgb'].path}: {grid.rows} x {grid.columns} pixels (rows x columns){part} is "
            f"smaller than crop_size {crop_size}. Lower crop_size or remove the tile."
        )
    return problems


def _place_problems(infos):
    """Compares the place of each file with that of rgb, where both have one."""
    image = infos["rgb"]
    placed = [info for info in infos.values() if info.grid.geotransform is not None]
    flat = [info for info in placed if not _pixel_area(info.grid)]
    if flat:
        return [
            f"{info.path}: its georeference gives pixels no size: {info.grid.geotransform}. "
            "Correct it, or remove it and give gsd in dataset.toml."
            for info in flat
        ]
    shifts = [(_shift(image.grid, info.grid), info) for info in placed if image in placed]
    return [
        f"{info.path}: its georeference is {shift:.1f} pixels off that of {image.path}, "
        f"allowed are {SHIFT_TOLERANCE}. Warp both to one grid."
        for shift, info in shifts
        if shift > SHIFT_TOLERANCE
    ]


def _place_warnings(infos):
    """Names files at the photo's coordinates whose projection is another one."""
    image = infos["rgb"]
    return [
        f"{info.path}: its projection is not that of {image.path}, though the coordinates are. "
        "Is it the same place?"
        for info in infos.values()
        if not same_projection(info.grid.projection, image.grid.projection)
    ]


def _pixel_area(grid):
    """Returns the area of a pixel in square map units; 0 where the georeference gives none."""
    _, x_column, x_row, _, y_column, y_row = grid.geotransform
    area = abs(x_column * y_row - x_row * y_column)
    return area if np.isfinite(grid.geotransform).all() else 0.0


def _shift(grid, other):
    """Returns how far pixels lie apart on two grids: the largest of three corners, in pixels."""
    corners = np.array([(1, 0, 0), (1, grid.columns, 0), (1, 0, grid.rows)])
    place, other_place = (np.reshape(g.geotransform, (2, 3)).T for g in (grid, other))
    offsets = corners @ (other_place - place)  # map units
    return float(np.linalg.norm(offsets @ np.linalg.inv(place[1:]), axis=1).max())


def _gsd_problems(infos, record):
    if not record.gsd:
        return []
    return [
        f"{info.path}: its georeference gives {info.gsd:.3g} m per pixel, the record of "
        f"{record.name} says gsd = {record.gsd:.3g}. Correct the gsd or the file's projection "
        "(its unit, metres, feet or degrees, is taken into account)."
        for info in infos.values()
        if info.gsd and abs(info.gsd / record.gsd - 1) > GSD_TOLERANCE
    ]
