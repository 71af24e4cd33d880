"""The report of `check_data`: text on the terminal, check.json and contact_sheet.png."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from datasets.checks import inspection as inspections
from datasets.checks.inspection import Drawing, Inspection
from datasets.checks.tile_statistics import LOWEST
from datasets.records.record import Record
from project.drawing import NODATA, add_legend, png_bytes, shortened
from project.files import write_bytes, write_json
from project.palette import class_colours

EDGES = (-1, 1, 3, 6, 10, 15, 20, 30, 40, 60, 100)  # metres, of the histogram's lines
# Of the contact sheet:
ACROSS = 4  # tiles side by side, at most
INCHES = 1.3  # of a panel
TITLES = {"unusable": "tab:red", "suspicious": "tab:orange", "": "black"}  # the worst first
SCALE = Normalize(0.0, 30.0)  # metres, of the heights' colours
BAR_INCHES = 0.9  # width of the part with the colour bar
LETTERS = 34  # of a title
DPI = 110


def report_text(record: Record, inspection: Inspection) -> str:
    """Returns the report on a data set: several lines without a final line break."""
    splits = inspection.splits
    columns = [_lines(split.facts) for split in splits]
    labels = dict.fromkeys(label for column in columns for label in column)
    rows = [["", *(split.split for split in splits)]]
    rows += [[label, *(column.get(label, "-") for column in columns)] for label in labels]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    parts = [f"{record.name} ({record.folder})", "", *(_aligned(row, widths) for row in rows)]
    crs = dict.fromkeys(text for split in splits for text in split.facts["crs"])
    parts += ["", f"CRS: {'; '.join(crs) or 'none'}"]
    suspicions = [text for split in splits for text in split.suspicions] + inspection.suspicions
    parts += _listed("Converted", [text for split in splits for text in split.notes])
    parts += _listed("Suspicious, but usable", suspicions)
    for split in splits:
        parts += _listed(f"Not usable in the {split.split} split", split.problems)
    return "\n".join(parts)


def verdict_text(inspection: Inspection) -> str:
    """Returns the last line of the report."""
    count = inspection.problem_count
    if not count:
        return "The data set is usable."
    return f"The data set is NOT usable: {count} problem{'' if count == 1 else 's'}, listed above."


def write_report(
    folder: Path, record: Record, inspection: Inspection, more: Mapping[str, Any]
) -> None:
    """Writes check.json and contact_sheet.png.

    Args:
        folder: is made if it is absent.
        record: of the data set.
        inspection: of the data set.
        more: further entries of check.json.
    """
    splits = inspection.splits
    report = {
        "name": record.name,
        "folder": record.folder,
        "usable": not inspection.problem_count,
        "problems": {split.split: split.problems for split in splits},
        "suspicions": {split.split: split.suspicions for split in splits}
        | {"data set": inspection.suspicions},
        "notes": {split.split: split.notes for split in splits},
        "duplicates": inspection.duplicates,
        "overlaps": inspection.overlaps,
        "splits": {split.split: split.facts for split in splits},
        "tiles": {split.split: split.tiles for split in splits},
        **more,
    }
    write_json(folder / "check.json", report)
    drawings = [drawing for split in splits for drawing in split.drawings]
    chosen = choose_drawings(drawings, inspections.MOST_DRAWN)
    sheet = contact_sheet(chosen, record.class_names)
    write_bytes(folder / "contact_sheet.png", png_bytes(sheet, DPI))


def choose_drawings(drawings: Sequence[Drawing], most: int) -> list[Drawing]:
    """Chooses at most `most` tiles to draw: the worst first, then evenly spaced ones."""
    bad = sorted((d for d in drawings if d.verdict), key=lambda d: list(TITLES).index(d.verdict))
    bad = bad[:most]
    good = [drawing for drawing in drawings if not drawing.verdict]
    if room := min(most - len(bad), len(good)):
        bad += [good[i] for i in np.linspace(0, len(good) - 1, room).astype(int)]
    return bad


def contact_sheet(drawings: Sequence[Drawing], class_names: Sequence[str]) -> Figure:
    """Draws photo, heights (0 to 30 m) and classes of tiles; hatched where there is no data.

    Args:
        drawings: the tiles.
        class_names: of the data set, in the order of the class indices; () = no classes are drawn.
    """
    kinds = ("image", "heights", "classes") if class_names else ("image", "heights")
    across = max(1, min(ACROSS, len(drawings)))
    lines = max(1, -(-len(drawings) // across))
    width = across * len(kinds) * INCHES
    size = (width + BAR_INCHES, lines * (INCHES + 0.35))
    figure = Figure(figsize=size, layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(width, BAR_INCHES))
    parts = left.subfigures(lines, across, squeeze=False).flat
    for part, drawing in zip(parts, drawings, strict=False):
        part.suptitle(_title(drawing), fontsize=7, color=TITLES[drawing.verdict])
        for axis, kind in zip(part.subplots(1, len(kinds)), kinds, strict=True):
            axis.set_axis_off()
            _draw(axis, kind, drawing.thumbnail.get(kind), len(class_names))
    bar = right.colorbar(ScalarMappable(SCALE, "viridis"), cax=right.subplots(), extend="both")
    bar.set_label("height (m)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.ax.set_box_aspect(20)
    add_legend(figure, class_names, *_shown(drawings, kinds))
    return figure


def _shown(drawings, kinds):
    """Returns the set of class indices on the sheet, and whether there are pixels without data."""
    parts = {kind: [d.thumbnail[kind] for d in drawings if kind in d.thumbnail] for kind in kinds}
    indices = {int(index) for part in parts.get("classes", ()) for index in np.unique(part)}
    present = {index for index in indices if index >= 0}
    return present, present != indices or any(np.isnan(p).any() for p in parts["heights"])


def _lines(facts):
    """Returns dict of label to text for one split."""
    gsds = dict.fromkeys(f"{gsd:.2f}" for gsd in facts["gsd_of_files"] or ())
    return {
        "tiles": str(facts["tiles"]),
        "usable tiles": str(facts["usable_tiles"]),
        "tiles with labels": str(facts["labelled_tiles"]),
        "rows x columns": _kinds(facts["sizes"]),
        **{f"type of {kind}": _kinds(kinds) for kind, kinds in facts["dtypes"].items()},
        "GSD": "-" if facts["gsd"] is None else f"{facts['gsd']:.2f} m",
        "GSD of the files": f"{' to '.join(gsds)} m" if gsds else "-",
        **(_pixel_lines(facts) if facts["pixels"] else {}),
    }


def _pixel_lines(facts):
    """Returns dict of label to text for the pixels of a split."""
    counts, shares = facts["class_counts"], facts["class_shares"]
    return {
        "no data": f"{facts['nodata_share']:.1%}",
        "no photo": f"{facts['photo_nodata_share']:.1%}",
        "labelled": f"{facts['labelled_share']:.1%}",
        **{f"  {name}": f"{shares[name]:.1%} ({n:,})" for name, n in counts.items()},
        **(_height_lines(facts) if facts["histogram"] else {}),
        "edges match best at": _offset(facts["offset"]),
    }


def _height_lines(facts):
    """Returns dict of label to text for the heights of a split."""
    lines = {
        "heights": f"{facts['lowest']:.2f} to {facts['highest']:.2f} m",
        "mean height": f"{facts['mean']:.2f} m",
    }
    pixels = np.array(facts["histogram"]["pixels"])
    starts = facts["histogram"]["from"] + np.arange(len(pixels))  # metres, of the bins
    for low, high in itertools.pairwise((LOWEST, *EDGES, math.inf)):
        label = f"  {low} to {high} m"
        if low == LOWEST:
            label = f"  below {high} m"
        elif high == math.inf:
            label = f"  from {low} m"
        share = pixels[(low <= starts) & (starts < high)].sum() / facts["valid_pixels"]
        lines[label] = f"{share:.1%}"
    return lines


def _kinds(counts):
    """Writes dict of kind to number: the number only if there are several kinds."""
    if len(counts) > 3:
        return f"{len(counts)} kinds"
    return ", ".join(k if len(counts) == 1 else f"{k} ({n})" for k, n in counts.items()) or "-"


def _offset(offset):
    if offset is None:
        return "-"
    return f"{offset['rows']:+d}, {offset['columns']:+d} px ({offset['correlation']:.2f})"


def _aligned(cells, widths):
    """Joins cells to a line: the first to the left, the others to the right."""
    texts = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return "   ".join([cells[0].ljust(widths[0]), *texts]).rstrip()


def _listed(title, texts):
    return ["", f"{title}: {len(texts)}", *(f"  {text}" for text in texts)] if texts else []


def _title(drawing):
    return f"{shortened(drawing.name, LETTERS)} {drawing.verdict}".strip()


def _draw(axis: Axes, kind: str, pixels: np.ndarray | None, class_count: int) -> None:
    """Draws one panel; a text replaces what could not be read."""
    if pixels is None:
        axis.text(0.5, 0.5, "not read", ha="center", va="center", fontsize=7)
        return
    axis.add_patch(Rectangle((0, 0), 1, 1, transform=axis.transAxes, zorder=-1, **NODATA))
    if kind == "image":
        axis.imshow(pixels)
    elif kind == "heights":
        axis.imshow(pixels, cmap="viridis", norm=SCALE)
    else:
        style = {"vmin": -0.5, "vmax": class_count - 0.5, "interpolation": "nearest"}
        known = np.ma.masked_less(pixels, 0)
        axis.imshow(known, cmap=ListedColormap(class_colours(class_count)), **style)
