"""The main job on a small data set, script by script, as run_train_test.sh calls them."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import quick_test_dae
import quick_test_mtl
import test_complete_pipeline
import test_dsm
import train_dae
import train_mtl
from datasets.rasters.reading import read_info, read_raster

NETWORK = ["--backbone=tiny", "--decoder_width=0.02", "--decoder_skips=true"]


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# What takes long and depends on no preset is tried with one.
one_preset = pytest.mark.parametrize("preset", ["improved"], indirect=True)


@pytest.fixture(scope="module", params=["improved", "published"])
def preset(request):
    """Returns the options of a run under each preset, in the size of the data set."""
    size = ["--crop_size=32", "--batch_size=2", "--samples_per_epoch=16", "--overlap=0.5"]
    return [f"--preset={request.param}", *size]


@pytest.fixture(scope="module")
def folders(blocks, tmp_path_factory):
    """Returns (arguments for the data, folder of checkpoints, folder of results)."""
    folder = tmp_path_factory.mktemp("run")
    arguments = ["--dataset_name=blocks", f"--shortcut_path={blocks}"]
    arguments += [f"--checkpoint_dir={folder / 'ck'}", f"--output_dir={folder / 'out'}"]
    return arguments, folder / "ck" / "blocks", folder / "out" / "blocks"


@pytest.fixture(scope="module")
def trained(folders, preset):
    """Runs the four scripts once per preset; returns (arguments, checkpoints, results)."""
    arguments, checkpoints, results = folders
    train_mtl.main([*arguments, *preset, *NETWORK, "--mtl_steps=12"])
    test_dsm.main([*arguments, "--correction=false"])
    train_dae.main([*arguments, *preset, *NETWORK, "--dae_epochs=1", "--dae_batch_size=2"])
    test_dsm.main([*arguments, "--correction=true", "--splits=valid,test"])
    return arguments, checkpoints, results


def test_history_has_every_step(trained):
    rows = read_csv(trained[2] / "mtl" / "history.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, 13))
    assert [int(row["epoch"]) for row in rows] == [1] * 8 + [2] * 4  # 16 crops, 2 a step
    weights = json.loads((trained[1] / "mtl" / "settings.json").read_text())["loss_weights"]
    for row in rows:
        parts = sum(weights[name] * float(row[name]) for name in weights)
        assert float(row["loss"]) == pytest.approx(parts, rel=1e-5)


def test_dae_epochs_count_steps_and_leave_other_losses_empty(trained):
    rows = read_csv(trained[2] / "dae" / "history.csv")
    assert len(rows) == 8 and {row["semantic_loss"] for row in rows} == {""}


def test_a_run_leaves_the_files_that_the_design_names(trained):
    _, checkpoints, results = trained
    for stage in ("mtl", "dae"):
        assert {path.name for path in (checkpoints / stage).iterdir()} == {
            "last",
            "best.weights.h5",
            "settings.json",
        }
        names = {path.name for path in (results / stage).iterdir()}
        assert {"history.csv", "validation.csv", "tensorboard", "curves.png"} <= names


def test_metrics_stand_beside_the_training_mean(trained):
    metrics = json.loads((trained[2] / "test_mtl" / "metrics.json").read_text())
    truth = [read_raster(path) for path in heights(trained)]
    stored = json.loads((trained[1] / "mtl" / "settings.json").read_text())
    mean = stored["training_mean_height"]
    errors = np.concatenate([(t.pixels[..., 0] - mean)[t.valid] for t in truth])
    expected = float(np.sqrt(np.mean(errors.astype("float64") ** 2)))
    assert metrics["training_mean"]["pooled"]["rmse"] == pytest.approx(expected, rel=1e-6)
    assert metrics["tiles"] == 2 and metrics["settings"]["correction"] == "false"
    assert {"rmse", "r2", "delta3", "rmse_building", "miou", "per_class", "seconds"} <= set(metrics)


def heights(trained):
    root = next(a for a in trained[0] if a.startswith("--shortcut_path=")).split("=")[1]
    return sorted((Path(root) / "blocks" / "test" / "dsm").iterdir())


def test_height_maps_lie_where_their_photo_lies_and_give_the_metrics(trained):
    for stage in ("test_mtl", "test_dae"):
        metrics = json.loads((trained[2] / stage / "metrics.json").read_text())
        squares, pixels = 0.0, 0
        for truth_path in heights(trained):
            path = trained[2] / stage / "dsm" / truth_path.name
            assert read_info(path).grid == read_info(truth_path).grid
            truth, predicted = read_raster(truth_path), read_raster(path)
            error = (predicted.pixels - truth.pixels)[truth.valid].astype("float64")
            squares, pixels = squares + np.square(error).sum(), pixels + error.size
        assert metrics["pooled"]["rmse"] == pytest.approx((squares / pixels) ** 0.5, rel=1e-5)
        assert metrics["valid_pixels"] == pixels


def test_details_and_intervals_fit_the_headline(trained):
    metrics = json.loads((trained[2] / "test_dae" / "metrics.json").read_text())
    pixels = metrics["valid_pixels"]
    for groups in (metrics["per_height_bin"], metrics["edges"]):
        assert sum(group["valid_pixels"] for group in groups.values()) == pixels
        squares = [(group["mse"] or 0) * group["valid_pixels"] for group in groups.values()]
        assert sum(squares) / pixels == pytest.approx(metrics["pooled"]["mse"])
    assert 0 < metrics["normals"]["mean_angle"] < 180
    for kind, headline in (("pooled", metrics["pooled"]), ("mean_of_tiles", metrics)):
        rmse = metrics["intervals"][kind]["rmse"]
        assert rmse["value"] == pytest.approx(headline["rmse"])
        assert rmse["low"] <= rmse["value"] <= rmse["high"]
    assert "normals_mean_angle" in read_csv(trained[2] / "test_dae" / "per_tile.csv")[0]


@one_preset
def test_runs_are_compared_by_their_names(trained, capsys):
    test_dsm.main([*trained[0], "--compare=test_mtl,test_dae"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("|")[2:4] == [" test_mtl ", " test_dae "]
    assert "setting correction: false / true" in lines


def test_classes_are_written_as_label_codes(trained):
    for path in (trained[2] / "test_mtl" / "sem").iterdir():
        assert set(np.unique(read_raster(path).pixels)) <= {2, 6}


def test_figures_are_drawn_for_the_test_split_only(trained):
    assert len(list((trained[2] / "test_dae" / "figures").glob("*.png"))) == 2
    assert {path.name for path in (trained[2] / "valid_dae").iterdir()} == {
        "metrics.json",
        "per_tile.csv",
    }


def test_a_finished_run_is_left_alone(trained, preset, capsys):
    before = (trained[1] / "mtl" / "best.weights.h5").stat().st_mtime_ns
    train_mtl.main([*trained[0], *preset, *NETWORK, "--mtl_steps=12"])
    assert "finished" in capsys.readouterr().out
    assert (trained[1] / "mtl" / "best.weights.h5").stat().st_mtime_ns == before


@one_preset
def test_the_network_of_a_checkpoint_cannot_be_contradicted(trained):
    with pytest.raises(SystemExit, match="decoder_width=0.5.*decoder_width=0.02"):
        test_dsm.main([*trained[0], "--decoder_width=0.5"])


@one_preset
def test_quick_test_and_benchmark_scripts_write_no_checkpoint(folders, trained, capsys):
    arguments, checkpoints, results = folders
    before = sorted(path.stat().st_mtime_ns for path in checkpoints.rglob("*"))
    for script in (quick_test_mtl, quick_test_dae):
        with pytest.raises(SystemExit) as ending:
            script.main([*arguments, *NETWORK])
        assert ending.value.code == 0, capsys.readouterr().out
    test_complete_pipeline.main([*arguments, *NETWORK, "--repeats=2"])
    assert sorted(path.stat().st_mtime_ns for path in checkpoints.rglob("*")) == before
    phases = json.loads((results / "benchmark.json").read_text())["phases"]
    assert len(phases) == 5 and all(row["first"] > 0 for row in phases.values())


def test_replicas_validate_the_network_that_is_saved(folders, tmp_path):
    """Each replica has its own moving statistics; what is measured must be what is saved."""
    tf.distribute.MirroredStrategy._collective_key_base += 100000
    arguments = [*folders[0][:2], f"--checkpoint_dir={tmp_path}", f"--output_dir={tmp_path}/out"]
    arguments += [*NETWORK, "--cpu_replicas=2", "--batch_norm_momentum=0.5", "--mtl_steps=8"]
    arguments += ["--sem_flag=false", "--norm_flag=false"]
    train_mtl.main([*arguments, "--mtl_learning_rate=0.01"])
    test_dsm.main([*folders[0][:2], *arguments[2:4], "--splits=valid", "--overlap=0"])
    rows = read_csv(tmp_path / "out" / "blocks" / "mtl" / "validation.csv")
    best = min(float(row["rmse"]) for row in rows)
    metrics = json.loads((tmp_path / "out/blocks/valid_mtl/metrics.json").read_text())
    assert best == pytest.approx(metrics["rmse"], rel=1e-5)


@one_preset
def test_changed_data_starts_a_new_run(blocks, trained, tmp_path, capsys):
    shutil.copytree(blocks / "blocks", tmp_path / "blocks")
    shutil.copytree(trained[1], tmp_path / "ck" / "blocks")
    toml = tmp_path / "blocks" / "dataset.toml"
    toml.write_text("height_scale = 0.5\n" + toml.read_text())
    arguments = ["--dataset_name=blocks", f"--shortcut_path={tmp_path}", "--mtl_steps=12"]
    arguments += [f"--checkpoint_dir={tmp_path}/ck", f"--output_dir={tmp_path}/out"]
    train_mtl.main([*arguments, *NETWORK])
    assert "moved aside" in capsys.readouterr().out
    assert (tmp_path / "ck" / "blocks" / "mtl.1" / "best.weights.h5").is_file()


def test_the_crop_size_of_the_training_is_taken_over(trained):
    stored = json.loads((trained[2] / "dae" / "settings.json").read_text())["settings"]
    assert stored["crop_size"] == 32


@one_preset
def test_a_test_split_needs_no_labels(blocks, trained, tmp_path):
    shutil.copytree(blocks / "blocks", tmp_path / "blocks")
    shutil.rmtree(tmp_path / "blocks" / "test" / "sem")
    arguments = ["--dataset_name=blocks", f"--shortcut_path={tmp_path}", "--figures=0"]
    test_dsm.main([*arguments, trained[0][2], f"--output_dir={tmp_path}"])
    metrics = json.loads((tmp_path / "blocks" / "test_dae" / "metrics.json").read_text())
    assert metrics["miou"] is None and metrics["rmse"] > 0


@one_preset
def test_stage_2_is_not_picked_by_classes_that_it_cannot_change(trained, capsys):
    arguments = [*trained[0], "--dae_steps=4", "--eval_metric=miou", "--resume=never"]
    train_dae.main(arguments)
    assert "valid rmse" in capsys.readouterr().out


def test_stage_2_wants_stage_1_first(folders, tmp_path):
    arguments = [*folders[0][:2], f"--checkpoint_dir={tmp_path}"]
    for script in (train_dae, test_dsm):
        with pytest.raises(SystemExit, match="Run train_mtl.py"):
            script.main(arguments)
