"""The report of `check_data` as text."""

from datasets.checks.validation import LOWEST

EDGES = (-1, 1, 3, 6, 10, 15, 20, 30, 40, 60, 100)  # metres, of the histogram's lines


def report_text(record, inspections, suspicions):
    """Writes the report of a data set.

    Args:
        record: `datasets.records.record.Record`.
        inspections: sequence of `datasets.checks.inspection.SplitInspection`.
        suspicions: list of texts on the data set as a whole.

    Returns:
        str of several lines without a final line break.
    """
    columns = [_lines(inspection.facts) for inspection in inspections]
    labels = dict.fromkeys(label for column in columns for label in column)
    rows = [["", *(inspection.split for inspection in inspections)]]
    rows += [[label, *(column.get(label, "-") for column in columns)] for label in labels]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    parts = [f"{record.name} ({record.folder})", "", *(_aligned(row, widths) for row in rows)]
    crs = {text: None for inspection in inspections for text in inspection.facts["crs"]}
    parts += ["", f"CRS: {'; '.join(crs) or 'none'}"]
    strange = [text for inspection in inspections for text in inspection.suspicions] + suspicions
    parts += _listed("Suspicious, but usable", strange)
    for inspection in inspections:
        parts += _listed(f"Not usable in the {inspection.split} split", inspection.problems)
    return "\n".join(parts)


def verdict_text(inspections):
    """Returns the last line of the report."""
    count = sum(len(inspection.problems) for inspection in inspections)
    if not count:
        return "The data set is usable."
    return f"The data set is NOT usable: {count} problem{'' if count == 1 else 's'}, listed above."


def _lines(facts):
    """Returns dict of label to text of one split."""
    lines = {
        "tiles": str(facts["tiles"]),
        "usable tiles": str(facts["usable_tiles"]),
        "tiles with labels": str(facts["labelled_tiles"]),
        "rows x columns": _kinds(facts["sizes"]),
    }
    lines |= {f"type of {kind}": _kinds(kinds) for kind, kinds in facts["dtypes"].items()}
    lines["GSD"] = "-" if facts["gsd"] is None else f"{facts['gsd']:.2f} m"
    lines["GSD of the files"] = _range(facts["gsd_of_files"])
    if facts["pixels"]:
        lines["no data"] = f"{facts['nodata_share']:.1%}"
        lines["no photo"] = f"{facts['photo_nodata_share']:.1%}"
        lines["labelled"] = f"{facts['labelled_share']:.1%}"
        counts, shares = facts["class_counts"], facts["class_shares"]
        lines |= {f"  {name}": f"{shares[name]:.1%} ({n:,})" for name, n in counts.items()}
        lines |= _height_lines(facts) if facts["histogram"] else {}
        lines["edges fit best at"] = _offset(facts["offset"])
    return lines


def _height_lines(facts):
    """Returns dict of label to text on the heights of a split."""
    lines = {
        "heights": f"{facts['lowest']:.2f} to {facts['highest']:.2f} m",
        "mean height": f"{facts['mean']:.2f} m",
    }
    first, pixels = facts["histogram"]["from"], facts["histogram"]["pixels"]
    starts = range(first, first + len(pixels))
    for low, high in zip((int(LOWEST), *EDGES), (*EDGES, None), strict=True):
        inside = (n for at, n in zip(starts, pixels, strict=True) if _is_between(at, low, high))
        if high is None:
            label = f"  from {low} m"
        else:
            label = f"  below {high} m" if low == LOWEST else f"  {low} to {high} m"
        lines[label] = f"{sum(inside) / facts['valid_pixels']:.1%}"
    return lines


def _is_between(value, low, high):
    return low <= value and (high is None or value < high)


def _kinds(counts):
    """Writes dict of kind to number: the number only where there are several kinds."""
    if len(counts) > 3:
        return f"{len(counts)} kinds"
    return ", ".join(k if len(counts) == 1 else f"{k} ({n})" for k, n in counts.items()) or "-"


def _range(limits):
    """Writes lowest and highest gsd, metres."""
    texts = dict.fromkeys(f"{limit:.2f}" for limit in limits or ())
    return f"{' to '.join(texts)} m" if texts else "-"


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
