"""predict.py on scenes of many kinds, with a network of a few steps."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from osgeo import gdal, osr
from osgeo_utils.samples.validate_cloud_optimized_geotiff import validate

import export
import predict
import test_dsm
import train_dae
import train_mtl
from datasets.rasters.grids import projection_wkt
from datasets.rasters.reading import Grid, read_info, read_raster
from datasets.rasters.writing import write_raster
from models.dropout import SampleDropout
from project.lease import acquire, beside, this_process
from runs.trained_model import trained_record
from settings.loading import load

ROOT = Path(__file__).parents[2]
NETWORK = ["--backbone=tiny", "--decoder_width=0.02", "--decoder_norm=batch", "--dropout=0.3"]
LENGTH = ["--batch_size=2", "--samples_per_epoch=8", "--mtl_steps=2", "--dae_steps=2"]
PLACE = (5e5, 0.5, 0.0, 5e6, 0.0, -0.5)  # the gsd of the training


@pytest.fixture(scope="module")
def checkpoints(blocks, tmp_path_factory):
    """Trains both stages for two steps; returns the folder of checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    data = ["--dataset_name=blocks", f"--shortcut_path={blocks}"]
    data += [f"--checkpoint_dir={folder / 'ck'}", f"--output_dir={folder / 'out'}"]
    train_mtl.main([*data, *NETWORK, *LENGTH])
    train_dae.main([*data, *NETWORK, *LENGTH])
    return folder / "ck"


@pytest.fixture
def run(checkpoints, tmp_path):
    """Returns a function (scene, output name, options) that calls predict.py."""
    model = ["--dataset_name=blocks", f"--checkpoint_dir={checkpoints}", "--shortcut_path=absent"]

    def call(scene, output="h.tif", *options):
        predict.main([str(scene), str(tmp_path / output), *model, *options])
        return tmp_path / output

    return call


def make_scene(
    folder, rows=90, columns=70, place=PLACE, epsg=32632, nodata=None, gap=np.s_[:20, :20]
):
    pixels = np.random.default_rng(1).integers(20, 230, (rows, columns, 3)).astype("uint8")
    pixels[gap] = 5
    path = folder / "scene.tif"
    projection = projection_wkt(epsg) if epsg else ""
    write_raster(path, pixels, Grid(rows, columns, place, projection), nodata)
    return path


def test_heights_lie_on_the_scene_and_say_where_they_come_from(run, tmp_path, checkpoints):
    scene = make_scene(tmp_path, nodata=5)
    output = run(scene)
    assert validate(str(output), full_check=True)[1] == []
    assert read_info(output).grid == read_info(scene).grid
    back = read_raster(output)
    assert back.valid.sum() == 90 * 70 - 400 and not back.valid[:20, :20].any()
    dataset = gdal.Open(str(output))
    assert dataset.GetRasterBand(1).GetUnitType() == "metre"
    assert dataset.GetRasterBand(1).GetNoDataValue() == -9999
    tags = dataset.GetMetadata()
    assert tags["DSMNET_MODEL"] == str(checkpoints / "blocks" / "mtl" / "best.weights.h5")
    assert json.loads(tags["DSMNET_SETTINGS"])["window_size"] == 32
    assert {"DSMNET_MTL_SHA256", "DSMNET_DAE_SHA256"} <= tags.keys()


def declare(path, crs=None, place=None, gcps=None, alpha=None, nodata=None):
    """Changes what a raster says of its place, and takes its last band for alpha."""
    dataset = gdal.Open(str(path), gdal.GA_Update)
    if crs:
        system = osr.SpatialReference()
        system.SetFromUserInput(crs)
        dataset.SetSpatialRef(system)
    if place:
        dataset.SetGeoTransform(place)
    if gcps:
        dataset.SetGCPs(gcps, projection_wkt(32632))
    for number in range(1, dataset.RasterCount + 1):
        if nodata is not None:
            dataset.GetRasterBand(number).SetNoDataValue(nodata)
    if alpha is not None:
        dataset.GetRasterBand(dataset.RasterCount).SetColorInterpretation(gdal.GCI_AlphaBand)
        dataset.GetRasterBand(dataset.RasterCount).WriteArray(alpha)
    dataset = None


def test_photos_as_people_have_them(run, tmp_path, capsys):
    photos, shown = tmp_path / "photos", np.repeat([0, 255], [16, 48]).astype("uint8")
    alpha = np.repeat(shown[:, None], 64, axis=1)  # a quarter has no data
    corners = [gdal.GCP(5e5 + c / 2, 5e6 - r / 2, 0, c, r) for c, r in ((0, 0), (64, 0), (0, 64))]
    kinds = {
        "alpha": {"place": PLACE, "alpha": alpha, "nodata": 231},
        "feet": {"place": PLACE, "crs": "EPSG:32610+6360"},
        "gcps": {"gcps": corners},
        "south_up": {"place": (5e5, 0.5, 0.0, 5e6, 0.0, 0.5), "crs": "EPSG:32632"},
    }
    pixels = np.random.default_rng(1).integers(20, 230, (64, 64, 4)).astype("uint8")
    for name, changes in kinds.items():
        bands = pixels if name == "alpha" else pixels[..., :3]
        write_raster(photos / f"{name}.tif", bands, Grid(64, 64, None, ""))
        declare(photos / f"{name}.tif", **changes)
    maps = run(photos, "maps", "--outputs=normals", "--window_size=32")
    assert "band 4 is alpha" in (said := capsys.readouterr().out) and "3 ground control" in said
    normals = {name: gdal.Open(str(maps / f"{name}_normals.tif")) for name in kinds}
    shares = {name: read_raster(maps / f"{name}.tif").valid.mean() for name in kinds}
    assert shares == {"alpha": 0.75, "feet": 1, "gcps": 1, "south_up": 1}
    for dataset in (normals["feet"], gdal.Open(str(maps / "feet.tif"))):
        assert dataset.GetSpatialRef().GetAxesCount() == 2
    assert normals["feet"].GetRasterBand(1).GetUnitType() == ""
    assert [point.GCPX for point in normals["gcps"].GetGCPs()] == [5e5, 500032, 5e5]
    called = {name: normals[name].GetRasterBand(2).GetDescription() for name in kinds}
    assert called["feet"] == "surface normal, to the south"
    assert called["south_up"] == "surface normal, along a column, to higher rows"


def test_every_map_comes_on_request(run, tmp_path):
    maps = "classes,probabilities,normals,uncertainty"
    output = run(make_scene(tmp_path), "h.tif", f"--outputs={maps}", "--window_size=32")
    classes, shares, normals, spread = (
        read_raster(output.with_name(f"h_{name}.tif")).pixels for name in maps.split(",")
    )
    np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(classes[..., 0], np.array([2, 6])[shares.argmax(axis=-1)])
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)
    assert spread.min() >= 0 and spread.max() > 0
    plain = read_raster(run(tmp_path / "scene.tif", "plain.tif", "--window_size=32"))
    np.testing.assert_allclose(read_raster(output).pixels, plain.pixels, atol=1e-5)


def test_views_change_heights_and_the_correction_can_be_left_out(run, tmp_path):
    scene = make_scene(tmp_path)
    kinds = ((), ("--tta=true",), ("--correction=false",))
    heights = [read_raster(run(scene, f"{i}.tif", *kind)).pixels for i, kind in enumerate(kinds)]
    assert not np.allclose(heights[0], heights[1]) and not np.allclose(heights[0], heights[2])


def test_replicas_give_the_same_heights(run, tmp_path):
    scene = make_scene(tmp_path)
    heights = [read_raster(run(scene, f"{n}.tif", f"--cpu_replicas={n}")).pixels for n in (0, 2)]
    np.testing.assert_allclose(*heights, atol=1e-5)


def test_a_network_with_radar_needs_radar(blocks, tmp_path, capsys):
    shutil.copytree(blocks / "blocks", tmp_path / "data" / "radar")
    for photo in sorted((tmp_path / "data" / "radar").glob("*/rgb/*.tif")):
        echo = photo.parents[1] / "sar" / photo.name
        echo.parent.mkdir(exist_ok=True)
        write_raster(echo, read_raster(photo).pixels[..., :1], read_info(photo).grid)
    data = ["--dataset_name=radar", f"--checkpoint_dir={tmp_path}"]
    train = [*data, f"--shortcut_path={tmp_path / 'data'}", f"--output_dir={tmp_path}", *NETWORK]
    train_mtl.main([*train, *LENGTH, "--sar_mode=fusion"])
    scene, output = make_scene(tmp_path), tmp_path / "h.tif"
    with pytest.raises(SystemExit) as stopped:
        predict.main([str(scene), str(output), *data])
    assert "give --sar=FILE" in stopped.value.code
    echo = tmp_path / "sar.tif"
    write_raster(echo, np.full((90, 70), 9, "uint8"), read_info(scene).grid, nodata=0)
    predict.main([str(scene), str(output), *data, f"--sar={echo}"])
    assert read_raster(output).valid.all()


def test_a_model_file_elsewhere_gives_the_same(run, tmp_path, checkpoints):
    shutil.copytree(checkpoints / "blocks" / "mtl", tmp_path / "town")
    model = f"--model={tmp_path / 'town' / 'best.weights.h5'}"
    scene = make_scene(tmp_path)
    predict.main([str(scene), str(tmp_path / "a.tif"), model])
    plain = run(scene, "b.tif", "--correction=false")
    np.testing.assert_array_equal(read_raster(tmp_path / "a.tif").pixels, read_raster(plain).pixels)


def test_a_folder_of_scenes_gives_a_folder_of_heights(run, tmp_path):
    (tmp_path / "photos").mkdir()
    make_scene(tmp_path / "photos").rename(tmp_path / "photos" / "a.tif")
    gdal.BuildVRT(str(tmp_path / "photos" / "m.vrt"), [str(tmp_path / "photos" / "a.tif")])
    output = run(tmp_path / "photos", "out")
    first, mosaic = (read_raster(output / f"{name}.tif").pixels for name in "am")
    np.testing.assert_array_equal(first, mosaic)


def test_what_is_finished_is_not_predicted_again(run, tmp_path, capsys):
    scene = make_scene(tmp_path)
    before = run(scene).stat().st_mtime_ns
    assert run(scene).stat().st_mtime_ns == before
    assert "is finished" in capsys.readouterr().out
    assert run(scene, "h.tif", "--resume=never").stat().st_mtime_ns != before


def test_another_commit_changes_nothing_and_another_number_of_replicas_does(
    run, tmp_path, monkeypatch
):
    scene = make_scene(tmp_path)
    before = run(scene).stat().st_mtime_ns
    monkeypatch.setattr("prediction.predictor.checkout", lambda: "another")
    assert run(scene).stat().st_mtime_ns == before
    options = ("--cpu_replicas=2", "--batch_windows=4")  # batches of 8 as before
    after = run(scene, "h.tif", *options)
    assert after.stat().st_mtime_ns != before
    assert gdal.Open(str(after)).GetMetadata()["TIFFTAG_SOFTWARE"] == "DSMNet another"


def test_a_scene_of_another_gsd_is_warned_of_or_resampled(run, tmp_path, capsys):
    scene = make_scene(tmp_path, place=(5e5, 0.25, 0.0, 5e6, 0.0, -0.25))
    run(scene)
    assert "warning: the network was trained at 0.5 m" in capsys.readouterr().out
    info = read_info(run(scene, "r.tif", "--match_gsd=true"))
    assert (info.gsd, info.grid.rows, info.grid.columns) == (0.5, 45, 35)


@pytest.mark.parametrize(
    ("place", "epsg", "size"),
    [
        ((5e5, 0.4, 0.0, 5e6, 0.0, -0.6), 32632, "0.4 m (along a row) x 0.6 m per pixel"),
        ((0.0, 0.5, 0.0, 8399738.0, 0.0, -0.5), 3857, "0.25 m per pixel"),  # at 60 degrees
    ],
)
def test_pixels_of_another_size_on_the_ground_are_warned_of(
    run, tmp_path, capsys, place, epsg, size
):
    run(make_scene(tmp_path, place=place, epsg=epsg))
    out = capsys.readouterr().out
    assert size in out and "warning: the network was trained at 0.5 m" in out


def test_clipped_values_are_reported_at_the_end(run, tmp_path, capsys):
    pixels = np.full((100, 100, 3), 90.0, "float32")
    pixels[51, 51] = 400
    write_raster(tmp_path / "scene.tif", pixels, Grid(100, 100, PLACE, projection_wkt(32632)))
    run(tmp_path / "scene.tif")
    assert "warning: 1 pixels of" in capsys.readouterr().out


def test_a_broken_scene_does_not_stop_the_others(run, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.tif").write_text("no raster")
    make_scene(tmp_path / "photos")
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / "photos", "out")
    assert "1 of 2 scenes failed" in stopped.value.code and "a.tif" in stopped.value.code
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scene.tif"]


def test_a_scene_whose_heights_cannot_be_written_does_not_stop_the_others(run, tmp_path):
    (tmp_path / "photos").mkdir()
    make_scene(tmp_path / "photos").rename(tmp_path / "photos" / "a.tif")
    make_scene(tmp_path / "photos")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".a.tif.partial").touch()  # where the folder of the rows belongs
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / "photos", "out")
    assert "1 of 2 scenes failed" in stopped.value.code
    assert "out/.a.tif.partial is a file, but finished rows" in stopped.value.code
    assert (tmp_path / "out" / "scene.tif").is_file()


def test_a_scene_that_disappears_while_read_does_not_stop_the_others(run, tmp_path, monkeypatch):
    from datasets.rasters.reading import file_list

    (tmp_path / "photos").mkdir()
    make_scene(tmp_path / "photos").rename(tmp_path / "photos" / "a.tif")
    make_scene(tmp_path / "photos")

    def gone(path):
        monkeypatch.setattr("datasets.rasters.photos.file_list", file_list)
        parts = file_list(path)
        path.unlink()
        return parts

    monkeypatch.setattr("datasets.rasters.photos.file_list", gone)
    with pytest.raises(SystemExit, match="1 of 2 scenes failed(.|\n)*a.tif: .Errno 2"):
        run(tmp_path / "photos", "out")
    assert (tmp_path / "out" / "scene.tif").is_file()


def test_what_another_process_finishes_before_the_lease_is_held_stays(
    run, tmp_path, monkeypatch, capsys
):
    from prediction.unfinished import is_finished

    scene = make_scene(tmp_path)
    before = run(scene).stat().st_mtime_ns

    def before_it_was(*given):
        monkeypatch.setattr("prediction.predictor.is_finished", is_finished)
        return False

    monkeypatch.setattr("prediction.predictor.is_finished", before_it_was)
    assert run(scene).stat().st_mtime_ns == before
    assert "is finished" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h.tif", "scene.tif"]


def elsewhere():
    """Returns a process that seems to run on another machine."""
    return replace(this_process(), host="node2", boot="another")


def test_a_single_scene_that_is_held_is_refused_and_the_holder_named(run, tmp_path, capsys):
    scene = make_scene(tmp_path)
    with acquire(beside(tmp_path / "h.tif"), "", interval=0.05):
        with pytest.raises(SystemExit, match="h.tif is being predicted by process .*Wait until"):
            run(scene)
        assert "70 pixels" not in capsys.readouterr().out  # before TensorFlow is loaded
    with acquire(beside(tmp_path / "h.tif"), "", interval=0.05, me=elsewhere()):
        with pytest.raises(SystemExit, match="h.tif is being predicted by process .* on node2"):
            run(scene)
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_held_scenes_of_a_folder_are_passed_over_and_looked_at_again(run, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in "abc":
        make_scene(tmp_path / "photos").rename(tmp_path / "photos" / f"{name}.tif")
    leases = [beside(tmp_path / "out" / f"{name}.tif") for name in "ab"]
    first, second = (acquire(path, "", interval=0.05, me=elsewhere()) for path in leases)

    class Output(io.StringIO):
        """Takes what is printed; the first scene becomes free when it has been passed over."""

        def write(self, text):
            if "a.tif is passed over" in text:
                first.release()
            return super().write(text)

    with second, contextlib.redirect_stdout(Output()) as output:
        run(tmp_path / "photos", "out")
    told = output.getvalue()
    assert told.count("photos/b.tif is passed over: ") == 2 and " on node2 (of " in told
    assert told.count("photos/a.tif is passed over: ") == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.tif", "c.tif"}


# Does with a folder of scenes what predict.py does; a prediction is a file after some time.
SHARER = """
import sys, time
from pathlib import Path
from predict import share
from project.lease import acquire, beside
photos, heights = map(Path, sys.argv[1:])
def predict(scene, output, wait):
    with acquire(beside(output), "a scene is being predicted", wait):
        if not output.exists():
            time.sleep(0.05)
            output.touch()
            print("Written", output.name, flush=True)
sys.exit(len(share([(scene, heights / scene.name) for scene in sorted(photos.iterdir())], predict)))
"""


def test_processes_share_the_scenes_of_a_folder(tmp_path):
    for folder in ("photos", "heights"):
        (tmp_path / folder).mkdir()
    names = [f"{number}.tif" for number in range(12)]
    for name in names:
        (tmp_path / "photos" / name).touch()
    command = [sys.executable, "-c", SHARER, tmp_path / "photos", tmp_path / "heights"]
    pipes = {"stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    told = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    written = [re.findall("Written (.*)", text) for text in told]
    assert sorted(sum(written, [])) == sorted(names), told  # each once
    assert {path.name for path in (tmp_path / "heights").iterdir()} == set(names)


def test_maps_that_would_overwrite_each_other_are_refused(run, tmp_path):
    (tmp_path / "photos").mkdir()
    scene = make_scene(tmp_path / "photos")
    shutil.copy(scene, tmp_path / "photos" / "scene_classes.tif")
    with pytest.raises(SystemExit, match="would both be written to .*out/scene_classes.tif"):
        run(tmp_path / "photos", "out", "--outputs=classes")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_scene_too_wide_for_the_memory_is_refused_with_numbers(
    run, tmp_path, monkeypatch, options
):
    monkeypatch.setattr("prediction.predictor.free_memory", lambda: 2**17)
    # 32 x 70 px of 3 x 3 + 4 x 2 float32, in 2^30 bytes
    with pytest.raises(SystemExit, match="70 px wide.*0.000142 GiB .* 0.000122 GiB are free"):
        run(make_scene(tmp_path), "h.tif", *options)
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_stage_2_samples_with_its_own_dropout(checkpoints, tmp_path):
    from runs.networks import load_networks
    from runs.start import start_strategy
    from runs.stored import adopt_stored_network

    shutil.copytree(checkpoints, tmp_path / "ck")
    path = tmp_path / "ck" / "blocks" / "dae" / "settings.json"
    stored = json.loads(path.read_text())
    stored["settings"]["dropout"] = 0.125
    path.write_text(json.dumps(stored))

    def rates(*arguments):
        arguments = [
            "out",
            f"--checkpoint_dir={tmp_path / 'ck'}",
            "--dataset_name=blocks",
            *arguments,
        ]
        settings = load("", arguments, export.OPTIONS, trained_record)
        settings = adopt_stored_network(settings)
        stages = load_networks(settings, start_strategy(settings))
        layers = [list(network._flatten_layers()) for network in stages]
        return [{x.rate for x in found if isinstance(x, SampleDropout)} for found in layers]

    assert rates() == [{0.3}, {0.125}]
    assert rates("--dropout=0.2") == [{0.2}, {0.2}]


def test_evaluation_takes_the_mean_over_views_but_resamples_nothing(
    checkpoints, blocks, tmp_path, capsys
):
    run = ["--dataset_name=blocks", f"--checkpoint_dir={checkpoints}", f"--shortcut_path={blocks}"]
    errors = []
    for options in (["--match_gsd=true"], ["--tta=true"]):
        test_dsm.main([*run, f"--output_dir={tmp_path}", "--splits=valid", *options])
        metrics = json.loads((tmp_path / "blocks" / "valid_dae" / "metrics.json").read_text())
        errors.append(metrics["rmse"])
    assert errors[0] != errors[1]
    assert capsys.readouterr().out.count("match_gsd has no effect here") == 1


def test_a_scene_without_crs_gives_heights_without(run, tmp_path, capsys):
    output = run(make_scene(tmp_path, place=None, epsg=None))
    assert read_info(output).grid.geotransform is None
    assert "no CRS" in capsys.readouterr().out


@pytest.mark.parametrize("rows", [5, 40])
def test_a_scene_smaller_than_a_window_is_filled_up_by_mirroring(run, tmp_path, rows):
    assert read_raster(run(make_scene(tmp_path, rows, 30))).valid.all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--outputs=shadows"], "shadows is not known"),
        (["--sar=radar.tif"], "trained without radar"),
        (["--outputs=uncertainty", "--dropout=0"], "--tta=true"),
        (["--model=absent.h5"], "no trained weights at absent.h5"),
        (["--resume=."], "auto or never"),
        (["--decoder_width=1"], "trained with decoder_width=0.02"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run, tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as stopped:
        run(make_scene(tmp_path), "h.tif", *options)
    assert message in f"{stopped.value.code} {capsys.readouterr().err}"
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_a_dry_run_of_a_scene_beyond_int32_says_windows_and_memory(run, tmp_path, capsys):
    options = ["SPARSE_OK=TRUE", "TILED=YES", "BIGTIFF=YES", "PHOTOMETRIC=RGB"]
    path, size = tmp_path / "scene.tif", 50000
    gdal.GetDriverByName("GTiff").Create(str(path), size, size, 3, gdal.GDT_Byte, options)
    run(path, "h.tif", "--dry-run", "--window_size=64", "--overlap=0.5")
    out = capsys.readouterr().out
    # windows at 0, 32, ..., 49888 and 49936: 1562 along each axis
    assert f"{1562**2} windows of 64 px every 32 px" in out
    # strips: 3 x 3 bands; sums and rows: 4 x (1 + 1); of 64 x 50000 float32
    assert f"{4 * 64 * 50000 * 17 / 2**20:.0f} MiB for a row of windows" in out
    whole, *parts = (int(number) for number in re.findall(r"(\d+) MiB", out))
    assert whole == pytest.approx(sum(parts), abs=3) and parts[0] > 100  # TensorFlow alone is more
    assert not (tmp_path / "h.tif").exists()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0.2 seconds"), (89, "89.0 seconds"), (90, "1.5 minutes"), (5400, "1.5 hours")],
)
def test_durations_are_for_people(seconds, words):
    from prediction.predictor import duration

    assert duration(seconds) == words


def test_a_killed_process_resumes_to_the_same_bits(tmp_path, checkpoints):
    scene = make_scene(tmp_path, 2000, 2000, nodata=5, gap=np.s_[600:1300, 400:1700])
    model = ["--dataset_name=blocks", f"--checkpoint_dir={checkpoints}", "--window_size=256"]
    command = [sys.executable, "predict.py", str(scene)]
    # TensorFlow's log as a user has it, not as the tests have set it.
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    silent = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT}
    silent["env"] = environment

    def start(name):
        return subprocess.Popen([*command, str(tmp_path / name), *model], **silent)

    progress = tmp_path / ".a.tif.partial" / "progress.json"
    process, deadline = start("a.tif"), time.monotonic() + 300
    while not (progress.exists() and json.loads(progress.read_text())["rows"] >= 512):
        assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 512 <= json.loads(progress.read_text())["rows"] < 2000
    assert not (tmp_path / "a.tif").exists()
    for name in ("a.tif", "b.tif"):
        process = start(name)
        told, _ = process.communicate(timeout=300)
        assert process.returncode == 0, told
        assert not re.findall(r"(?m)^([IWEF]\d{4} .*|.*absl::.*|.*tensorflow/.*)$", told)
    heights = [read_raster(tmp_path / name).pixels for name in ("a.tif", "b.tif")]
    np.testing.assert_array_equal(*heights)
    assert not progress.parent.exists()
