"""Polygons of vector files, such as the footprints of buildings, as label codes on a grid."""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal, ogr, osr

from datasets.rasters.grids import horizontal_system, new_dataset, same_projection
from datasets.rasters.reading import (
    Grid,
    check_result,
    describe_projection,
    gdal_errors,
    text_of,
)
from project.errors import UserError

ogr.UseExceptions()

# The driver by the ending of a file: no other one is asked, because many open what a file names.
FORMATS = {".geojson": "GeoJSON", ".json": "GeoJSON", ".gpkg": "GPKG", ".shp": "ESRI Shapefile"}
OTHER_FORMATS = (".kml", ".kmz", ".gml", ".fgb", ".dxf", ".tab", ".zip", ".parquet", ".topojson")
MOST_BYTES = 500_000_000  # of a GeoJSON, which has no index and is read as a whole
BROKEN = (
    "It may be damaged, incomplete (a Shapefile is .shp, .shx, .dbf and .prj together) or of "
    "another format than its name says: replace it, or save it as a GeoPackage."
)
POLYGONS = (ogr.wkbPolygon, ogr.wkbMultiPolygon, ogr.wkbCurvePolygon, ogr.wkbMultiSurface)
NUMBERS = (ogr.OFTInteger, ogr.OFTInteger64, ogr.OFTReal)
FARTHEST = 1e9  # units of a CRS; no place on earth has such a coordinate
PIECES = 64  # of the area's longer side: longer lines are divided before they are reprojected
LARGE = 20  # times that side: larger polygons are clipped, as projections hold near their centre


class VectorError(UserError):
    """A vector file that cannot be used as labels; says what was found and what to do."""


@dataclass(frozen=True)
class Polygons:
    """The polygons of an area, in the CRS of its grid and the order of the file.

    Attributes:
        shapes: each polygon as well-known binary.
        codes: int64 (polygons,), label code of each.
        bounds: float64 (polygons, 4): west, south, east, north.
        notes: texts for the user.
    """

    shapes: tuple[bytes, ...]
    codes: np.ndarray
    bounds: np.ndarray
    notes: tuple[str, ...] = ()


def is_vector(path: str | Path) -> bool:
    """Returns whether a file has the ending of a vector format."""
    return Path(path).suffix.lower() in (*FORMATS, *OTHER_FORMATS)


def vector_files(path: str | Path) -> list[str]:
    """Returns the paths of all files of a vector file, such as the four of a Shapefile.

    Raises:
        VectorError, RasterError: if it cannot be opened.
    """
    with _open_vector(path) as dataset:
        return sorted({str(path), *map(os.fsdecode, dataset.GetFileList() or [])})


def read_polygons(
    path: str | Path,
    grid: Grid,
    layer: str | None = None,
    attribute: str | None = None,
    highest: int = 65535,
) -> Polygons:
    """Reads the polygons that overlap a grid.

    Args:
        path: GeoJSON, GeoPackage or Shapefile.
        grid: north-up, with a projection.
        layer: name of the layer; None = the only one of polygons.
        attribute: name of the attribute that holds the label codes; None = every code is 1.
        highest: largest code that is possible.

    Raises:
        VectorError, RasterError: naming what is wrong with the file, or that no polygon overlaps
            the grid.
    """
    declared = _check_geojson(Path(path)) if _driver(path) == "GeoJSON" else True
    with _open_vector(path) as dataset:
        source = _find_layer(path, dataset, layer)
        field = None if attribute is None else _find_field(path, source, attribute)
        system, notes = _system_of(path, source, grid, declared)
        area = _Area.around(grid, system)
        found = []
        # GDAL's spatial filter would fail on rings that are not closed.
        for feature in source:
            shapes = _shapes(path, feature, area)
            if shapes:
                code = 1 if field is None else _code(path, feature, field, highest)
                found += [(shape, code, bounds) for shape, bounds in shapes]
        name = text_of(source.GetName())
    if not found:
        raise VectorError(
            f"{path}: no polygon of layer {name} overlaps the common area of the photo and the "
            f"heights; it was read in {describe_projection(system.ExportToWkt())}. Check the file "
            "and its coordinate reference system."
        )
    shapes, codes, bounds = zip(*found, strict=True)
    return Polygons(shapes, np.array(codes), np.array(bounds), notes)


def burn_polygons(polygons: Polygons, grid: Grid) -> np.ndarray:
    """Draws polygons on a grid.

    A pixel belongs to the polygon that contains its centre (GDAL's rule); where several do, to the
    last of them.

    Args:
        polygons: in the projection of the grid, codes up to 65535.
        grid: north-up.

    Returns:
        uint16 (rows, columns, 1), label codes; 0 outside all polygons.
    """
    west, south, east, north = _bounds(grid)
    bounds = polygons.bounds
    near = (bounds[:, 0] < east) & (bounds[:, 2] > west)
    near &= (bounds[:, 1] < north) & (bounds[:, 3] > south)
    with gdal_errors("polygons", "burn in", "Repair the geometries."):
        # Without a CRS on both sides, GDAL takes the coordinates as they are.
        place = Grid(grid.rows, grid.columns, grid.geotransform, "")
        raster = new_dataset("MEM", "", place, kind=gdal.GDT_UInt16)
        driver = gdal.GetDriverByName("Memory") or gdal.GetDriverByName("MEM")  # from GDAL 3.11 on
        memory = driver.Create("", 0, 0, 0, gdal.GDT_Unknown)
        layer = memory.CreateLayer("polygons", None, ogr.wkbPolygon)
        layer.CreateField(ogr.FieldDefn("code", ogr.OFTInteger))
        for index in np.flatnonzero(near):
            feature = ogr.Feature(layer.GetLayerDefn())
            feature.SetField("code", int(polygons.codes[index]))
            feature.SetGeometry(ogr.CreateGeometryFromWkb(polygons.shapes[index]))
            layer.CreateFeature(feature)
        gdal.RasterizeLayer(raster, [1], layer, options=["ATTRIBUTE=code"])
        return check_result(raster.ReadAsArray())[..., None]


@dataclass(frozen=True)
class _Area:
    """Where polygons are wanted; bounds are west, south, east, north.

    Attributes:
        bounds: in the projection of the grid.
        own_bounds: those that contain them in the CRS of the file.
        to_grid: transformation from the CRS of the file; None = they are the same.
    """

    bounds: tuple[float, ...]
    own_bounds: tuple[float, ...]
    to_grid: osr.CoordinateTransformation | None

    @classmethod
    def around(cls, grid: Grid, system: osr.SpatialReference) -> "_Area":
        """Returns the area of a grid, for polygons in a CRS."""
        bounds = _bounds(grid)
        if same_projection(system.ExportToWkt(), grid.projection):
            return cls(bounds, bounds, None)
        target = horizontal_system(grid.projection)
        for one in (system, target):
            one.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)  # x is east
        there = osr.CoordinateTransformation(target, system).TransformBounds(*bounds, 21)
        if there[0] > there[2]:  # across 180 degrees
            there = (-180.0, there[1], 180.0, there[3])
        margin = 0.01 * max(there[2] - there[0], there[3] - there[1])  # sides curve between points
        own_bounds = _widened(there, margin)
        return cls(bounds, own_bounds, osr.CoordinateTransformation(system, target))


def _bounds(grid):
    """Returns west, south, east, north of a north-up grid."""
    left, x_step, _, top, _, y_step = grid.geotransform
    return left, top + grid.rows * y_step, left + grid.columns * x_step, top


def _driver(path):
    """Returns GDAL's name of the format of a vector file."""
    driver = FORMATS.get(Path(path).suffix.lower())
    if driver is None:
        raise VectorError(
            f"{path}: a vector format that is not read, expected GeoJSON (.geojson, .json), "
            "GeoPackage (.gpkg) or Shapefile (.shp). Convert it, for instance with "
            "ogr2ogr labels.gpkg <file>."
        )
    return driver


@contextlib.contextmanager
def _open_vector(path: str | Path) -> Iterator[gdal.Dataset]:
    """Opens a vector file for the `with` block, in which GDAL's errors become `RasterError`."""
    driver = _driver(path)
    options = []
    if driver == "GPKG":
        options = ["IMMUTABLE=YES"]  # or SQLite may write files beside the data
        for end in ("-wal", "-journal"):  # which an immutable database is read without
            changes = Path(f"{path}{end}")
            if changes.is_file() and changes.stat().st_size:
                raise VectorError(
                    f"{path} has changes that are not saved yet ({changes.name}). Close the "
                    "program that has it open, such as QGIS, and run this again."
                )
    with gdal_errors(path, "read", BROKEN):
        yield gdal.OpenEx(
            str(Path(path).absolute()), gdal.OF_VECTOR, [driver], open_options=options
        )


def _check_geojson(path: Path) -> bool:
    """Checks a GeoJSON before GDAL reads it; returns whether it declares a CRS.

    A CRS can be a link, as it was allowed until 2016, which GDAL would download.
    """
    if path.stat().st_size > MOST_BYTES:
        raise VectorError(
            f"{path} has {path.stat().st_size / 1e6:,.0f} MB, expected at most "
            f"{MOST_BYTES / 1e6:,.0f} MB of a GeoJSON. Convert it with "
            "ogr2ogr labels.gpkg <file>, which is also read faster."
        )
    systems = []

    def types_of(members):
        systems.extend(value for name, value in members if name.lower() == "crs" and value)
        return [value for name, value in members if name.lower() == "type"]  # all that is needed

    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
        json.loads(text, object_pairs_hook=types_of)
    except (ValueError, RecursionError) as error:
        raise VectorError(f"{path} is not a GeoJSON ({error}). Replace it.") from None
    for system in systems:
        if isinstance(system, list) and not all(kind in ("name", "EPSG") for kind in system):
            raise VectorError(
                f"{path}: its CRS is a link to another place. Write the file again with "
                "ogr2ogr -a_srs EPSG:<number>."
            )
    return bool(systems)


def _find_layer(path, dataset, name):
    """Returns the layer of a name, or the only one of polygons."""
    layers = [dataset.GetLayer(i) for i in range(dataset.GetLayerCount())]
    kinds = {text_of(layer.GetName()): ogr.GT_Flatten(layer.GetGeomType()) for layer in layers}
    shown = ", ".join(f"{n} ({ogr.GeometryTypeToName(kind)})" for n, kind in kinds.items())
    usable = [n for n, kind in kinds.items() if kind in (*POLYGONS, ogr.wkbUnknown)]
    wanted = usable if name is None else [n for n in usable if n == name]
    if len(wanted) > 1:
        raise VectorError(
            f"{path} has {len(wanted)} layers of polygons: {', '.join(wanted)}. Choose one with "
            f"--label_layer, such as --label_layer={wanted[0]}."
        )
    if name is not None and name not in kinds:
        raise VectorError(
            f"{path} has no layer of the name {name}. Its layers: {shown or 'none'}. Give one of "
            "them as --label_layer."
        )
    if not wanted:
        asked = "" if name is None else f" of the name {name}"
        raise VectorError(
            f"{path} has no layer of polygons{asked}. Its layers: {shown or 'none'}. Lines and "
            "points have no area to burn in: give the outlines as polygons."
        )
    if _driver(path) == "GPKG" and wanted[0] in _views(path):
        raise VectorError(
            f"{path}: layer {wanted[0]} is a view, a query that need not come to an end. Save it "
            f"as a layer of its own, for instance with ogr2ogr labels.gpkg <file> {wanted[0]}."
        )
    return layers[list(kinds).index(wanted[0])]


def _views(path):
    """Returns the names of the views of a GeoPackage."""
    # Not with GDAL's SQL, which crashes in a process that has loaded TensorFlow and its SQLite.
    address = f"{Path(path).absolute().as_uri()}?immutable=1"
    query = "SELECT name FROM sqlite_master WHERE type = 'view'"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
            return [name for (name,) in database.execute(query)]
    except sqlite3.Error as error:
        raise VectorError(f"{path} is damaged ({error}). {BROKEN}") from None


def _find_field(path, layer, attribute):
    """Returns the number of an attribute of label codes."""
    fields = layer.schema
    names = [text_of(field.GetName()) for field in fields]
    if attribute not in names or fields[names.index(attribute)].GetType() not in NUMBERS:
        found = "is not of numbers" if attribute in names else "is not there"
        pairs = zip(names, fields, strict=True)
        shown = ", ".join(f"{name} ({field.GetTypeName()})" for name, field in pairs)
        raise VectorError(
            f"{path}: the attribute {attribute} {found}. label_attribute names one with a whole "
            f"number for each class. Attributes: {shown or 'none'}."
        )
    return names.index(attribute)


def _code(path, feature, field, highest):
    """Returns the label code of a feature."""
    value = feature.GetField(field)
    if value is None or not float(value).is_integer() or not 0 <= value <= highest:
        name = text_of(feature.GetFieldDefnRef(field).GetName())
        raise VectorError(
            f"{path}: the attribute {name} of feature {feature.GetFID()} is "
            f"{'empty' if value is None else format(value, '.12g')}, expected a whole number from "
            f"0 to {highest}. Correct it, leave the feature out, or name another attribute."
        )
    return int(value)


def _system_of(path, layer, grid, declared):
    """Returns the CRS of a layer without its vertical part, and notes.

    Args:
        path, layer: the file and its layer.
        grid: of the area.
        declared: whether the file declares its CRS; a GeoJSON without is in degrees (RFC 7946).
    """
    system = layer.GetSpatialRef()
    known = system is not None and (system.IsProjected() or system.IsGeographic())
    if not known or text_of(system.GetName()).startswith("Undefined"):
        raise VectorError(
            f"{path}: layer {text_of(layer.GetName())} has no coordinate reference system of the "
            "earth. Add the one it was made in, for instance with ogr2ogr -a_srs EPSG:<number> "
            "labels.gpkg <file>; a Shapefile may lack its .prj."
        )
    _, _, south, north = (0, 0, 0, 0) if declared else layer.GetExtent()
    if max(-south, north) > 90:
        note = (
            f"warning: {path} declares no CRS and its coordinates are not degrees; they are taken "
            f"for those of the tiles ({describe_projection(grid.projection)})"
        )
        return horizontal_system(grid.projection), (note,)
    return horizontal_system(text_of(system.ExportToWkt())), ()


def _shapes(path, feature, area):
    """Returns (WKB, bounds) of the polygons of a feature that overlap an area, in its CRS."""
    geometry = feature.GetGeometryRef()
    if geometry is None or geometry.IsEmpty() or not _overlap(_envelope(geometry), area.own_bounds):
        return []
    geometry = geometry.GetLinearGeometry()  # circular arcs become lines
    geometry.FlattenTo2D()
    geometry.CloseRings()
    if geometry.GetGeometryType() not in (ogr.wkbPolygon, ogr.wkbMultiPolygon):
        raise VectorError(
            f"{path}: feature {feature.GetFID()} is a {geometry.GetGeometryName()}, expected a "
            "polygon. Leave out what is not, for instance with ogr2ogr -where "
            "\"OGR_GEOMETRY LIKE '%POLYGON'\" labels.gpkg <file>."
        )
    _check_coordinates(path, feature, geometry)
    if area.to_grid:
        geometry = _reprojected(path, feature, geometry, area)
        _check_coordinates(path, feature, geometry)
    shapes = ((bytes(part.ExportToWkb()), _envelope(part)) for part in _parts(geometry))
    return [shape for shape in shapes if _overlap(shape[1], area.bounds)]


def _parts(geometry):
    """Yields the polygons that a geometry consists of."""
    if geometry.GetGeometryType() == ogr.wkbPolygon:
        yield geometry
    else:
        for part in geometry:  # none of a line or a point
            yield from _parts(part)


def _check_coordinates(path, feature, geometry):
    """Raises VectorError for coordinates that no place on earth has."""
    for part in _parts(geometry):
        for ring in part:
            corners = np.array(ring.GetPoints() or [(0, 0)])
            if not np.all(np.abs(corners) < FARTHEST):
                raise VectorError(
                    f"{path}: feature {feature.GetFID()} has the corner "
                    f"{corners[np.abs(corners).argmax() // 2].tolist()}, which is not on earth. "
                    "Correct it or leave it out."
                )


def _reprojected(path, feature, geometry, area):
    """Returns a geometry in the CRS of an area, without what lies far from it."""
    west, south, east, north = area.own_bounds
    side = max(east - west, north - south)
    x_low, y_low, x_high, y_high = _envelope(geometry)
    with gdal_errors(
        f"{path}, feature {feature.GetFID()}",
        "reproject",
        "Clip the file to the area of the photo, for instance with ogr2ogr -clipsrc.",
    ):
        if max(x_high - x_low, y_high - y_low) > LARGE * side:
            geometry = geometry.MakeValid().Intersection(_rectangle(area.own_bounds, side))
        geometry.Segmentize(side / PIECES)  # straight lines bend on the way
        geometry.Transform(area.to_grid)
    return geometry


def _rectangle(bounds, margin):
    """Returns bounds, widened by a margin, as a polygon."""
    west, south, east, north = _widened(bounds, margin)
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    text = ", ".join(f"{x!r} {y!r}" for x, y in corners)
    return ogr.CreateGeometryFromWkt(f"POLYGON (({text}))")


def _widened(bounds, margin):
    """Returns bounds that reach further by a margin."""
    west, south, east, north = bounds
    return west - margin, south - margin, east + margin, north + margin


def _envelope(geometry):
    """Returns west, south, east, north of a geometry."""
    west, east, south, north = geometry.GetEnvelope()
    return west, south, east, north


def _overlap(first, second):
    """Returns whether bounds overlap; those that are not numbers count as doing so."""
    outside = first[0] >= second[2] or first[2] <= second[0]
    return not (outside or first[1] >= second[3] or first[3] <= second[1])
