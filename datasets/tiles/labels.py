"""Label codes of the files to class indices."""

import numpy as np

from project.errors import UserError

UNKNOWN = -2  # of a code that is neither a class nor ignored


class LabelError(UserError):
    """Labels that do not fit the record of their data set."""


def label_bands(record):
    """Returns how many bands label files have: 3 where codes are colours, else 1."""
    codes = [label.code for label in record.classes]
    return 3 if codes and isinstance(codes[0], tuple) else 1


def class_indices(pixels, valid, record):
    """Turns label codes into class indices.

    Args:
        pixels: array (rows, columns, bands) of label codes: 1 band, or 3 where the codes are
            colours.
        valid: bool array (rows, columns); False = the labels have no data there.
        record: `datasets.records.record.Record`, whose classes give the codes.

    Returns:
        int32 (rows, columns): 0..K-1 in the order of the record's classes, -1 = ignore.

    Raises:
        LabelError: if a valid pixel has a code that the record does not name, or the number
            of bands does not fit the codes.
    """
    if pixels.shape[2] != label_bands(record):
        raise LabelError(
            f"labels have {_count(pixels.shape[2], 'band')}, but the codes of {record.name} need "
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
    """Returns int32 (rows, columns): what the table gives for each code; UNKNOWN = nothing."""
    if pixels.dtype == np.uint8 and pixels.shape[2] == 1:
        every = np.full(256, UNKNOWN, "int32")
        for code, index in table.items():
            if 0 <= code < 256:
                every[code] = index
        return every[pixels[..., 0]]
    codes = _numbers(pixels)
    known = np.array(sorted(_number(code) for code in table))
    indices = np.array([table[code] for code in sorted(table, key=_number)], "int32")
    position = np.searchsorted(known, codes).clip(max=len(known) - 1)
    return np.where(known[position] == codes, indices[position], np.int32(UNKNOWN))


def _numbers(pixels):
    """Returns (rows, columns) with one number for each code."""
    if pixels.shape[2] == 1:
        return pixels[..., 0]
    red, green, blue = np.moveaxis(pixels.astype("int64"), -1, 0)
    return (red << 16) + (green << 8) + blue


def _number(code):
    """Returns a code of the record as one number, as `_numbers` does."""
    return code if isinstance(code, int) else (code[0] << 16) + (code[1] << 8) + code[2]


def _unknown_codes(pixels, table):
    """Returns the message for label codes that the record does not have.

    Args:
        pixels: array (pixels, bands) of the unknown codes.
        table: dict with the known codes as keys.
    """
    codes, counts = np.unique(pixels, axis=0, return_counts=True)
    found = [
        f"{_code_text(code)} ({_count(count, 'pixel')})"
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
    ]
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    return (
        f"unknown label codes: {', '.join(found[:10])}{more}. Known codes: "
        f"{', '.join(_code_text(code) for code in table)}. Correct the labels, or add the codes "
        "to classes or ignore_codes."
    )


def _code_text(code):
    """Writes a code as 6 or (0, 0, 255)."""
    if isinstance(code, list) and len(code) == 1:
        code = code[0]
    return str(tuple(code)) if isinstance(code, list) else str(code)


def _count(number, what):
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
