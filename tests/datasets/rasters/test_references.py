import os
import struct
import zlib

import numpy as np
import pytest
from osgeo import gdal

from datasets.rasters.reading import Grid, RasterError, read_raster
from datasets.rasters.references import check_named_file, check_references
from datasets.rasters.writing import write_raster

PIXELS = np.arange(12, dtype="uint8").reshape(3, 4)


def vrt(path, source, relative=0, tag="SourceFilename"):
    """Writes a mosaic of one file by hand, since GDAL would open the source."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="3"><VRTRasterBand dataType="Byte" band="1">'
        f'<SimpleSource><{tag} relativeToVRT="{relative}">{source}</{tag}><SourceBand>1'
        "</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return path


@pytest.fixture
def data(tmp_path):
    """Returns the folder of a data set, with a file in `raw` and one outside the folder."""
    for place in (tmp_path / "mine" / "raw", tmp_path / "elsewhere"):
        place.mkdir(parents=True)
        write_raster(place / "ortho.tif", PIXELS, Grid(3, 4, None, ""))
    return tmp_path / "mine"


def test_mosaic_of_files_of_the_data_set_is_read(data):
    path = vrt(data / "train/rgb/a.vrt", "../../raw/ortho.tif", relative=1)
    check_references(path, data)
    np.testing.assert_array_equal(read_raster(path).pixels[..., 0], PIXELS)
    check_references(vrt(data / "train/rgb/b.vrt", data / "raw" / "ortho.tif"), data)


def test_mosaic_that_gdal_writes_is_accepted(data):
    (data / "train").mkdir()
    path = data / "train" / "a.vrt"
    gdal.Translate(str(path), str(data / "raw" / "ortho.tif"), format="VRT")
    assert "<SourceFilename" in path.read_text()
    check_references(path, data)


@pytest.mark.parametrize("source, relative", [("../../../elsewhere/ortho.tif", 1), ("{}", 0)])
@pytest.mark.parametrize("tag", ["SourceFilename", "sourcefilename"])
def test_mosaic_of_a_file_outside_is_refused(data, source, relative, tag):
    source = source.format(data.parent / "elsewhere" / "ortho.tif")
    path = vrt(data / "train/rgb/a.tif", source, relative, tag)  # whatever its name
    with pytest.raises(RasterError, match=r"a\.tif: a VRT that points to .*, outside the data set"):
        check_references(path, data)


@pytest.mark.parametrize(
    "address",
    ["/vsicurl/http://127.0.0.1:9/a.tif", "http://127.0.0.1:9/a.tif", "/vsizip/raw/a.zip/a.tif"],
)
@pytest.mark.parametrize("relative", [0, 1])
def test_mosaic_of_an_address_is_refused_unopened(data, address, relative):
    path = vrt(data / "train/rgb/a.vrt", address, relative)
    with pytest.raises(RasterError, match=f"points to {address}, on a network or in an archive"):
        check_references(path, data)


@pytest.mark.parametrize("entity", ['"{}"', 'SYSTEM "file://{}"'])
def test_entities_of_xml_lead_nowhere(data, entity):
    outside = data.parent / "elsewhere" / "ortho.tif"
    path = vrt(data / "a.vrt", "&outside;")
    declared = f"<!DOCTYPE VRTDataset [<!ENTITY outside {entity.format(outside)}>]>"
    path.write_text(declared + path.read_text())
    with pytest.raises(RasterError, match="a.vrt"):
        check_references(path, data.parent)
    many = "".join(f'<!ENTITY e{i + 1} "{10 * f"&e{i};"}">' for i in range(9))
    path.write_text(f"<!DOCTYPE VRTDataset [{many}]>" + vrt(data / "b.vrt", "&e9;").read_text())
    with pytest.raises(RasterError, match="a.vrt"):
        check_references(path, data)


def test_source_given_as_an_attribute_is_found(data):
    path = data / "a.vrt"
    path.write_text('<VRTDataset><SimpleSource SourceFilename="/vsicurl/http://x"/></VRTDataset>')
    with pytest.raises(RasterError, match="on a network"):
        check_references(path, data)


def test_mosaic_with_a_namespace_is_recognised(data):
    path = vrt(data / "a.vrt", "/vsicurl/http://127.0.0.1:9/a.tif")
    path.write_text(path.read_text().replace("<VRTDataset", '<VRTDataset xmlns="urn:x"'))
    with pytest.raises(RasterError, match=r"a\.vrt: a VRT that points to .*, on a network"):
        check_references(path, data)


@pytest.mark.parametrize("source", ["GTIFF_DIR:1:{}", "vrt://{}?bands=1", "<VRTDataset>{}"])
def test_name_that_only_gdal_understands_is_refused(data, source):
    source = source.format(data / "raw" / "ortho.tif").replace("<", "&lt;")
    with pytest.raises(RasterError, match="on a network or in an archive"):
        check_references(vrt(data / "a.vrt", source), data)
    with pytest.raises(RasterError, match="a name that GDAL would take for a description"):
        check_references(data / "<VRTDataset>.tif", data)


@pytest.mark.parametrize("side", ["ortho.tif.msk", "ortho.tif.OVR", "ortho.tif.msk.ovr"])
def test_side_file_that_is_a_mosaic_is_checked(data, side):
    write_raster(data / "raw" / "ortho.tif.msk", PIXELS, Grid(3, 4, None, ""))
    check_references(data / "raw" / "ortho.tif", data)
    vrt(data / "raw" / side, "/vsicurl/http://127.0.0.1:9/a.tif")
    with pytest.raises(RasterError, match=rf"{side}: a VRT that points to .*, on a network"):
        check_references(data / "raw" / "ortho.tif", data)


def test_overviews_kept_elsewhere_are_refused(data):
    dataset = gdal.Open(str(data / "raw" / "ortho.tif"))
    dataset.SetMetadataItem("OVERVIEW_FILE", "/vsicurl/http://127.0.0.1:9/a", "OVERVIEWS")
    dataset = None  # writes ortho.tif.aux.xml
    with pytest.raises(RasterError, match=r"ortho\.tif: .*overviews are in /vsicurl/.*\.aux\.xml"):
        check_references(data / "raw" / "ortho.tif", data)


@pytest.mark.parametrize("name", ["a.map", "a.tif"])
def test_text_that_names_another_file_is_refused(data, name):
    lines = ["OziExplorer Map Data File Version 2.2", "a", "../elsewhere/ortho.tif", "1 ,Map Code,"]
    lines += ["WGS 84,WGS 84, 0.0000, 0.0000,WGS 84", *["Reserved"] * 3, "Map Projection,Latitude"]
    for number, (x, y) in enumerate([(0, 0), (4, 0), (4, 3)], 1):
        lines.append(f"Point{number:02},xy,{x},{y},in, deg,{50 - y},0,N,{10 + x},0,E, grid, , , ,N")
    (data / name).write_text("\n".join(lines) + "\n")
    with pytest.raises(RasterError, match=rf"{name}: GDAL cannot open.* GeoTIFF, PNG, JPEG"):
        check_references(data / name, data)


def test_mosaic_of_a_mosaic_is_checked(data):
    vrt(data / "raw" / "inner.vrt", "/vsicurl/http://127.0.0.1:9/a.tif")
    path = vrt(data / "train/rgb/a.vrt", "../../raw/inner.vrt", relative=1)
    with pytest.raises(RasterError, match=r"inner\.vrt: .* on a network"):
        check_references(path, data)


def test_mosaic_of_itself_ends(data):
    path = vrt(data / "a.vrt", "a.vrt", relative=1)
    with pytest.raises(RasterError, match="more than 8 VRTs in one another"):
        check_references(path, data)


def test_mosaic_of_a_missing_file_names_it(data):
    with pytest.raises(RasterError, match=r"raw/lost\.tif: .*No such file"):
        check_references(vrt(data / "a.vrt", "raw/lost.tif", relative=1), data)


@pytest.mark.parametrize(
    "text, message",
    [
        ('<VRTDataset subClass="VRTWarpedDataset"/>', "a VRT with VRTWarpedDataset"),
        ("<VRTDataset><VRTRasterBand>", "a damaged VRT"),
        (
            "<GDAL_WMS><ServerUrl>http://127.0.0.1:9/</ServerUrl></GDAL_WMS>",
            "a text .*without pixels",
        ),
        (' \n{"type": "FeatureCollection"}', "a text .*without pixels"),
        ('{"a":' * 10**5, "a text .*without pixels"),
        ("[" * 10**5, "GDAL cannot open"),
        ("<VRTDataset>" + "<a>" * 2000 + "</a>" * 2000 + "</VRTDataset>", "a damaged VRT"),
        ("<VRTDataset>" + "<a>" * 10**5, "a damaged VRT"),
    ],
)
def test_other_descriptions_are_refused(data, text, message):
    (data / "a.tif").write_text(text)
    with pytest.raises(RasterError, match=rf"a\.tif: .*{message}"):
        check_references(data / "a.tif", data)


def test_links_of_the_user_are_followed(data):
    inside, outside = data / "raw" / "link.tif", data.parent / "elsewhere"
    inside.symlink_to(outside / "ortho.tif")
    check_references(inside, data)
    check_references(vrt(data / "a.vrt", "raw/link.tif", relative=1), data)
    vrt(outside / "b.vrt", "ortho.tif", relative=1)  # beside the file that the link leads to
    (data / "b.vrt").symlink_to(outside / "b.vrt")
    check_references(data / "b.vrt", data)


def test_loop_of_links_and_pipe_are_named(data):
    (data / "a.tif").symlink_to("b.tif")
    (data / "b.tif").symlink_to("a.tif")
    os.mkfifo(data / "c.tif")
    with pytest.raises(RasterError, match=r"a\.tif: the file cannot be opened \(Too many levels"):
        check_references(data / "a.tif", data)
    with pytest.raises(RasterError, match=r"c\.tif: not a regular file"):
        check_references(data / "c.tif", data)


def ascii_grid(path, rows, columns, values):
    head = f"ncols {columns}\nnrows {rows}\nxllcorner 0\nyllcorner 0\ncellsize 1\n"
    path.write_text(head + "".join(f"{value}\n" for value in values))
    return path


@pytest.mark.parametrize("values", [range(4), range(60), range(119), ["1\0", *range(199)]])
def test_ascii_grid_with_fewer_numbers_than_pixels_is_refused(data, values, monkeypatch):
    monkeypatch.setattr("datasets.rasters.references.BLOCK_BYTES", 100)
    # GDAL would search for the last rows of 60 for years.
    path = ascii_grid(data / "a.asc", 60, 2, values)
    with pytest.raises(RasterError, match=r"smaller than its header says: 60 x 2 pixels"):
        check_references(path, data)


@pytest.mark.parametrize("block", [7, 2**22])
def test_whole_ascii_grid_is_accepted(data, block, monkeypatch):
    monkeypatch.setattr("datasets.rasters.references.BLOCK_BYTES", block)
    path = ascii_grid(data / "a.asc", 30, 2, range(60))
    check_references(path, data)
    assert read_raster(path).pixels[-1].tolist() == [[58], [59]]


HEADERS = {  # by driver: struct format and offset of (columns, rows) after a mark in the file
    "PNG": (b"IHDR", 4, ">II"),
    "BMP": (b"BM", 18, "<ii"),
    "JPEG": (b"\xff\xc0", 5, ">HH"),
}


@pytest.mark.parametrize("driver", HEADERS)
def test_header_that_claims_more_than_the_file_can_hold_is_refused(data, driver):
    mark, offset, form = HEADERS[driver]
    path = data / "a.img"
    gdal.GetDriverByName(driver).CreateCopy(str(path), gdal.Open(str(data / "raw" / "ortho.tif")))
    check_references(path, data)
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, content.index(mark) + offset, 60000, 60000)
    if driver == "PNG":
        struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(RasterError, match=r"smaller than its header says: 60000 x 60000 pixels"):
        check_references(path, data)


def test_empty_parts_of_a_raster_may_be_left_out(data):
    options = ["SPARSE_OK=TRUE", "TILED=YES", "BLOCKXSIZE=4096", "BLOCKYSIZE=4096"]
    path = data / "a.tif"
    gdal.GetDriverByName("GTiff").Create(str(path), 60000, 60000, 1, options=options)
    check_references(path, data)
    white = gdal.GetDriverByName("MEM").Create("", 2000, 2000)
    for driver in ("PNG", "JPEG", "BMP"):
        gdal.GetDriverByName(driver).CreateCopy(str(path), white)
        check_references(path, data)


def test_folders_of_a_mosaic_elsewhere_are_named(data):
    paths = [data.parent / "elsewhere" / "ortho.tif", data / "raw" / "ortho.tif"]
    mosaic = vrt(data / "train" / "a.vrt", f"{paths[0]}</SourceFilename><SourceFilename>{paths[1]}")
    (note,) = check_named_file(mosaic)
    assert note == f"its pixels come from 2 files in {paths[0].parent}, {paths[1].parent}"
    assert check_named_file(paths[0]) == check_named_file(vrt(data / "raw/b.vrt", paths[1])) == []


def test_mosaic_of_an_address_is_refused_wherever_it_lies(data):
    path = vrt(data / "a.vrt", "/vsicurl/http://127.0.0.1:9/a.tif")
    with pytest.raises(RasterError, match="on a network"):
        check_named_file(path)


@pytest.mark.parametrize(
    "place",
    [
        (0, np.nan, 0, 0, 0, -1),
        (np.inf, 1, 0, 0, 0, -1),
        (5e5, 0, 0, 5e6, 0, 0),
        (0, 1, 1, 0, 1, 1),
    ],
)
def test_georeference_that_places_no_pixel_is_refused(data, place):
    path = data / "a.tif"
    write_raster(path, PIXELS, Grid(3, 4, place, ""))
    with pytest.raises(RasterError, match=r"a\.tif: its georeference gives pixels no size"):
        check_references(path, data)


def test_pixels_that_come_by_the_gigabyte_are_refused(data):
    path = data / "a.tif"
    options = ["SPARSE_OK=TRUE", "TILED=YES", "BLOCKXSIZE=20000", "BLOCKYSIZE=20000"]
    gdal.GetDriverByName("GTiff").Create(str(path), 20000, 20000, 3, options=options)
    with pytest.raises(
        RasterError, match=r"only be read 1.1 GiB at a time.* gdal_translate -co TIL"
    ):
        check_references(path, data)
    options = ["SPARSE_OK=TRUE", "BLOCKYSIZE=20000"]  # GDAL reads the rows of strips singly
    gdal.GetDriverByName("GTiff").Create(str(path), 20000, 20000, 3, options=options)
    check_references(path, data)
