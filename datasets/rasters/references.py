"""Checks of a file before GDAL reads its pixels: what it refers to, and whether it holds them.

GDAL opens whatever a virtual raster (VRT) or the description of a map service names, including
network addresses. Both are texts and may have any file name. So this module looks at the content of
a file, and of the masks and overviews beside it, before GDAL opens them. Files of formats that are
not in `datasets.rasters.reading.DRIVERS` are never opened. Files that cannot hold the pixels of
their header are refused, because GDAL may search for these for hours.
"""

import itertools
import math
import os
import re
import stat
from pathlib import Path

import numpy as np
from osgeo import gdal

from datasets.rasters.grids import has_pixel_size
from datasets.rasters.reading import RasterError, open_raster

HEAD_BYTES = 4096  # GDAL looks for a VRT in the first 1024
MOST_NESTED = 8  # depth of VRTs that name VRTs
MOST_BLOCK = 2**30  # bytes; GDAL keeps no larger one, and would decode it for every row
MOST_FOLDERS = 3  # that a note names
SIDE_FILES = (".msk", ".MSK", ".ovr", ".OVR")  # rasters beside the file that GDAL opens with it
ELEMENT, TEXT, ATTRIBUTE = 0, 1, 2  # of gdal.ParseXMLString
SPACE = np.isin(np.arange(256), list(b" \t\n\v\f\r"))  # by byte, as in isspace of C
BLOCK_BYTES = 2**22
GRID_KEYS = (  # of the header of an ASCII grid, each before its value
    "ncols nrows xllcorner yllcorner xllcenter yllcenter cellsize dx dy nodata_value".split()
)
# Pixels that a byte of a file can hold at most, by format. Others may leave empty parts out.
MOST_PIXELS = {
    "BMP": 255 / 2,  # a run length and its value
    "JPEG": 8 * 64,  # a bit for each block of 8 x 8
    "PNG": 8 * 1032,  # a bit each; 1032:1 is the limit of deflate, see zlib.net/zlib_tech.html
}


def check_references(path: str | Path, folder: str | Path, nested: int = 0) -> list[str]:
    """Checks that a raster file can hold its pixels and names only files of its data set.

    The user's links are followed. A VRT may name files in the folder of the data set or in its
    own; it must be a plain mosaic, because other kinds name files in many ways.

    Args:
        path: the file.
        folder: that of the data set.
        nested: number of VRTs that led here.

    Returns:
        The paths of the files that a VRT is made of; [] for other files.

    Raises:
        RasterError: naming the file and what it refers to.
    """
    if "<" in str(path):
        raise RasterError(
            f"{path}: a name that GDAL would take for a description. Rename the file."
        )
    head, sources = _head(Path(path)), []
    if "<VRTDataset" in head:
        for source in dict.fromkeys(_sources(Path(path), nested)):
            _check_source(path, source, folder)
            sources += check_references(source, folder, nested + 1) or [source]
    elif head.lstrip("\ufeff \t\r\n").startswith(("<", "{")):
        raise RasterError(
            f"{path}: a text (XML or JSON) without pixels, such as a style, vector data or the "
            "description of a map service; only rasters are read. Remove it, or save the pixels "
            "that it describes with gdal_translate and use that file."
        )
    for side in (f"{path}{ending}" for ending in SIDE_FILES):
        if os.path.lexists(side):
            check_references(side, folder, nested)
    _check_header(path)
    return sources


def check_named_file(path: str | Path) -> list[str]:
    """Checks a raster that the user names, whose VRT may name files anywhere on this machine.

    Large mosaics are kept where there is space. Networks and archives are refused as in a data set.

    Returns:
        At most one text, which says in which other folders the files of a VRT are.

    Raises:
        RasterError: of `check_references`.
    """
    here = Path(path).resolve()
    parents = [
        Path(os.path.abspath(source)).parent for source in check_references(path, here.anchor)
    ]
    folders = [str(folder) for folder in dict.fromkeys(parents) if folder != here.parent]
    count = f"{len(parents)} file{'s' * (len(parents) > 1)}"
    return [f"its pixels come from {count} in {_joined(folders)}"] if folders else []


def _joined(folders):
    """Joins the first folders with commas."""
    more = f" and {len(folders) - MOST_FOLDERS} more folders" if len(folders) > MOST_FOLDERS else ""
    return ", ".join(folders[:MOST_FOLDERS]) + more


def _head(path):
    """Returns the beginning of a regular file as text, up to the first zero byte."""
    try:
        # Opening a pipe could block forever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise RasterError(f"{path}: not a regular file, expected a raster. Replace it.")
        with path.open("rb") as file:
            return file.read(HEAD_BYTES).split(b"\0")[0].decode("utf-8", "replace")
    except OSError as error:
        raise RasterError(
            f"{path}: the file cannot be opened ({error.strerror}). Correct its permissions or "
            "its link, or replace it."
        ) from None


def _sources(path, nested):
    """Returns the paths, or addresses, of the files that a VRT names."""
    try:
        text = path.read_bytes().split(b"\0")[0].decode("utf-8")
        # GDAL's own parser, because GDAL would open what another parser overlooks.
        items = list(_items(gdal.ParseXMLString(text)))
    except (RuntimeError, ValueError) as error:
        raise RasterError(f"{path}: a damaged VRT ({error}). Replace it.") from None
    kinds = {text for name, text, _ in items if name == "subclass"} - {"VRTSourcedRasterBand"}
    if kinds or nested >= MOST_NESTED:
        kind = ", ".join(sorted(kinds)) or f"more than {MOST_NESTED} VRTs in one another"
        raise RasterError(
            f"{path}: a VRT with {kind}; only plain mosaics are read. Save its pixels with "
            "gdal_translate and use that file."
        )
    # As in GDAL, a name counts from the file that a link leads to, or from the working folder.
    return [
        text if relative == "0" or _is_address(text) else str(path.resolve().parent / text)
        for name, text, relative in items
        if name == "sourcefilename"
    ]


def _items(node):
    """Yields (name, text, relativeToVRT) of elements and attributes, which GDAL treats alike."""
    name, children = node[1].lower(), node[2:]
    values = {child[1].lower(): child[2][1] for child in children if child[0] == ATTRIBUTE}
    for child in children:
        if child[0] == TEXT:
            yield name, child[1], values.get("relativetovrt", "0")
        elif child[0] in (ELEMENT, ATTRIBUTE):
            yield from _items(child)


def _check_source(path, source, folder):
    """Raises RasterError if a source of a VRT is an address or lies outside the data set."""
    places = (os.path.abspath(folder), os.path.realpath(folder), Path(path).resolve().parent)
    inside = any(Path(os.path.abspath(source)).is_relative_to(place) for place in places)
    if _is_address(source):
        raise RasterError(
            f"{path}: a VRT that points to {source}, on a network or in an archive. Put a copy of "
            "the file beside the VRT and name that."
        )
    if not inside:
        raise RasterError(
            f"{path}: a VRT that points to {source}, outside the data set. Put a copy or a link of "
            "the file into the folder of the data set and name that."
        )


def _check_header(path):
    """Raises RasterError for a header that cannot be right, or that names a file of overviews."""
    with open_raster(path) as dataset:
        place = dataset.GetGeoTransform(can_return_null=True)
        elsewhere = dataset.GetMetadataItem("OVERVIEW_FILE", "OVERVIEWS")
        rows, columns = dataset.RasterYSize, dataset.RasterXSize
        kind, block = dataset.GetDriver().ShortName, _block_bytes(dataset)
    if elsewhere:
        raise RasterError(
            f"{path}: its overviews are in {elsewhere}. Remove {Path(path).name}.aux.xml, "
            "or save its pixels with gdal_translate and use that file."
        )
    if place is not None and not has_pixel_size(place):
        raise RasterError(
            f"{path}: its georeference gives pixels no size: {place}. Correct it, for instance "
            "with gdal_edit.py -a_ullr <left> <top> <right> <bottom>, or remove it."
        )
    if block > MOST_BLOCK:
        raise RasterError(
            f"{path}: its pixels can only be read {block / 2**30:.1f} GiB at a time, at most "
            f"{MOST_BLOCK // 2**30} are possible. Rewrite it, for instance with "
            "gdal_translate -co TILED=YES."
        )
    size = os.path.getsize(path)
    if kind == "AAIGrid":
        most = _count_values(path)
    else:
        most = size * MOST_PIXELS.get(kind, math.inf)
    if rows * columns > most:
        raise RasterError(
            f"{path}: the file is smaller than its header says: {rows} x {columns} pixels (rows x "
            f"columns) are not in its {size} bytes. It is incomplete or damaged: replace it."
        )


def _block_bytes(dataset):
    """Returns how many bytes GDAL decodes for a single pixel."""
    band = dataset.GetRasterBand(1)
    columns, rows = band.GetBlockSize()
    together = dataset.GetMetadataItem("INTERLEAVE", "IMAGE_STRUCTURE") == "PIXEL"
    bands = dataset.RasterCount if together else 1
    return columns * rows * bands * gdal.GetDataTypeSize(band.DataType) // 8


def _count_values(path):
    """Returns how many values an ASCII grid has, up to the first zero byte, where GDAL stops.

    GDAL takes the last pixel for 0 if only that is missing. With each row that is missing it
    searches twice as long.
    """
    words, last = 0, b" "
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            block, zero, _ = block.partition(b"\0")
            is_space = SPACE[np.frombuffer(last + block, "uint8")]
            words += np.count_nonzero(~is_space[1:] & is_space[:-1])
            if zero:
                break
            last = block[-1:]
    head = _head(Path(path)).lower().split()
    keys = itertools.takewhile(GRID_KEYS.__contains__, head[::2])
    return words - 2 * len(list(keys))


def _is_address(text):
    """Returns whether GDAL takes a name for an address, or for anything but a file."""
    return "<" in text or text.startswith("/vsi") or bool(re.match(r"\w{2,}:", text))
