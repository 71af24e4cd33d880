"""What predict.py tells people of a scene."""

GSD_TOLERANCE = 0.05  # share of the training's gsd


def gsd_notes(photo, gsd, match_gsd):
    """Returns notes on place and pixel size.

    Args:
        photo: `datasets.rasters.photos.Photo`, resampled if `match_gsd`.
        gsd: float, metres per pixel of the training.
        match_gsd: bool.

    Returns:
        list of str.
    """
    grid = photo.grid
    notes = [] if grid.projection else ["no CRS; the heights will have none either"]
    if photo.sides is None:
        return [*notes, f"the network has learned at {gsd:.3g} m per pixel"]
    if match_gsd:
        return [
            f"resampled to {gsd:.3g} m per pixel, {grid.rows} x {grid.columns} pixels; the heights "
            "are on that grid"
        ]
    if any(abs(side / gsd - 1) > GSD_TOLERANCE for side in photo.sides):
        notes.append(
            f"warning: the network has learned at {gsd:.3g} m per pixel. Heights may be wrong by "
            "that ratio; --match_gsd=true resamples the scene."
        )
    return notes


def describe_sides(sides):
    """Returns the size of a pixel for people: both sides where it is not square."""
    if sides is None:
        return "gsd not known"
    if abs(sides[0] / sides[1] - 1) > GSD_TOLERANCE:
        return f"{sides[0]:.3g} m (along a row) x {sides[1]:.3g} m per pixel"
    return f"{sum(sides) / 2:.3g} m per pixel"


def duration(seconds):
    """Returns a duration for people."""
    units = ((5400, 3600, "hours"), (90, 60, "minutes"), (0, 1, "seconds"))
    size, unit = next((size, unit) for least, size, unit in units if seconds >= least)
    return f"{seconds / size:.1f} {unit}"
