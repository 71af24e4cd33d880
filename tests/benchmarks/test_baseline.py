import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import baseline
from datasets.checks.validation import check_split
from datasets.rasters.reading import read_raster
from datasets.rasters.writing import write_raster
from datasets.records.record import find_record
from datasets.tiles.folders import list_tiles
from evaluation.measures.metrics import SplitMetrics
from evaluation.measures.tile_maps import TileMaps
from evaluation.split import SplitEvaluation, stored_baseline
from project.files import write_json

ROOT = Path(__file__).parents[2]


def metrics_of(folder, split="test"):
    return json.loads((folder / "blocks" / f"yardstick_{split}" / "metrics.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    """Keeps the boosting short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(baseline.BOOSTING, "max_iter", 40)
        yield


@pytest.fixture(scope="module")
def measured(blocks, tmp_path_factory):
    """Runs the baseline once; returns the folder of results."""
    folder = tmp_path_factory.mktemp("baseline")
    arguments = [f"--shortcut_path={blocks}", f"--output_dir={folder}", "--splits=valid,test"]
    baseline.main(["blocks", *arguments])
    return folder


def test_bright_blocks_are_read_from_their_colour(measured):
    metrics = metrics_of(measured)
    assert metrics["overall_accuracy"] > 0.99
    assert metrics["pooled"]["rmse"] < 0.9 * metrics["training_mean"]["pooled"]["rmse"]


def test_file_has_the_format_of_metrics_json(measured):
    metrics = metrics_of(measured, "valid")
    assert {"rmse", "pooled", "rmse_building", "miou", "per_class", "tiles"} <= set(metrics)
    assert {"seconds", "training_mean", "settings", "features"} <= set(metrics)
    assert metrics["tiles"] == 2 and metrics["settings"]["dataset_name"] == "blocks"
    assert metrics["features"]["classes"]["iterations"] > 0


def test_training_mean_is_that_of_the_training_heights(measured, blocks):
    truth = [read_raster(path) for path in (blocks / "blocks/train/dsm").iterdir()]
    mean = np.mean(np.concatenate([t.pixels[t.valid] for t in truth]), dtype="float64")
    test = [read_raster(path) for path in (blocks / "blocks/test/dsm").iterdir()]
    errors = np.concatenate([t.pixels[t.valid] for t in test]) - mean
    stored = metrics_of(measured)["training_mean"]
    assert stored["height"] == pytest.approx(mean)
    assert stored["pooled"]["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    assert stored["per_class"]["building"]["recall"] == 0 < stored["overall_accuracy"]


def test_same_seed_gives_the_same_measures(measured, blocks, tmp_path):
    baseline.main(["blocks", f"--shortcut_path={blocks}", f"--output_dir={tmp_path}"])
    first, again = metrics_of(measured), metrics_of(tmp_path)
    assert {**first, "seconds": 0, "settings": 0} == {**again, "seconds": 0, "settings": 0}


def test_heights_alone_without_the_semantic_task(blocks, tmp_path):
    arguments = [f"--shortcut_path={blocks}", f"--output_dir={tmp_path}", "--sem_flag=false"]
    baseline.main(["blocks", *arguments])
    metrics = metrics_of(tmp_path)
    assert metrics["overall_accuracy"] is None and list(metrics["features"]) == ["heights"]


def test_pixels_are_drawn_from_every_tile_by_its_usable_pixels(blocks, monkeypatch):
    monkeypatch.setattr(baseline, "MOST_PIXELS", 1000)
    record = find_record("blocks", blocks)
    tiles = list_tiles(record, "train")
    drawn = baseline.draw_pixels(record, tiles, check_split(record, "train", tiles, 1), seed=0)
    assert drawn["heights"].features.shape == (1000, 18)  # 250 of each; colour and 5 blurs
    assert np.isfinite(drawn["heights"].targets).all()
    assert set(drawn["classes"].targets) == {0, 1}


def test_features_are_colour_then_blurs_from_fine_to_coarse():
    image = np.zeros((9, 9, 3), "float32")
    image[4, 4] = 100
    features = baseline.colour_features(image, (1, 2))
    assert features.shape == (9, 9, 9)
    assert features[4, 4, 0] == 100 > features[4, 4, 3] > features[4, 4, 6] > 0
    assert features[4, 4, 3] == pytest.approx(100 / (2 * np.pi), rel=0.01)  # peak of a Gaussian


def test_the_blurs_with_the_smallest_error_on_valid_win():
    class Constant:
        """Predicts how many features it has."""

        def __init__(self, **_):
            pass

        def fit(self, features, targets, X_val, y_val):
            self.count = features.shape[1]

        def predict(self, features):
            return np.full(len(features), self.count)

    pixels = baseline.Pixels(np.zeros((4, 18), "float32"), np.full(4, 15.2))
    found = baseline.fit_best(Constant, baseline.rmse, pixels, pixels, 0)
    assert found.blurs == (1, 2, 4, 8) and found.valid_error == pytest.approx(0.2)


def relabel(folder, split, change):
    """Applies a function to the label codes of every tile of a split."""
    for path in (folder / split / "sem").iterdir():
        raster = read_raster(path)
        write_raster(path, change(raster.pixels), raster.grid)


def test_class_that_training_lacks_is_left_out(blocks, tmp_path):
    shutil.copytree(blocks / "blocks", tmp_path / "blocks")
    toml = tmp_path / "blocks" / "dataset.toml"
    text = toml.read_text().replace("[65]", "[]")
    toml.write_text(text.replace("classes = [", 'classes = [{code = 65, name = "water"}, '))
    relabel(tmp_path / "blocks", "train", lambda codes: np.where(codes == 65, 2, codes))
    baseline.main(["blocks", f"--shortcut_path={tmp_path}", f"--output_dir={tmp_path / 'out'}"])
    metrics = metrics_of(tmp_path / "out")
    assert metrics["per_class"]["water"]["recall"] == 0 < metrics["overall_accuracy"]


def test_one_class_in_training_is_predicted_everywhere(blocks, tmp_path):
    shutil.copytree(blocks / "blocks", tmp_path / "blocks")
    relabel(tmp_path / "blocks", "train", lambda codes: np.full_like(codes, 2))
    baseline.main(["blocks", f"--shortcut_path={tmp_path}", f"--output_dir={tmp_path / 'out'}"])
    metrics = metrics_of(tmp_path / "out")
    assert metrics["per_class"] == metrics["training_mean"]["per_class"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["blcks"], "Did you mean blocks"),
        (["blocks", "--splits=tset"], "--splits=tset"),
        (["blocks", "--dataset_name=blocks"], "given 2 times"),
    ],
)
def test_wrong_arguments_end_with_a_message(blocks, capsys, arguments, message):
    with pytest.raises(SystemExit):
        baseline.main([*arguments, f"--shortcut_path={blocks}"])
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and message in shown


def test_a_damaged_file_is_named(blocks, tmp_path):
    shutil.copytree(blocks / "blocks", tmp_path / "blocks")
    (tmp_path / "blocks/test/rgb/test_1.tif").write_bytes(b"II*")
    with pytest.raises(SystemExit, match="(?s)error: .*test_1.tif"):
        baseline.main(["blocks", f"--shortcut_path={tmp_path}", f"--output_dir={tmp_path}"])
    assert not (tmp_path / "blocks" / "yardstick_test").exists()


def test_needs_no_tensorflow():
    code = "import sys, benchmarks.baseline; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_report_shows_the_yardstick_of_the_same_tiles(tmp_path):
    settings = SimpleNamespace(output_dir=tmp_path, dataset_name="mine")
    measures = {"tiles": 2, "valid_pixels": 9, "rmse": 1.5}
    same, other = {"tiles": 2, "valid_pixels": 9}, {"tiles": 2, "valid_pixels": 8}
    assert stored_baseline(settings, "test", same) == {}
    write_json(tmp_path / "mine" / "yardstick_test" / "metrics.json", measures)
    assert stored_baseline(settings, "test", same) == {"boosting": measures}
    assert stored_baseline(settings, "test", other) == {}
    assert stored_baseline(settings, "valid", same) == {}


def test_report_prints_the_yardstick_as_a_third_column(tmp_path, capsys):
    metrics = SplitMetrics()
    metrics.add(TileMaps("a", np.zeros((2, 2)), np.ones((2, 2)), np.ones((2, 2), bool)))
    evaluation = SimpleNamespace(
        settings=SimpleNamespace(output_dir=tmp_path, dataset_name="mine", values={}),
        record=SimpleNamespace(name="Mine"),
        stored=SimpleNamespace(training_mean_height=2.0, encoder_weights="random"),
        **{"mean": metrics, "folder": tmp_path, "stage": "mtl", "split": "test", "tiles": [0]},
    )
    write_json(
        tmp_path / "mine/yardstick_test/metrics.json", {"tiles": 1, "valid_pixels": 4, "rmse": 1.5}
    )
    SplitEvaluation.report(evaluation, metrics, 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[2:5]] == [
        "MTL",
        "training mean",
        "boosting",
    ]
    assert [cell.strip() for cell in lines[4].split("|")[2:5]] == ["1.000", "1.000", "1.500"]
