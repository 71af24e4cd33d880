"""Small valid files of every kind that the project reads; the fuzz test damages them."""

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from osgeo import gdal, ogr, osr

from datasets.rasters.grids import projection_wkt
from runs.stored import StoredRun
from settings.table import TABLE

ROWS, COLUMNS = 32, 40
PLACE = (500000.0, 0.5, 0.0, 5000000.0, 0.0, -0.5)
RECORD = """
name = "Town"
source = "made up"
notes = ["none"]
gsd = 0.5
crop_size = 32
batch_size = 2
ignore_codes = [65]
building_code = 6
height_scale = 1.0
height_limits = [-100, 1000.5]
rgb_scale = 1.0
classes = [{code = 2, name = "ground"}, {codes = [6, 7], name = "building"}]

[splits]
train = ["a"]

[loss_weights]
height = 1.0
semantic = 0.5

[recommended]
decoder_width = 0.25
mtl_steps = 3
dropout = 0.0
"""


@dataclass(frozen=True)
class Seed:
    """A valid input.

    Attributes:
        format: as the counts of the fuzz test name it.
        role: "rgb", "dsm" or "sem" of a raster; of other files what is read from them; "vector" of
            labels as polygons.
        path: name of the file that is read.
        target: name of the file that is damaged: the same, or one beside it.
        files: content by name.
    """

    format: str
    role: str
    path: str
    target: str
    files: dict[str, bytes]


def make_seeds() -> list[Seed]:
    """Returns all seeds, the same at every call."""
    seeds = []
    for make in (*_RASTERS, *_SIDE_FILES, *_VECTORS):
        with tempfile.TemporaryDirectory() as folder:
            kind, role, path, target = make(Path(folder))
            files = {file.name: file.read_bytes() for file in sorted(Path(folder).iterdir())}
        # What GDAL writes has the name of the temporary folder nowhere else.
        seeds.append(Seed(kind, role, path, target, files))
    texts = [("dataset.toml", "record", "dataset.toml", RECORD.encode()), *_json_files()]
    seeds += [Seed(kind, role, name, name, {name: data}) for kind, role, name, data in texts]
    seeds += [Seed("settings", role, "", "", {}) for role in ("arguments", "config")]
    return seeds


def photo(bands: int = 3, kind: str = "uint8") -> np.ndarray:
    """Returns pixels (bands, rows, columns)."""
    values = np.random.default_rng(0).integers(1, 250, (bands, ROWS, COLUMNS))
    return (values * (256 if kind == "uint16" else 1)).astype(kind)


def heights(kind: str = "float32") -> np.ndarray:
    """Returns pixels (1, rows, columns), metres: a roof on flat ground."""
    values = np.zeros((1, ROWS, COLUMNS))
    values[:, 5:20, 7:25] = 6.5
    return values.astype(kind)


def labels() -> np.ndarray:
    """Returns pixels (1, rows, columns) of the codes of `RECORD`."""
    return np.where(heights() > 0, 6, 2).astype("uint8")


def write(
    path: Path,
    pixels: np.ndarray,
    driver: str = "GTiff",
    options: list[str] | None = None,
    change: Callable[[gdal.Dataset], object] = lambda dataset: None,
    place: bool = True,
) -> None:
    """Writes a raster.

    Args:
        path: the file.
        pixels: (bands, rows, columns).
        driver, options: of GDAL.
        change: is called with the dataset in memory, before it is copied to the file.
        place: whether it is georeferenced.
    """
    kind = gdal.GetDataTypeByName({"uint8": "Byte"}.get(str(pixels.dtype), str(pixels.dtype)))
    dataset = gdal.GetDriverByName("MEM").Create("", COLUMNS, ROWS, len(pixels), kind)
    if place:
        dataset.SetGeoTransform(PLACE)
        dataset.SetProjection(projection_wkt(32632))
    for number, band in enumerate(pixels, 1):
        dataset.GetRasterBand(number).WriteArray(band)
    change(dataset)
    gdal.GetDriverByName(driver).CreateCopy(str(path), dataset, options=options or [])


def _raster(
    kind: str, role: str, name: str, pixels: np.ndarray, driver: str, *options: str, **more
) -> Callable[[Path], tuple[str, str, str, str]]:
    """Returns a function that writes a raster into a folder and describes it."""

    def make(folder: Path) -> tuple[str, str, str, str]:
        write(folder / name, pixels, driver, list(options), **more)
        return kind, role, name, name

    return make


def _tagged(dataset: gdal.Dataset) -> None:
    band = dataset.GetRasterBand(1)
    band.SetScale(0.1)
    band.SetOffset(1.0)
    band.SetUnitType("metre")
    band.SetNoDataValue(-99)


def _alpha(dataset: gdal.Dataset) -> None:
    dataset.GetRasterBand(4).SetColorInterpretation(gdal.GCI_AlphaBand)


def _palette(dataset: gdal.Dataset) -> None:
    table = gdal.ColorTable()
    table.SetColorEntry(6, (9, 90, 9))
    dataset.GetRasterBand(1).SetColorTable(table)


def _points(dataset: gdal.Dataset) -> None:
    corners = [(0, 0), (COLUMNS, 0), (0, ROWS), (COLUMNS, ROWS)]
    points = [gdal.GCP(5e5 + x / 2, 5e6 - y / 2, 0, x, y) for x, y in corners]
    dataset.SetGCPs(points, projection_wkt(32632))


def _with_nodata(value: float) -> Callable[[gdal.Dataset], object]:
    def change(dataset: gdal.Dataset) -> None:
        for number in range(1, dataset.RasterCount + 1):
            dataset.GetRasterBand(number).SetNoDataValue(value)

    return change


_TILED = ("TILED=YES", "BLOCKXSIZE=16", "BLOCKYSIZE=16")
_RASTERS = (
    _raster("GeoTIFF", "rgb", "a.tif", photo(), "GTiff"),
    _raster("GeoTIFF", "dsm", "a.tif", heights(), "GTiff", change=_with_nodata(-9999)),
    _raster("GeoTIFF", "sem", "a.tif", labels(), "GTiff", change=_palette),
    _raster("GeoTIFF", "rgb", "a.tif", photo(), "GTiff", "COMPRESS=DEFLATE", *_TILED),
    _raster("GeoTIFF", "rgb", "a.tif", photo(), "GTiff", "COMPRESS=JPEG", *_TILED),
    _raster("GeoTIFF", "rgb", "a.tif", photo(4), "GTiff", "COMPRESS=LZW", change=_alpha),
    _raster("GeoTIFF", "rgb", "a.tif", photo(4, "uint16"), "GTiff", change=_with_nodata(0)),
    _raster("GeoTIFF", "dsm", "a.tif", heights("int16"), "GTiff", change=_tagged),
    _raster("GeoTIFF", "dsm", "a.tif", heights("float64"), "GTiff", "COMPRESS=LERC"),
    _raster("GeoTIFF", "dsm", "a.tif", heights(), "GTiff", "BIGTIFF=YES", "PREDICTOR=3"),
    _raster("GeoTIFF", "rgb", "a.tif", photo(), "GTiff", place=False, change=_points),
    _raster("COG", "rgb", "a.tif", photo(), "COG", "BLOCKSIZE=128"),
    _raster("COG", "dsm", "a.tif", heights(), "COG", "BLOCKSIZE=128", change=_with_nodata(-9999)),
    _raster("PNG", "rgb", "a.png", photo(), "PNG", place=False),
    _raster("PNG", "rgb", "a.png", photo(4), "PNG", change=_alpha, place=False),
    _raster("PNG", "dsm", "a.png", heights("uint16"), "PNG", place=False),
    _raster("PNG", "sem", "a.png", labels(), "PNG", change=_palette, place=False),
    _raster("JPEG", "rgb", "a.jpg", photo(), "JPEG", place=False),
    _raster("JPEG", "rgb", "a.jpg", photo(), "JPEG", "PROGRESSIVE=YES", place=False),
    _raster("JPEG", "dsm", "a.jpg", heights("uint8"), "JPEG", place=False),
    _raster("JPEG 2000", "rgb", "a.jp2", photo(), "JP2OpenJPEG"),
    _raster("JPEG 2000", "dsm", "a.jp2", heights("int16"), "JP2OpenJPEG", "REVERSIBLE=YES"),
    _raster("JPEG 2000", "rgb", "a.jp2", photo(4), "JP2OpenJPEG", change=_alpha),
    _raster("BMP", "rgb", "a.bmp", photo(), "BMP", place=False),
    _raster("BMP", "sem", "a.bmp", labels(), "BMP", place=False),
    _raster("ASCII grid", "dsm", "a.asc", heights(), "AAIGrid", change=_with_nodata(-9999)),
    _raster("ASCII grid", "dsm", "a.asc", heights("int32"), "AAIGrid"),
    _raster("ASCII grid", "sem", "a.asc", labels(), "AAIGrid"),
)


def _vrt(role: str, pixels: np.ndarray, change: Callable[[str], str] = str) -> Callable:
    """Returns a function that writes a VRT of one file."""

    def make(folder: Path) -> tuple[str, str, str, str]:
        write(folder / "part.tif", pixels, change=_with_nodata(0))
        gdal.Translate(str(folder / "a.vrt"), str(folder / "part.tif"), format="VRT")
        text = (folder / "a.vrt").read_text().replace('relativeToVRT="0"', 'relativeToVRT="1"')
        text = text.replace(str(folder / "part.tif"), "part.tif")
        (folder / "a.vrt").write_text(change(text))
        return "VRT", role, "a.vrt", "a.vrt"

    return make


def _beside(
    name: str, ending: str, role: str, pixels: np.ndarray, driver: str, kind: str, **more
) -> Callable[[Path], tuple[str, str, str, str]]:
    """Returns a function that writes a raster of which a side file is the target."""

    def make(folder: Path) -> tuple[str, str, str, str]:
        write(folder / name, pixels, driver, **more)
        target = f"{name}{ending}" if ending.count(".") > 1 or ending in (".msk", ".ovr") else ""
        target = target or f"{Path(name).stem}{ending}"
        path = folder / target
        if ending == ".msk":
            write(path, np.where(heights() > 0, 255, 0).astype("uint8"))
        elif ending == ".ovr":
            gdal.Open(str(folder / name)).BuildOverviews("NEAREST", [2])
        elif ending == ".wld":
            path.write_text("0.5\n0.0\n0.0\n-0.5\n500000.25\n4999999.75\n")
        elif not path.exists():
            path.write_text(_PAM)
        return kind, role, name, target

    return make


_PAM = f"""<PAMDataset>
  <SRS dataAxisToSRSAxisMapping="1,2">{projection_wkt(32632).replace('"', "&quot;")}</SRS>
  <GeoTransform>500000.0, 0.5, 0.0, 5000000.0, 0.0, -0.5</GeoTransform>
  <Metadata><MDI key="AREA_OR_POINT">Area</MDI></Metadata>
  <PAMRasterBand band="1">
    <Description>heights</Description>
    <NoDataValue>0</NoDataValue>
    <UnitType>metre</UnitType>
    <Offset>0</Offset>
    <Scale>1</Scale>
    <ColorInterp>Gray</ColorInterp>
    <CategoryNames><Category>ground</Category><Category>roof</Category></CategoryNames>
    <Metadata><MDI key="STATISTICS_MAXIMUM">6.5</MDI></Metadata>
  </PAMRasterBand>
</PAMDataset>
"""
_SIDE_FILES = (
    _vrt("rgb", photo()),
    _vrt("dsm", heights("int16")),
    _vrt("sem", labels()),
    _vrt(
        "dsm",
        heights("int16"),
        lambda text: text.replace("SimpleSource>", "ComplexSource>").replace(
            "<DstRect", "<ScaleOffset>1</ScaleOffset><ScaleRatio>0.5</ScaleRatio><DstRect"
        ),
    ),
    _beside("a.png", ".png.aux.xml", "dsm", heights("uint8"), "PNG", ".aux.xml", place=False),
    _beside("a.tif", ".tif.aux.xml", "dsm", heights(), "GTiff", ".aux.xml"),
    _beside("a.tif", ".msk", "rgb", photo(), "GTiff", ".msk"),
    _beside("a.tif", ".ovr", "rgb", photo(), "GTiff", ".ovr"),
    _beside("a.jpg", ".wld", "rgb", photo(), "JPEG", "world file", place=False),
    _beside("a.asc", ".prj", "dsm", heights(), "AAIGrid", ".prj"),
)


def _vectors(name: str, driver: str, *endings: str) -> Iterator[Callable]:
    """Yields functions that write footprints, for each of its files as the target."""
    for ending in endings:

        def make(folder: Path, ending: str = ending) -> tuple[str, str, str, str]:
            _write_roofs(folder / name, driver)
            return "vector", "vector", name, f"{Path(name).stem}{ending}"

        yield make


def _write_roofs(path: Path, driver: str) -> None:
    """Writes two triangles with a code each, without the date of today."""
    gdal.SetConfigOption("OGR_CURRENT_DATE", "2026-01-01T00:00:00.000Z")
    # TensorFlow's SQLite, which GDAL uses beside it, has no spatial index.
    options = {"ESRI Shapefile": ["DBF_DATE_LAST_UPDATE=2026-01-01"], "GPKG": ["SPATIAL_INDEX=NO"]}
    dataset = gdal.GetDriverByName(driver).Create(str(path), 0, 0, 0, 0)
    system = osr.SpatialReference(projection_wkt(32632))
    layer = dataset.CreateLayer("a", system, ogr.wkbPolygon, options.get(driver, []))
    layer.CreateField(ogr.FieldDefn("code", ogr.OFTInteger))
    for code in (2, 6):
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetField("code", code)
        west, north = 5e5 + code, 5e6 - code
        corners = [(west, north), (west + 5, north), (west, north - 5), (west, north)]
        text = ", ".join(f"{x} {y}" for x, y in corners)
        feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POLYGON (({text}))"))
        layer.CreateFeature(feature)


_VECTORS = (
    *_vectors("a.geojson", "GeoJSON", ".geojson"),
    *_vectors("a.gpkg", "GPKG", ".gpkg"),
    *_vectors("a.shp", "ESRI Shapefile", ".shp", ".shx", ".dbf", ".prj"),
)


def _json_files() -> Iterator[tuple[str, str, str, bytes]]:
    """Yields (format, role, name, content) of the JSON files that are read back."""
    settings = {name: setting.default for name, setting in TABLE.items()}
    identity = {"class_codes": ["(2,)", "(6, 7)"], "rgb_scale": 1.0, "sar_scale": 1.0}
    run = StoredRun(
        *("mtl", settings | {"dataset_name": "town"}, identity, ["ground", "building"]),
        *(0.5, 2.0, 0, {"height_loss": 1.0}),
    )
    box = {"image_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}
    files = {
        "settings.json": asdict(run),
        "metrics.json": {"rmse": 1.5, "tiles": 1, "per_class": {"ground": {"iou": 0.5}}},
        "preparation.json": {"version": 2, "seed": 0, "splits": [0.7, 0.15, 0.15]},
        "demo.json": {"version": 1, "tile_size": 64, "counts": [1, 1, 1], "seed": 0},
        "roofs.json": {"images": [{"id": 1, "file_name": "a.tif"}], "annotations": [box]},
    }
    for name, content in files.items():
        yield "JSON", Path(name).stem, name, json.dumps(content, indent=1).encode()
