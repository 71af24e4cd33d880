"""What is strange about the files of a split as a whole, though they can be used."""

import numpy as np

from datasets.rasters.reading import RasterError, read_info, read_window
from datasets.rasters.references import check_references
from datasets.tiles.folders import unused_labels

MOST_CODES = 10  # of unused labels that are named
MOST_PIXELS = 2_000_000  # that are read for them


def split_warnings(record, split, reports):
    """Lists what is strange about a split as a whole.

    Args:
        record: `datasets.records.record.Record`.
        split: "train", "valid" or "test".
        reports: sequence of the `datasets.checks.validation.TileReport`s of the split.

    Returns:
        list of texts that name files.
    """
    return _scale_warnings(record, reports) + _label_warnings(record, split)


def _scale_warnings(record, reports):
    """Names heights of floats that are scaled: most are metres already."""
    infos = [r.infos[kind] for kind in ("dsm", "dem") for r in reports if kind in r.infos]
    scaled = [info for info in infos if info.dtype.startswith("float") and record.height_scale != 1]
    more = f" and {len(scaled) - 1} more" if len(scaled) > 1 else ""
    return [
        f"{info.path}{more}: heights are {info.dtype} and height_scale is "
        f"{record.height_scale:g}. Are they not in metres already?"
        for info in scaled[:1]
    ]


def _label_warnings(record, split):
    """Names label files that count for nothing, with some of their codes."""
    paths = unused_labels(record, split)
    return [
        f"{path.parent}: {len(paths)} label files are not used, since no classes are listed "
        f"({_codes_text(path, record)}). List their codes as [[classes]] in dataset.toml, or "
        "remove the folder."
        for path in paths[:1]
    ]


def _codes_text(path, record):
    """Names the first codes in the upper part of a label file."""
    try:
        check_references(path, record.folder)
        grid = read_info(path).grid
        rows = min(grid.rows, max(1, MOST_PIXELS // grid.columns))
        pixels, valid = read_window(path, 0, 0, rows, grid.columns)
    except RasterError as error:
        return str(error)
    codes = [tuple(code) for code in np.unique(pixels[valid], axis=0)[:MOST_CODES].tolist()]
    texts = [str(code[0] if len(code) == 1 else code) for code in codes]
    return f"codes {', '.join(texts)} in {path.name}"
