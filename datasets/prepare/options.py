"""Values of the command line of datasets.prepare, checked as they are read."""

import argparse
import math
from pathlib import Path

from datasets.prepare.sources import SourceFile, mark_files
from datasets.prepare.tile_files import PrepareError
from datasets.rasters.reading import file_list
from datasets.rasters.references import check_references


def positive(text):
    """Reads a number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def pixels(text):
    """Reads a whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return value


def tile_size(text):
    """Reads a whole number above 0, or "whole", which gives None."""
    return None if text == "whole" else pixels(text)


def whole_number(text):
    """Reads a whole number from 0 up."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 up")
    return value


def yes_or_no(text):
    """Reads true or false."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text} is neither true nor false")
    return text.lower() == "true"


def share(text):
    """Reads a share from 0 up to, not including, 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share from 0 up to 1 (not included)")
    return value


def shares(text):
    """Reads three numbers with commas between them, such as 0.7,0.15,0.15."""
    values = tuple(float(part) for part in text.split(","))
    if len(values) != 3:
        raise argparse.ArgumentTypeError(f"{text} is not three shares: train,valid,test")
    return values


def band_numbers(text):
    """Reads three band numbers with commas between them, such as 1,2,3."""
    values = tuple(int(part) for part in text.split(","))
    if len(values) != 3:
        raise argparse.ArgumentTypeError(f"{text} is not three bands: red,green,blue")
    return values


def codes(text):
    """Reads label codes with commas between them; colours are written 0_0_255."""
    parts = [tuple(int(number) for number in part.split("_")) for part in text.split(",")]
    if any(len(part) not in (1, 3) for part in parts):
        raise argparse.ArgumentTypeError(f"{text} is not codes such as 6,17 or 0_0_255")
    return tuple(part if len(part) == 3 else part[0] for part in parts)


def check_file(path):
    """Checks that a file that the user names is there, and that GDAL may open it.

    What a VRT names may lie anywhere on this machine: the user names it, and large mosaics are
    kept where there is space. Networks and formats that name files in other ways are refused.

    Raises:
        PrepareError: if it is missing.
        RasterError: if it is no raster, or names something else than local files.
    """
    path = Path(path)
    if not path.is_file():
        raise PrepareError(f"{path} is not a file. Check the path.")
    check_references(path, path.resolve().anchor)


def file_mark(path):
    """Returns what identifies a raster from run to run, wherever it lies."""
    parts = [SourceFile(Path(part).name, part) for part in file_list(path)]
    stat = Path(path).stat()
    mark = {"file": Path(path).name, "bytes": stat.st_size, "modified": stat.st_mtime_ns}
    return mark | ({"parts": mark_files(parts)} if len(parts) > 1 else {})
