"""Files of heights as metres, whatever their tags, units and vertical systems say."""

import functools
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from osgeo import gdal, osr

from datasets.rasters.masks import pixel_bands
from datasets.rasters.reading import RasterError, open_raster, read_bands, read_info, text_of

METRES = {  # in a unit, by its letters in lower case
    **dict.fromkeys(["m", "metre", "metres", "meter", "meters"], 1.0),
    **dict.fromkeys(["dm", "decimetre", "decimetres", "decimeter", "decimeters"], 0.1),
    **dict.fromkeys(["cm", "centimetre", "centimetres", "centimeter", "centimeters"], 0.01),
    **dict.fromkeys(["mm", "millimetre", "millimetres", "millimeter", "millimeters"], 0.001),
}
FEET = {  # metres in a foot, by the letters beside "foot", "feet" or "ft"
    **dict.fromkeys(["", "international", "intl", "int", "i"], 0.3048),
    **dict.fromkeys(["us", "ussurvey", "survey", "s"], 1200 / 3937),
}
NO_RASTERS = (".aux.xml", ".msk", ".ovr", ".tfw", ".wld", ".prj")  # beside a raster
SAME = 1e-5  # share by which two scales may differ; the two feet differ by 2e-6


@dataclass(frozen=True)
class HeightUnits:
    """How a file stores heights: metres = stored x scale + offset.

    Attributes:
        scale: metres per stored unit.
        offset: metres.
        note: a text for the user if the file declares anything; "" if not, or plain metres.
    """

    scale: float
    offset: float = 0.0
    note: str = ""

    def metres(self, stored: np.ndarray) -> np.ndarray:
        """Returns float64 metres of stored heights of any type."""
        return stored.astype("float64") * self.scale + self.offset


def height_units(path: str | Path, height_scale: float | None = None) -> HeightUnits:
    """Returns how a file stores heights.

    GDAL's Scale and Offset tags come first, then the unit of the band or of a vertical CRS.

    Args:
        path: of a local file that GDAL can open.
        height_scale: metres per stored unit as the user says; None = as the file says, which is
            metres if it says nothing.

    Raises:
        RasterError: if the file cannot be opened, declares a unit that is not known or two that
            differ, or contradicts `height_scale`.
    """
    # GDAL takes milliseconds to find the CRS of a file, which training would pay for every window.
    changes = tuple(_changed(f"{path}{end}") for end in ("", ".aux.xml"))
    return _read_units(str(path), height_scale, changes)


@functools.lru_cache(4096)
def _read_units(path, height_scale, changes):
    """Returns the `HeightUnits` of a file that was changed at certain times."""
    with open_raster(path) as dataset:
        return _units(path, dataset, height_scale)


def _changed(path):
    """Returns when a file was changed, or None if there is none, as in a zip file."""
    return os.stat(path).st_mtime_ns if os.path.exists(path) else None


def read_heights(
    path: str | Path,
    window: tuple[int, int, int, int],
    height_scale: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a window of a file of heights.

    Args:
        path: of a local file with one band besides alpha.
        window: (row, column, rows, columns).
        height_scale: as for `height_units`.

    Returns:
        (metres, valid): float32 (rows, columns), of any value where not valid; bool (rows,
        columns), see `datasets.rasters.reading.read_window`.

    Raises:
        RasterError: as `height_units` and `datasets.rasters.reading.read_window` do, or if there
            are several bands.
    """
    row, column, rows, columns = window
    units = height_units(path, height_scale)
    with open_raster(path, "read") as dataset:
        numbers = pixel_bands(dataset)
        if len(numbers) != 1:
            raise RasterError(
                f"{path}: {len(numbers)} bands (alpha not counted), expected 1 of heights. Convert "
                "the file, for instance with gdal_translate -b."
            )
        stored, valid = read_bands(dataset, (column, row, columns, rows), numbers)
    return to_metres(stored[..., 0], units), valid


def to_metres(stored: np.ndarray, units: HeightUnits) -> np.ndarray:
    """Returns float32 metres of stored heights; the largest float32 for what it cannot hold."""
    if not units.offset and stored.dtype != np.float64:
        with np.errstate(over="ignore", invalid="ignore"):  # nodata values may be huge
            metres = stored.astype("float32") * np.float32(units.scale)
    else:
        metres = units.metres(stored)
    most = np.finfo("float32").max
    return metres.clip(-most, most).astype("float32")


def vertical_datum(path: str | Path) -> str | None:
    """Returns the name of the declared vertical datum, or None if none is declared.

    Heights above an ellipsoid, as in a three-dimensional CRS, are named after its datum.

    Raises:
        RasterError: if the file cannot be opened.
    """
    projection = read_info(path).grid.projection
    if not projection:
        return None
    system = osr.SpatialReference(projection)
    if system.GetAxesCount() == 3 and not system.IsCompound():
        return f"ellipsoid of {system.GetAttrValue('DATUM')}"
    return system.GetAttrValue("VERT_CS|VERT_DATUM") or system.GetAttrValue("VERT_CS")


def _units(path, dataset, height_scale):
    """Returns the `HeightUnits` of an open dataset."""
    band = dataset.GetRasterBand((pixel_bands(dataset) or [1])[0])
    scale, offset = _tags(path, band)
    unit, name = _declared_unit(path, dataset, band, height_scale)
    declared = _declared(scale, offset, unit, name)
    note = f"heights have {declared}, converted to metres" if declared else ""
    found = HeightUnits(scale * unit, offset * unit, note)
    if height_scale is None or math.isclose(found.scale, height_scale, rel_tol=SAME):
        return found
    if declared:
        raise RasterError(
            f"{path} declares that heights have {declared}, but height_scale is {height_scale:g}. "
            "Leave height_scale out, or correct what the file declares, for instance with "
            f"gdal_edit.py {_right_tags(scale, offset, unit)} {Path(path).name}"
        )
    # A unit of metres says nothing of the factor: it is what heights have after a scale.
    said = f"the unit {name} is taken for that of stored heights x height_scale {height_scale:g}"
    return HeightUnits(height_scale, note=said if name else "")


def _tags(path: str | Path, band: gdal.Band) -> tuple[float, float]:
    """Returns the Scale and Offset tags of a band; 1 and 0 without them."""
    scale, offset = band.GetScale(), band.GetOffset()
    scale, offset = 1.0 if scale is None else scale, 0.0 if offset is None else offset
    if not (math.isfinite(scale) and math.isfinite(offset) and scale > 0):
        raise RasterError(
            f"{path}: its tags say Scale {scale:g} and Offset {offset:g}, expected a number above "
            "0 and a number. Correct them, for instance with gdal_edit.py -scale 1 -offset 0."
        )
    return scale, offset


def _declared_unit(path, dataset, band, height_scale):
    """Returns (metres, name) of the declared unit of heights; (1, "") if there is none."""
    name = text_of(band.GetUnitType()).strip() or _unit_of_sources(path, dataset)
    of_band = _metres_of(name)
    of_system = _unit_of_system(text_of(dataset.GetProjection()))
    if height_scale is not None and (
        (name and of_band is None)
        or (of_band and of_system and not math.isclose(of_band, of_system, rel_tol=SAME))
    ):
        return 1.0, ""  # what the user says decides
    if name and of_band is None:
        raise RasterError(
            f'{path}: heights are in the unit "{name}", which is not known. Say how many metres '
            "one stored unit has: height_scale = <metres> in dataset.toml, or "
            "--height_scale=<metres> for prepare."
        )
    if of_band and of_system and not math.isclose(of_band, of_system, rel_tol=SAME):
        raise RasterError(
            f'{path}: the band is in the unit "{name}", but the vertical CRS in units of '
            f"{of_system:.6g} m. Say which one is right: height_scale = <metres per stored "
            "unit> in dataset.toml, or --height_scale=<metres> for prepare."
        )
    metres = of_band or of_system
    return (metres, name or "of the vertical CRS") if metres else (1.0, "")


def _unit_of_sources(path, dataset):
    """Returns the unit of the rasters that a VRT names, which tools leave out of it; "" = none.

    Raises:
        RasterError: if they have several.
    """
    if dataset.GetDriver().ShortName != "VRT":
        return ""
    parts = sorted({os.fsdecode(part) for part in dataset.GetFileList() or []} - {str(path)})
    units = {}
    for part in [part for part in parts if not part.lower().endswith(NO_RASTERS)]:
        with open_raster(part) as source:
            name = text_of(source.GetRasterBand(1).GetUnitType()).strip()
            units[name or _unit_of_sources(part, source)] = part
    if len({_metres_of(name) or name for name in units}) > 1:
        shown = ", ".join(f'{part}: "{name or "none"}"' for name, part in units.items())
        raise RasterError(
            f"{path}: its parts have different units of height ({shown}). Bring them to one unit, "
            "for instance with gdal_calc.py."
        )
    return next(iter(units), "")


def _metres_of(unit):
    """Returns the metres in a unit by its name, whatever its case and separators; None = unknown.

    Examples: "m", "[m]", "US survey foot", "us-ft", "Foot_US", "feet (international)".
    """
    letters = "".join(letter for letter in unit.lower() if letter.isalnum())
    for word in ("foot", "feet", "ft"):
        if word in letters:
            return FEET.get(letters.replace(word, "", 1))
    return METRES.get(letters)


def _unit_of_system(wkt: str) -> float | None:
    """Returns metres per unit of the vertical axis of a CRS, or None if it has none."""
    if not wkt:
        return None
    system = osr.SpatialReference(wkt)
    if system.GetAxesCount() != 3:
        return None
    axis = _axes(json.loads(system.ExportToPROJJSON()))[-1]
    unit = axis.get("unit", "metre")
    return float(unit["conversion_factor"]) if isinstance(unit, dict) else _metres_of(unit)


def _axes(crs: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the axes of a CRS in PROJJSON, those of the parts of a compound one in order."""
    if "components" in crs:
        return [axis for part in crs["components"] for axis in _axes(part)]
    if "coordinate_system" in crs:
        return crs["coordinate_system"]["axis"]
    return _axes(crs["source_crs"])  # of a CRS bound to a transformation


def _declared(scale, offset, unit, name):
    """Returns what a file declares beyond plain metres, in words; "" if nothing."""
    tags = [f"Scale {scale:g}"] * (scale != 1) + [f"Offset {offset:g}"] * (offset != 0)
    of_unit = [f"the unit {name} ({unit:.7g} m)"] * (unit != 1)
    return " in ".join([*[" and ".join(tags)][: len(tags)], *of_unit])


def _right_tags(scale, offset, unit):
    """Returns the options of gdal_edit.py that remove what contradicts."""
    tags = "-scale 1 -offset 0" if (scale, offset) != (1, 0) else ""
    return " ".join(filter(None, [tags, "-units m" if unit != 1 else ""]))
