"""Footprints in the COCO format, drawn as labels.

https://cocodataset.org/#format-data; run-length codes as in the COCO API
(https://github.com/cocodataset/cocoapi, common/maskApi.c).
"""

from pathlib import PurePosixPath

import numpy as np
from matplotlib.path import Path

from datasets.prepare.sources import SourceFile
from datasets.prepare.tile_files import PrepareError
from project.files import parse_json

# Polygons [x, y, x, y, ...] in pixels, or a run-length code {"size": ..., "counts": ...}.
Segmentation = list[list[float]] | dict


def read_footprints(file: SourceFile) -> dict[str, list[Segmentation]]:
    """Reads the footprints of all images from a JSON file.

    Returns:
        The footprints of each image, by the stem of its file.

    Raises:
        PrepareError: if the file is not of that format.
    """
    try:
        content = parse_json(file.read_bytes())
        names = {i["id"]: PurePosixPath(i["file_name"]).stem for i in content["images"]}
        found: dict[str, list[Segmentation]] = {name: [] for name in names.values()}
        for annotation in content["annotations"]:
            found[names[annotation["image_id"]]].append(annotation["segmentation"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PrepareError(
            f"{file.path} has no footprints in the COCO format ({error!r}). Download it again."
        ) from None
    return found


def draw_footprints(segmentations: list[Segmentation], rows: int, columns: int) -> np.ndarray:
    """Draws the footprints of an image of that many rows and columns.

    Returns:
        uint8 (rows, columns, 1): 1 in a footprint, else 0.

    Raises:
        PrepareError: if a run-length code is of an image of another size.
    """
    labels = np.zeros((rows, columns), "uint8")
    for segmentation in segmentations:
        try:
            if isinstance(segmentation, dict):
                labels |= _decode(segmentation, rows, columns)
            else:
                for polygon in segmentation:
                    _fill(labels, _corners(polygon))
        except PrepareError:
            raise
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise PrepareError(
                f"a footprint is neither polygons nor a run-length code ({error}). Download the "
                "footprints again."
            ) from None
    return labels[..., None]


def _corners(polygon: list[float]) -> np.ndarray:
    """Returns float64 (corners, x and y); raises ValueError unless they are some finite numbers."""
    corners = np.array(polygon, "float64").reshape(-1, 2)
    if not corners.size or not np.isfinite(corners).all():
        raise ValueError("a polygon without corners, or with one that is not finite")
    return corners


def _fill(labels: np.ndarray, corners: np.ndarray) -> None:
    """Sets 1 where the centre of a pixel lies in a polygon of corners (x, y)."""
    rows, columns = labels.shape
    first = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (columns, rows))
    last = np.clip(np.ceil(corners.max(axis=0)).astype(int), first, (columns, rows))
    y, x = np.mgrid[first[1] : last[1], first[0] : last[0]] + 0.5  # COCO: a pixel begins at 0
    inside = Path(corners).contains_points(np.stack([x.ravel(), y.ravel()], axis=1))
    labels[first[1] : last[1], first[0] : last[0]] |= inside.reshape(x.shape).astype("uint8")


def _decode(code: dict, rows: int, columns: int) -> np.ndarray:
    """Returns uint8 (rows, columns) of a run-length code, which runs down the columns."""
    counts = code["counts"]
    runs = _run_lengths(counts) if isinstance(counts, str) else counts
    if list(code["size"]) != [rows, columns] or sum(runs) != rows * columns:
        raise PrepareError(
            f"a footprint has a size of {code['size']} and runs of {sum(runs)} pixels, but its "
            f"image has {rows} x {columns} (rows x columns). Download the footprints again."
        )
    values = np.arange(len(runs), dtype="uint8") % 2  # runs of 0 and of 1 in turn
    return np.repeat(values, runs).reshape(columns, rows).T


def _run_lengths(text: str) -> list[int]:
    """Returns the run lengths of COCO's text form.

    Each character holds five bits of a number. From the fourth number on, they are differences to
    the last run but one.
    """
    runs: list[int] = []
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
