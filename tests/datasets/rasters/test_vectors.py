import json
import re
import sqlite3

import numpy as np
import pytest
from osgeo import gdal, ogr, osr

from datasets.rasters.reading import Grid, read_info
from datasets.rasters.vectors import burn_polygons, read_polygons, vector_files
from project.errors import UserError

UTM, DEGREES = "EPSG:32632", "EPSG:4326"
LEFT, TOP = 500000.0, 5400000.0  # at 9 degrees east, in UTM zone 32 north
DRIVERS = {"json": "GeoJSON", "geojson": "GeoJSON", "gpkg": "GPKG", "shp": "ESRI Shapefile"}
FIELDS = {int: ogr.OFTInteger64, float: ogr.OFTReal, str: ogr.OFTString}


def system(name):
    found = osr.SpatialReference()
    found.SetFromUserInput(name)
    found.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return found


def grid(size=20, step=1.0):
    corner = (LEFT, step, 0.0, TOP, 0.0, -step)
    return Grid(size, size, corner, system(UTM).ExportToWkt())


def box(column, row, columns, rows):
    """Returns the corners of a rectangle, in pixels of the grid of 1 m."""
    west, north = LEFT + column, TOP - row
    east, south = west + columns, north - rows
    return [(west, north), (east, north), (east, south), (west, south), (west, north)]


def wkt(*rings):
    texts = (", ".join(f"{x!r} {y!r}" for x, y in ring) for ring in rings)
    return "POLYGON (" + ", ".join(f"({text})" for text in texts) + ")"


def write(path, *shapes, crs=UTM, layer="footprints", values=None, kind=ogr.wkbUnknown):
    """Adds a layer of shapes, WKT in UTM, to a file; returns its path.

    values: attribute to one value for each shape, whose type is that of the first.
    """
    new = not path.exists()
    driver = gdal.GetDriverByName(DRIVERS[path.suffix[1:]])
    file = driver.Create(str(path), 0, 0, 0) if new else gdal.OpenEx(str(path), gdal.OF_UPDATE)
    target = system(crs) if crs else None
    # TensorFlow, which other tests load, brings an SQLite that cannot make spatial indices.
    options = ["SPATIAL_INDEX=NO"] if path.suffix == ".gpkg" else []
    table = file.CreateLayer(layer, target, kind, options)
    for name, column in (values or {}).items():
        table.CreateField(ogr.FieldDefn(name, FIELDS[type(column[0])]))
    for index, text in enumerate(shapes):
        feature = ogr.Feature(table.GetLayerDefn())
        shape = ogr.CreateGeometryFromWkt(text)
        if crs not in (UTM, None):
            shape.Transform(osr.CoordinateTransformation(system(UTM), target))
        feature.SetGeometry(shape)
        for name, column in (values or {}).items():
            if column[index] is not None:
                feature.SetField(name, column[index])
        table.CreateFeature(feature)
    return path


def write_text(path, *coordinates, kind="Polygon", **members):
    """Writes a GeoJSON as text, with coordinates as they are."""
    shapes = [{"type": kind, "coordinates": each} for each in coordinates]
    features = [{"type": "Feature", "properties": {}, "geometry": shape} for shape in shapes]
    path.write_text(json.dumps({"type": "FeatureCollection", **members, "features": features}))
    return path


def burn(path, size=20, step=1.0, **options):
    place = grid(size, step)
    return burn_polygons(read_polygons(path, place, **options), place)[..., 0]


@pytest.mark.parametrize("crs", [UTM, DEGREES, "EPSG:3857"])
@pytest.mark.parametrize("name", ["a.geojson", "a.gpkg", "a.shp"])
def test_a_polygon_covers_the_pixels_whose_centres_it_holds(tmp_path, name, crs):
    # Columns 2.6 to 9.7 hold the centres 3.5 to 9.5, rows 4.4 to 7.4 the centres 4.5 to 6.5.
    path = write(tmp_path / name, wkt(box(2.6, 4.4, 7.1, 3.0)), crs=crs)
    codes = burn(path)
    assert codes.dtype == "uint16"
    assert codes.sum() == 7 * 3 and codes[4:7, 3:10].all()


def test_codes_come_from_an_attribute_and_the_last_polygon_counts(tmp_path):
    shapes = wkt(box(0, 0, 10, 10)), wkt(box(5, 5, 10, 10)), wkt(box(90, 0, 5, 5))
    values = {"name": ["a", "b", "c"], "class": [6.0, 65534.0, -1.0]}  # the last lies outside
    codes = burn(write(tmp_path / "a.shp", *shapes, values=values), attribute="class")
    assert {code: (codes == code).sum() for code in np.unique(codes)} == {
        0: 400 - 175,
        6: 75,
        65534: 100,
    }


def test_holes_and_parts_are_drawn_and_damaged_shapes_do_no_harm(tmp_path):
    holed = wkt(box(0, 0, 10, 10), box(2, 2, 3, 4))
    parts = (
        "MULTI"
        + wkt(box(12, 0, 4, 4)).replace("((", "(((").replace("))", ")),")
        + ("((" + wkt(box(14, 2, 4, 4)).partition("((")[2] + ")")
    )
    crossed = wkt([(LEFT, TOP - 20), (LEFT + 6, TOP - 14), (LEFT + 6, TOP - 20), (LEFT, TOP - 14)])
    flat = wkt([(LEFT + 15, TOP - 15), (LEFT + 18, TOP - 15)])
    for crs, name in ((UTM, "a.geojson"), (DEGREES, "b.geojson")):
        path = write(tmp_path / name, holed, parts, crossed, flat, "POLYGON EMPTY", crs=crs)
        codes = burn(path)
        assert codes[:10, :10].sum() == 100 - 3 * 4 and not codes[2:6, 2:5].any()
        assert codes[:6, 12:18].sum() == 16 + 16 - 4  # parts that overlap count once
        # Two triangles, left and right of the middle: 6 + 4 + 2 centres each, those on edges apart.
        assert 12 <= codes[14:, :6].sum() <= 24 and codes[16:18, [0, 5]].all()
        assert codes.sum() == codes[:10, :10].sum() + codes[:6, 12:18].sum() + codes[14:, :6].sum()


def test_long_edges_follow_the_parallel(tmp_path):
    # From 8 to 10 degrees a straight line in UTM is up to 470 m from the parallel: a pixel.
    path = write_text(
        tmp_path / "a.geojson", [[[8, 48.67], [10, 48.67], [10, 49], [8, 49], [8, 48.67]]]
    )
    codes = burn(path, 40, 500.0)
    x, y = np.meshgrid(LEFT + 250 + 500.0 * np.arange(40), TOP - 250 - 500.0 * np.arange(40))
    move = osr.CoordinateTransformation(system(UTM), system(DEGREES))
    points = move.TransformPoints(np.stack([x.ravel(), y.ravel()], 1).tolist())
    expected = np.array(points)[:, 1].reshape(40, 40) > 48.67
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(codes, expected)


@pytest.mark.parametrize("east", [180, 9.00008])
def test_a_polygon_around_the_world_covers_what_lies_in_it(tmp_path, east):
    # No UTM zone holds its corners. At 48.75 degrees north, 0.00008 degrees are 5.9 m. It lacks
    # the last corner, which is the first one again.
    ring = [[-180, -89], [east, -89], [east, 89], [-180, 89]]
    codes = burn(write_text(tmp_path / "a.geojson", [ring]))
    assert codes.all() if east == 180 else (codes == (np.arange(20) < 6)).all()


def test_the_layer_of_polygons_is_found_or_chosen(tmp_path):
    path = write(tmp_path / "a.gpkg", f"POINT ({LEFT} {TOP})", layer="trees", kind=ogr.wkbPoint)
    write(path, wkt(box(0, 0, 2, 2)), layer="houses", kind=ogr.wkbMultiPolygon)
    assert burn(path).sum() == 4
    write(path, wkt(box(0, 0, 3, 3)), layer="land", kind=ogr.wkbPolygon)
    with pytest.raises(UserError, match="2 layers of polygons: houses, land.*--label_layer"):
        burn(path)
    assert burn(path, layer="land").sum() == 9
    with pytest.raises(UserError, match=r"no layer of polygons of the name trees.*trees \(Point\)"):
        burn(path, layer="trees")
    with pytest.raises(UserError, match=r"no layer of the name x\. Its layers: trees .*Give one"):
        burn(path, layer="x")


def test_metres_without_a_crs_are_those_of_the_tiles(tmp_path):
    ring = [list(corner) for corner in box(0, 0, 2, 3)]
    path = write_text(tmp_path / "a.geojson", [ring])
    polygons = read_polygons(path, grid())
    assert burn_polygons(polygons, grid()).sum() == 6
    assert re.search("declares no CRS .* not degrees.*EPSG:32632", polygons.notes[0])
    degrees = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    with pytest.raises(UserError, match="overlaps the common area.*EPSG:4326|OGC:CRS84"):
        burn(write_text(path, [ring], crs=degrees))


def test_all_files_of_a_shapefile_are_named(tmp_path):
    path = write(tmp_path / "a.shp", wkt(box(0, 0, 2, 2)), values={"code": [1]})
    names = sorted(file.rpartition("/")[2] for file in vector_files(path))
    assert names == ["a.dbf", "a.prj", "a.shp", "a.shx"]


def test_nothing_is_written_beside_a_geopackage(tmp_path):
    path = write(tmp_path / "a.gpkg", wkt(box(0, 0, 2, 2)))
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = wal")
    database.close()
    before = tmp_path.stat().st_mtime_ns  # changes with each file that comes or goes
    assert len(read_polygons(path, grid()).shapes) == 1
    assert tmp_path.stat().st_mtime_ns == before


def test_names_need_not_be_utf_8(tmp_path):
    path = write(tmp_path / "a.shp", wkt(box(0, 0, 2, 2)), values={"code": [3]})
    projection = path.with_suffix(".prj")
    projection.write_bytes(projection.read_bytes().replace(b"Zone", b"Z\xf6ne"))
    assert burn(path).sum() == 4
    made = write(tmp_path / "a.geojson", wkt(box(0, 0, 2, 2)), values={"strasse": [3]})
    made.write_bytes(made.read_bytes().replace(b"strasse", b"stra\xdfe"))
    assert burn(made, attribute="straße").sum() == 12
    with pytest.raises(UserError, match="straße .Integer"):
        burn(made, attribute="code")


def unsaved(folder):
    path = write(folder / "a.gpkg", wkt(box(0, 0, 2, 2)))
    path.with_name("a.gpkg-wal").write_bytes(b"pages")
    return path


def view(folder):
    path = write(folder / "a.gpkg", wkt(box(0, 0, 2, 2)), layer="real", kind=ogr.wkbPoint)
    with sqlite3.connect(path) as database:
        endless = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r)"
        database.execute(f"CREATE VIEW v AS {endless} SELECT i AS fid, geom FROM r, real")
        values = "('v', 'features', 'v', 32632)"
        columns = "table_name, data_type, identifier, srs_id"
        database.execute(f"INSERT INTO gpkg_contents ({columns}) VALUES {values}")
        database.execute(
            "INSERT INTO gpkg_geometry_columns VALUES ('v', 'geom', 'POLYGON', 32632, 0, 0)"
        )
    database.close()
    return path


def raster(folder):
    memory = gdal.GetDriverByName("MEM").Create("", 256, 256, 3)
    memory.SetGeoTransform(grid().geotransform)
    memory.SetProjection(grid().projection)
    driver = gdal.GetDriverByName("GPKG")
    before = driver.GetMetadataItem("DCAP_RASTER")
    driver.SetMetadataItem("DCAP_RASTER", "YES")  # as in GDAL outside of this project
    driver.CreateCopy(str(folder / "a.gpkg"), memory)
    bands = gdal.Open(str(folder / "a.gpkg")).RasterCount
    driver.SetMetadataItem("DCAP_RASTER", before)
    assert bands == 3
    return folder / "a.gpkg"


def damaged(folder):
    path = write(folder / "a.gpkg", wkt(box(0, 0, 2, 2)))
    path.write_bytes(path.read_bytes()[:30000])
    return path


def quoted(folder):
    """Writes a file of which GDAL's message quotes a byte that is not UTF-8."""
    path = write(folder / "a.gpkg", wkt(box(0, 0, 2, 2)))
    table = b'CREATE TABLE "footprints"'
    path.write_bytes(path.read_bytes().replace(table, table.replace(b"E ", b"\xc6 ")))
    return path


def incomplete(folder):
    path = write(folder / "a.shp", wkt(box(0, 0, 2, 2)))
    path.with_suffix(".shx").unlink()
    return path


def text(content, name="a.geojson"):
    def make(folder):
        (folder / name).write_text(content)
        return folder / name

    return make


def shapes(*texts, name="a.geojson", **options):
    return lambda folder: write(folder / name, *texts, **options)


def linked(folder):
    link = {"type": "link", "properties": {"href": "http://127.0.0.1:9/crs"}}
    return write_text(folder / "a.geojson", [[[0, 0], [1, 1]]], crs=link)


HOUSE = wkt(box(0, 0, 2, 2))
DEEP = '{"type": "Feature", "properties": {}, "geometry": ' + "[" * 100_000
ATTRIBUTES = ("no attribute", "text", "negative", "large", "half", "empty")
WRONG = {
    "no attribute": (shapes(HOUSE, values={"kind": [1]}), "class is not there.*kind"),
    "text": (shapes(HOUSE, values={"class": ["roof"]}), "class is not of numbers.*String"),
    "negative": (shapes(HOUSE, values={"class": [-1]}), "class of feature 0 is -1, expected"),
    "large": (shapes(HOUSE, values={"class": [65536]}), "is 65536, expected .* 0 to 65535"),
    "half": (shapes(HOUSE, values={"class": [1.5]}), "is 1.5, expected"),
    "empty": (shapes(HOUSE, HOUSE, values={"class": [1, None]}), "feature 1 is empty"),
    "points": (shapes(f"POINT ({LEFT} {TOP})"), "no layer of polygons.*Point.*as polygons"),
    "a point": (shapes(f"POINT ({LEFT + 1} {TOP - 1})", HOUSE), "feature 0 is a POINT"),
    "no CRS": (shapes(HOUSE, name="a.shp", crs=None), "no coordinate reference.*-a_srs.*prj"),
    "undefined CRS": (shapes(HOUSE, name="a.gpkg", crs=None), "no coordinate reference"),
    "outside": (
        shapes(wkt(box(30, 0, 5, 5))),
        "no polygon of layer footprints overlaps.*EPSG:32632",
    ),
    "nothing": (shapes(), "no polygon of layer footprints overlaps"),
    "not on earth": (shapes(HOUSE.replace("5400000.0", "1e300")), "0 has the corner.*not on earth"),
    "a view": (view, "layer v is a view"),
    "unsaved": (unsaved, "not saved yet .a.gpkg-wal.*Close"),
    "raster": (raster, "a.gpkg: GDAL cannot read"),
    "damaged": (damaged, "a.gpkg: GDAL cannot read"),
    "quoted": (quoted, "a.gpkg: GDAL cannot read"),
    "incomplete": (incomplete, "a.shp: GDAL cannot read.*shx"),
    "no JSON": (text("hello"), "not a GeoJSON"),
    "no GeoJSON": (text("{}"), "a.geojson: GDAL cannot read"),
    "deep": (text(DEEP), "not a GeoJSON .*recursion"),
    "GeoPackage?": (text("{}", "a.gpkg"), "a.gpkg: GDAL cannot read"),
    "KML": (text("<kml/>", "a.kml"), "a vector format that is not read.*GeoPackage"),
    "link": (linked, "its CRS is a link"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_labels_is_named(tmp_path, name):
    make, message = WRONG[name]
    attribute = "class" if name in ATTRIBUTES else None
    with pytest.raises(UserError, match=message):
        read_polygons(make(tmp_path), grid(), attribute=attribute)


def test_a_huge_geojson_is_refused_unread(tmp_path):
    path = tmp_path / "a.geojson"
    with path.open("wb") as file:
        file.truncate(500_000_001)  # takes no space
    with pytest.raises(UserError, match="500 MB.*ogr2ogr"):
        burn(path)


@pytest.mark.parametrize("make", [raster, shapes(HOUSE), shapes(HOUSE, name="a.shp")])
def test_vector_formats_are_never_opened_as_rasters(tmp_path, make):
    with pytest.raises(UserError, match="GDAL cannot open"):
        read_info(make(tmp_path))
