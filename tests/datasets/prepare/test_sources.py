import zipfile

import numpy as np
import pytest

from datasets.prepare import sources
from datasets.prepare.sources import check_rasters, find_files, list_source
from datasets.prepare.tile_files import PrepareError
from tests.published_files import save


def test_side_files_in_a_zip_file_have_pixels_and_name_none(tmp_path):
    folder = tmp_path / "x"
    save(folder / "a.tif", np.ones((2, 2), "uint8"))
    for name, text in (("a.tif.msk", "<VRTDataset/>"), ("a.tif.aux.xml", "OVERVIEW_FILE")):
        (folder / name).write_text(text)
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.write(folder / "a.tif", "a.tif")
            archive.write(folder / name, name)
        found = find_files(list_source(tmp_path / "x.zip"), r"(a)\.tif")
        with pytest.raises(PrepareError, match=name):
            check_rasters(tmp_path, found)


def test_a_text_that_unpacks_to_more_than_fits_is_not_unpacked(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", bytes(10**6))
    (file,) = list_source(tmp_path / "x.zip")
    assert file.read_bytes() == bytes(10**6)
    monkeypatch.setattr(sources, "MOST_BYTES", 10**6 - 1)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)  # nothing is unpacked
    with pytest.raises(PrepareError, match=r"a\.json in .* unpacks to"):
        file.read_bytes()


def test_a_file_that_is_there_twice_is_refused(tmp_path):
    for folder in ("x", "y"):
        save(tmp_path / folder / "JAX_1_1_RGB.tif", np.ones((2, 2, 3), "uint8"))
    with pytest.raises(PrepareError, match="holds it once"):
        find_files(list_source(tmp_path), r"(JAX_\d_\d)_RGB\.tif")


@pytest.mark.parametrize("content, message", [(None, "neither a folder"), (b"x", "damaged")])
def test_a_source_that_is_no_zip_file_is_refused(tmp_path, content, message):
    source = tmp_path / "a.zip"
    if content:
        source.write_bytes(content)
    with pytest.raises(PrepareError, match=message):
        list_source(source)
