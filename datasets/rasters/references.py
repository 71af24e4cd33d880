"""Checks that a raster file refers to nothing outside its data set and nothing on a network.

GDAL opens whatever a virtual raster (VRT) or the description of a map service names, including
network addresses. Both are texts and may have any file name. So this module looks at the content of
a file, and of the masks and overviews beside it, before GDAL opens them. Files of formats that are
not in `datasets.rasters.reading.DRIVERS` are never opened.
"""

import os
import re
import stat
from pathlib import Path

from osgeo import gdal

from datasets.rasters.reading import RasterError, open_raster

HEAD_BYTES = 4096  # GDAL looks for a VRT in the first 1024
MOST_NESTED = 8  # depth of VRTs that name VRTs
SIDE_FILES = (".msk", ".MSK", ".ovr", ".OVR")  # rasters beside the file that GDAL opens with it
ELEMENT, TEXT, ATTRIBUTE = 0, 1, 2  # of gdal.ParseXMLString


def check_references(path: str | Path, folder: str | Path, nested: int = 0) -> None:
    """Checks that a raster file can be read and names only files of its data set.

    The user's links are followed. A VRT may name files in the folder of the data set or in its
    own; it must be a plain mosaic, because other kinds name files in many ways.

    Args:
        path: the file.
        folder: that of the data set.
        nested: number of VRTs that led here.

    Raises:
        RasterError: naming the file and what it refers to.
    """
    if "<" in str(path):
        raise RasterError(
            f"{path}: a name that GDAL would take for a description. Rename the file."
        )
    head = _head(Path(path))
    if "<VRTDataset" in head:
        for source in _sources(Path(path), nested):
            _check_source(path, source, folder)
            check_references(source, folder, nested + 1)
    elif head.lstrip("\ufeff \t\r\n").startswith(("<", "{")):
        raise RasterError(
            f"{path}: a text that describes a raster kept elsewhere, such as a map service; only "
            "files with pixels are read. Save the pixels with gdal_translate and use that file."
        )
    for side in (f"{path}{ending}" for ending in SIDE_FILES):
        if os.path.lexists(side):
            check_references(side, folder, nested)
    _check_overviews(path)


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
    if _is_address(source) or not inside:
        where = "on a network or in an archive" if _is_address(source) else "outside the data set"
        raise RasterError(
            f"{path}: a VRT that points to {source}, {where}. Put a copy or a link of the file "
            "into the folder of the data set and name that."
        )


def _check_overviews(path):
    """Raises RasterError if the file declares that its overviews are in another one."""
    with open_raster(path) as dataset:
        elsewhere = dataset.GetMetadataItem("OVERVIEW_FILE", "OVERVIEWS")
    if elsewhere:
        raise RasterError(
            f"{path}: its overviews are in {elsewhere}. Remove {Path(path).name}.aux.xml, "
            "or save its pixels with gdal_translate and use that file."
        )


def _is_address(text):
    """Returns whether GDAL takes a name for an address, or for anything but a file."""
    return "<" in text or text.startswith("/vsi") or bool(re.match(r"\w{2,}:", text))
