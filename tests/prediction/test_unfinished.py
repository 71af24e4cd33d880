import os

import numpy as np
import pytest

from datasets.rasters.reading import Grid, RasterError, read_raster
from datasets.rasters.writing import write_raster
from prediction.maps import NODATA, map_layers
from prediction.unfinished import (
    UnfinishedScene,
    digest,
    is_finished,
    map_path,
    scene_lease,
    work_folder,
)
from project.errors import UserError
from project.files import DiskError
from project.lease import HeldError, LeaseError, beside, this_process
from tests.full_disk import file_limit

GRID = Grid(6, 4, None, "")
CODES, NAMES = [2, 6], ("ground", "building")
IDENTITY = {"weights": "a", "window_size": 32}
EVERY_MAP = ("heights", "classes", "probabilities", "normals", "uncertainty")


def begin(output, identity=IDENTITY, names=("heights", "classes"), resume=True, **options):
    tags = {"TIFFTAG_SOFTWARE": "DSMNet 1", "DSMNET_IDENTITY": digest(identity)}
    layers = map_layers(names, GRID, CODES, NAMES, tags)
    return UnfinishedScene(output, layers, CODES, GRID, identity, resume, **options)


def values(rows, height):
    semantics = np.broadcast_to(np.array([0.2, 0.8], "float32"), (rows, 4, 2))
    return {
        "heights": np.full((rows, 4, 1), height, "float32"),
        "semantics": semantics,
        "normals": np.broadcast_to(np.array([0, 0.3, 0.4], "float32"), (rows, 4, 3)),
        "uncertainty": np.full((rows, 4, 1), 0.5, "float32"),
    }


def all_valid(rows):
    return np.ones((rows, 4), bool)


def test_maps_appear_together_when_they_are_complete(tmp_path):
    output = tmp_path / "h.tif"
    scene = begin(output, names=EVERY_MAP)
    scene.write(0, values(4, 3.0), all_valid(4))
    assert [path.name for path in tmp_path.iterdir()] == [".h.tif.partial"]
    scene.write(4, values(2, 7.0), np.zeros((2, 4), bool))
    scene.finish()
    assert not work_folder(output).exists()
    maps = {name: read_raster(map_path(output, name)) for name in EVERY_MAP}
    assert map_path(output, "classes").name == "h_classes.tif"
    assert maps["heights"].pixels[..., 0].tolist() == [[3.0] * 4] * 4 + [[NODATA] * 4] * 2
    assert maps["classes"].pixels[..., 0].tolist() == [[6] * 4] * 4 + [[0] * 4] * 2
    np.testing.assert_allclose(maps["probabilities"].pixels[0, 0], [0.2, 0.8])
    np.testing.assert_allclose(maps["normals"].pixels[0, 0], [0, 0.6, 0.8])  # unit length again
    for raster in maps.values():
        assert raster.valid[:4].all() and not raster.valid[4:].any()


def test_the_same_prediction_resumes_after_its_last_row(tmp_path):
    begin(tmp_path / "h.tif").write(0, values(4, 3.0), all_valid(4))
    scene = begin(tmp_path / "h.tif")
    assert scene.finished_rows == 4
    scene.write(4, values(2, 7.0), all_valid(2))
    scene.finish()
    heights = read_raster(tmp_path / "h.tif").pixels[:, 0, 0]
    assert heights.tolist() == [3, 3, 3, 3, 7, 7]


def finished(output):
    scene = begin(output, names=("heights",))
    scene.write(0, values(6, 3.0), all_valid(6))
    scene.finish()
    return output


def test_a_file_of_others_is_not_replaced_even_if_it_comes_later(tmp_path):
    output = tmp_path / "h.tif"
    write_raster(output, np.full((6, 4), 9, "uint8"), GRID)
    with pytest.raises(RasterError, match="h.tif is there already"):
        begin(output)
    output.rename(tmp_path / "photo.tif")
    scene = begin(output)
    scene.write(0, values(6, 3.0), all_valid(6))
    (tmp_path / "photo.tif").rename(output)
    with pytest.raises(RasterError, match="h.tif is there already"):
        scene.finish()
    output.unlink()
    begin(output).finish()  # the rows have stayed
    assert (read_raster(output).pixels == 3).all()


def test_statistics_of_the_earlier_map_do_not_describe_the_new_one(tmp_path, capsys):
    output = finished(tmp_path / "h.tif")
    statistics = tmp_path / "h.tif.aux.xml"
    statistics.write_text("<PAMDataset/>")
    finished(output)
    assert not statistics.exists() and f"Removed {statistics}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("identity", "resume"), [(IDENTITY | {"weights": "b"}, True), (IDENTITY, False)]
)
def test_another_prediction_starts_from_the_first_row(tmp_path, capsys, identity, resume):
    begin(tmp_path / "h.tif").write(0, values(4, 3.0), all_valid(4))
    assert begin(tmp_path / "h.tif", identity, resume=resume).finished_rows == 0
    assert ("discarded" in capsys.readouterr().out) == resume


@pytest.mark.parametrize("name", ["heights.rows.tif", "progress.json"])
def test_damage_is_reported_and_the_prediction_restarted(tmp_path, capsys, name):
    begin(tmp_path / "h.tif").write(0, values(4, 3.0), all_valid(4))
    (work_folder(tmp_path / "h.tif") / name).write_text("{")
    assert begin(tmp_path / "h.tif").finished_rows == 0
    assert "damaged" in capsys.readouterr().out


def test_noted_rows_whose_file_is_gone_are_predicted_again(tmp_path, capsys):
    begin(tmp_path / "h.tif").write(0, values(4, 3.0), all_valid(4))
    (work_folder(tmp_path / "h.tif") / "classes.rows.tif").unlink()
    scene = begin(tmp_path / "h.tif")
    assert scene.finished_rows == 0 and "damaged" in capsys.readouterr().out
    scene.write(0, values(6, 7.0), all_valid(6))
    scene.finish()
    assert (read_raster(tmp_path / "h.tif").pixels == 7).all()


def test_two_processes_do_not_write_the_same_output(tmp_path):
    output = tmp_path / "h.tif"
    with scene_lease(output):
        with pytest.raises(HeldError, match=f"h.tif is being predicted by process {os.getpid()} "):
            scene_lease(output)
        scene = begin(output)
        scene.write(0, values(6, 3.0), all_valid(6))
        scene.finish()
    assert {path.name for path in tmp_path.iterdir()} == {"h.tif", "h_classes.tif"}


@pytest.mark.parametrize("moment", ["write", "finish"])
def test_what_another_process_has_taken_over_is_not_written(tmp_path, moment):
    with scene_lease(tmp_path / "h.tif") as lease:
        scene = begin(tmp_path / "h.tif", check=lease.check)
        scene.write(0, values(4, 3.0), all_valid(4))
        beside(tmp_path / "h.tif").write_bytes(this_process().content(0))
        with pytest.raises(LeaseError, match="h.tif is being predicted by process .* now"):
            scene.finish() if moment == "finish" else scene.write(4, values(2, 3.0), all_valid(2))
    assert not (tmp_path / "h.tif").exists() and begin(tmp_path / "h.tif").finished_rows == 4


def test_what_is_in_the_way_of_the_rows_is_named(tmp_path):
    work_folder(tmp_path / "h.tif").touch()
    with pytest.raises(UserError, match="h.tif.partial is a file, but .* Remove it"):
        begin(tmp_path / "h.tif")
    (tmp_path / "a").touch()
    with pytest.raises(UserError, match="h.tif.partial, .* cannot be made .Not a directory"):
        begin(tmp_path / "a" / "h.tif")


def test_a_kill_while_the_folder_is_taken_away_leaves_no_rows_to_go_on_with(tmp_path, monkeypatch):
    scene = begin(tmp_path / "h.tif")
    scene.write(0, values(6, 3.0), all_valid(6))
    monkeypatch.setattr("shutil.rmtree", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scene.finish()
    monkeypatch.undo()
    assert begin(tmp_path / "h.tif").finished_rows == 0


def test_what_killed_processes_left_of_final_maps_is_removed(tmp_path):
    scene = begin(tmp_path / "h.tif")
    scene.write(0, values(6, 3.0), all_valid(6))
    (scene.folder / "heights.cog.0123abcd.tif").touch()
    names = {path.name for path in begin(tmp_path / "h.tif").folder.iterdir()}
    assert names == {"progress.json", "heights.rows.tif", "classes.rows.tif"}


def test_rows_before_the_first_window_with_data_are_nodata(tmp_path):
    scene = begin(tmp_path / "h.tif")
    scene.write(0, {}, np.zeros((6, 4), bool))
    scene.finish()
    assert not read_raster(tmp_path / "h.tif").valid.any()


def test_a_finished_output_is_recognised_by_its_identity_and_maps(tmp_path):
    output = tmp_path / "h.tif"
    assert not is_finished(output, ("heights",), IDENTITY)
    scene = begin(output)
    scene.write(0, values(6, 3.0), all_valid(6))
    scene.finish()
    assert is_finished(output, ("heights", "classes"), IDENTITY)
    assert not is_finished(output, ("heights", "normals"), IDENTITY)
    assert not is_finished(output, ("heights",), IDENTITY | {"window_size": 64})


@pytest.mark.parametrize("limits", [(20_000, 20_000), (10**9, 20_000)])  # of the rows, of the end
def test_a_scene_goes_on_once_a_full_disk_has_room_again(tmp_path, limits):
    grid = Grid(100, 90, None, "")
    heights = np.random.default_rng(0).normal(10, 3, (100, 90, 1)).astype("float32")
    layers = map_layers(("heights",), grid, CODES, NAMES, {"DSMNET_IDENTITY": digest(IDENTITY)})
    output = tmp_path / "h.tif"

    def predict(limits):
        scene = UnfinishedScene(output, layers, CODES, grid, IDENTITY)
        begun = scene.finished_rows
        with file_limit(limits[0]):
            for row in range(begun, 100, 10):
                scene.write(row, {"heights": heights[row : row + 10]}, np.ones((10, 90), bool))
        with file_limit(limits[1]):
            scene.finish()
        return begun

    kept = "The finished rows are in .*h.tif.partial"
    with pytest.raises(DiskError, match=f"^{output} cannot .*36 kB needed.*{kept}"):
        predict(limits)
    assert not output.exists()
    assert predict((10**9, 10**9)) > 0
    np.testing.assert_array_equal(read_raster(output).pixels, heights)
