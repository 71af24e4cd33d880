"""Footprints in the COCO format, drawn as labels.

https://cocodataset.org/#format-data; run-length codes as in the COCO API
(https://github.com/cocodataset/cocoapi, common/maskApi.c).
"""

import json
from collections import defaultdict
from pathlib import PurePosixPath

import numpy as np
from matplotlib.path import Path

from datasets.prepare.tile_files import PrepareError


def read_footprints(file):
    """Reads the footprints of all images.

    Args:
        file: `datasets.prepare.sources.SourceFile` of a JSON file.

    Returns:
        dict of an image's stem to the list of its segmentations: lists of polygons
        [x, y, x, y, ...] in pixels, or run-length codes {"size", "counts"}.

    Raises:
        PrepareError: if the file is not of that format.
    """
    try:
        content = json.loads(file.read_bytes())
        names = {i["id"]: PurePosixPath(i["file_name"]).stem for i in content["images"]}
        found = defaultdict(list, {name: [] for name in names.values()})
        for annotation in content["annotations"]:
            found[names[annotation["image_id"]]].append(annotation["segmentation"])
    except (ValueError, KeyError, TypeError) as error:
        raise PrepareError(
            f"{file.path} has no footprints in the COCO format ({error!r}). Download it again."
        ) from None
    return dict(found)


def draw_footprints(segmentations, rows, columns):
    """Draws footprints.

    Args:
        segmentations: as `read_footprints` returns for an image.
        rows, columns: of the image.

    Returns:
        uint8 (rows, columns, 1): 1 in a footprint, else 0.

    Raises:
        PrepareError: if a run-length code is of another size.
    """
    labels = np.zeros((rows, columns), "uint8")
    for segmentation in segmentations:
        if isinstance(segmentation, dict):
            labels |= _decode(segmentation, rows, columns)
            continue
        for polygon in segmentation:
            _fill(labels, np.array(polygon, "float64").reshape(-1, 2))
    return labels[..., None]


def _fill(labels, corners):
    """Sets 1 where the centre of a pixel lies in a polygon of corners (x, y)."""
    rows, columns = labels.shape
    first = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (columns, rows))
    last = np.clip(np.ceil(corners.max(axis=0)).astype(int), first, (columns, rows))
    y, x = np.mgrid[first[1] : last[1], first[0] : last[0]] + 0.5  # COCO: a pixel begins at 0
    inside = Path(corners).contains_points(np.stack([x.ravel(), y.ravel()], axis=1))
    labels[first[1] : last[1], first[0] : last[0]] |= inside.reshape(x.shape).astype("uint8")


def _decode(code, rows, columns):
    """Returns uint8 (rows, columns) of a run-length code, which runs down the columns."""
    counts = code["counts"]
    runs = _run_lengths(counts) if isinstance(counts, str) else counts
    if list(code["size"]) != [rows, columns] or sum(runs) != rows * columns:
        raise PrepareError(
            f"a footprint is coded for {code['size']} and {sum(runs)} pixels, but its image has "
            f"{rows} x {columns} (rows x columns). Download the footprints again."
        )
    values = np.arange(len(runs), dtype="uint8") % 2  # runs of 0 and of 1 in turn
    return np.repeat(values, runs).reshape(columns, rows).T


def _run_lengths(text):
    """Returns the run lengths of COCO's text form: five bits a character, differences later on."""
    runs = []
    value = shift = 0
    for character in text.encode():
        bits = character - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:  # more characters of this number follow
            continue
        if bits & 16:  # negative
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
