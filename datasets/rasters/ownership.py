"""Whose a raster is: a file that this project has not written is never replaced."""

import os
from pathlib import Path

from datasets.rasters.reading import RasterError
from datasets.rasters.writing import read_tags
from project.version import SOFTWARE

TAGS = ("TIFFTAG_SOFTWARE", "Software")  # as GDAL calls it in a GeoTIFF and in a PNG
# What GDAL takes for a part of a raster: statistics and the like, overviews, a mask.
DERIVED, MASK = (".aux.xml", ".ovr"), ".msk"


def check_replaceable(path: Path) -> None:
    """Checks that a raster may be written: it is absent or empty, or this project's own.

    A file of another raster that has outlived it and would be taken for a part of the new one is
    refused, too. Programs that show rasters write statistics and overviews beside them; those of
    an own raster go with it (`remove_derived`), but never a mask.

    Raises:
        RasterError: naming what is in the way.
    """
    own = written_by_project(path)
    if os.path.lexists(path) and not own and not (path.is_file() and not path.stat().st_size):
        raise RasterError(
            f"{path} is there already and was not written by this project, so it is not replaced. "
            "Move it away, or give another name."
        )
    for ending in (MASK,) if own else (MASK, *DERIVED):
        side = side_file(path, ending)
        if os.path.lexists(side):
            raise RasterError(
                f"{side} is there already and would be taken for a part of {path.name}. Move it "
                "away, or give another name."
            )


def written_by_project(path: Path) -> bool:
    """Returns whether a raster carries the tag of this project."""
    try:
        tags = read_tags(path) if path.is_file() else {}
    except RasterError:
        return False
    return any(str(tags.get(name)).startswith(SOFTWARE) for name in TAGS)


def remove_derived(path: Path) -> list[Path]:
    """Removes what programs have derived from an own raster that is about to be replaced."""
    sides = [side_file(path, ending) for ending in DERIVED]
    there = [side for side in sides if side.is_file()]
    for side in there:
        side.unlink()
    return there


def side_file(path: Path, ending: str) -> Path:
    """Returns the path of a file that GDAL takes for a part of a raster."""
    return path.with_name(path.name + ending)
