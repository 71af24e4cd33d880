"""Label codes of the files to class indices."""

import numpy as np

from datasets.records.record import Record
from project.errors import UserError

UNKNOWN = -2  # index of a code that is neither a class nor ignored


class LabelError(UserError):
    """Labels that do not fit the record of their data set."""


def label_bands(record: Record) -> int:
    """Returns the number of bands of label files: 3 if codes are colours, else 1."""
    return 3 if record.classes and isinstance(record.classes[0].code, tuple) else 1


def class_indices(pixels: np.ndarray, valid: np.ndarray, record: Record) -> np.ndarray:
    """Turns label codes into class indices.

    Args:
        pixels: (rows, columns, bands), label codes: 1 band, or 3 if the codes are colours.
        valid: bool (rows, columns); False = the labels have no data there.
        record: of the data set, whose classes give the codes.

    Returns:
        int32 (rows, columns): 0..K-1 in the order of the record's classes, -1 = ignore.

    Raises:
        LabelError: if a valid pixel has a code that the record does not name, or the number
            of bands does not fit the codes.
    """
    if pixels.shape[2] != label_bands(record):
        raise LabelError(
            f"labels have {counted(pixels.shape[2], 'band')}, but the codes of {record.name} need "
            f"{label_bands(record)}. Correct the files or the codes of classes."
        )
    table = {code: i for i, label in enumerate(record.classes) for code in label.codes}
    table.update(dict.fromkeys(record.ignore_codes, -1))
    indices = _look_up(pixels, table)
    unknown = valid & (indices == UNKNOWN)
    if unknown.any():
        raise LabelError(_unknown_codes(pixels[unknown], table))
    return np.where(valid, indices, np.int32(-1))


def _look_up(pixels, table):
    """Returns int32 (rows, columns): the index that the table gives for each code, or UNKNOWN."""
    known = _numbers(np.array(list(table)).reshape(len(table), -1))
    indices = np.array(list(table.values()), "int32")
    if pixels.dtype == np.uint8 and pixels.shape[2] == 1:  # much faster than a search
        every = np.full(256, UNKNOWN, "int32")
        is_byte = (known >= 0) & (known < 256)
        every[known[is_byte]] = indices[is_byte]
        return every[pixels[..., 0]]
    codes, order = _numbers(pixels), np.argsort(known)
    position = order[np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)]
    return np.where(known[position] == codes, indices[position], np.int32(UNKNOWN))


def _numbers(codes):
    """Returns one number for each code, whose bands are the last axis."""
    if codes.shape[-1] == 1:
        return codes[..., 0]
    red, green, blue = np.moveaxis(codes.astype("int64"), -1, 0)
    return (red << 16) + (green << 8) + blue


def _unknown_codes(pixels, table):
    """Returns the message for the codes (pixels, bands) that the table does not have."""
    codes, counts = np.unique(pixels, axis=0, return_counts=True)
    found = [
        f"{tuple(code) if len(code) > 1 else code[0]} ({counted(count, 'pixel')})"
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
    ]
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    return (
        f"unknown label codes: {', '.join(found[:10])}{more}. Known codes: "
        f"{', '.join(map(str, table))}. Correct the labels, or add the codes to classes or "
        "ignore_codes."
    )


def counted(number: int, noun: str) -> str:
    """Returns "1 band", "2 bands" and so on."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
