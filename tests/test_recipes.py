"""The recipes of docs/architecture.md, each carried out: what they name is all it takes."""

import csv
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import test_dsm
import train_mtl
from datasets.catalogue import CATALOGUE
from datasets.catalogue.entries import NOT_STATED
from evaluation.measures import height_metrics
from evaluation.report import tables
from models import backbones, mtl
from settings.table import TABLE
from training import history, losses
from training.optimizers import make_optimizer
from training.steps import MtlLosses, StepOptions, make_train_step

TINY = ["--backbone=tiny", "--decoder_width=0.03125", "--sem_flag=false", "--norm_flag=false"]


@pytest.fixture
def places(blocks, tmp_path):
    folders = [f"--checkpoint_dir={tmp_path / 'ck'}", f"--output_dir={tmp_path / 'out'}"]
    return ["--dataset_name=blocks", f"--shortcut_path={blocks}", *folders]


def train(arguments, folder):
    """Trains two steps; returns the rows of history.csv."""
    train_mtl.main([*arguments, "--mtl_steps=2"])
    (path,) = folder.glob("out/*/mtl/history.csv")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def allow(monkeypatch, setting, choice):
    """Adds a choice to a setting, as a line in settings/table.py would."""
    row = TABLE[setting]
    monkeypatch.setitem(TABLE, setting, replace(row, choices=(*row.choices, choice)))


def test_a_loss_of_the_heights(places, tmp_path, monkeypatch):
    log_cosh = lambda error, delta: tf.math.log(tf.cosh(error))  # noqa: E731  as in the page
    monkeypatch.setitem(losses.PENALTIES, "log_cosh", log_cosh)
    allow(monkeypatch, "reg_loss", "log_cosh")
    truth, predicted = np.zeros((1, 1, 2, 1), "float32"), np.full((1, 1, 2, 1), 2.0, "float32")
    valid = np.array([True, False]).reshape(1, 1, 2, 1)
    by_hand = np.log((np.exp(2) + np.exp(-2)) / 2)
    (found,) = losses.regression_loss(truth, predicted, valid, "log_cosh").numpy()
    assert found == pytest.approx(by_hand)
    rows = train([*places, *TINY, "--reg_loss=log_cosh"], tmp_path)
    assert len(rows) == 2 and all(float(row["height_loss"]) > 0 for row in rows)


def three_layers(weights=None):
    """An encoder of three convolutions; what is coarser is averaged."""
    image = keras.Input((None, None, 3), name="image")
    stages = [image]
    for number, filters in enumerate((4, 8, 8), start=1):
        layer = keras.layers.Conv2D(
            filters, 3, 2, padding="same", activation="relu", name=f"conv{number}"
        )
        stages.append(layer(stages[-1]))
    for number in (4, 5):
        stages.append(keras.layers.AveragePooling2D(2, name=f"pool{number}")(stages[-1]))
    return keras.Model(image, stages[:0:-1], name="three_layers")


def test_an_encoder(places, tmp_path, monkeypatch):
    entry = backbones.Backbone(three_layers, pretrained=False)
    monkeypatch.setitem(backbones.BACKBONES, "three_layers", entry)
    allow(monkeypatch, "backbone", "three_layers")
    options = [*places, *TINY[1:], "--backbone=three_layers", "--backbone_weights=none"]
    assert len(train([*options, "--decoder_skips=true"], tmp_path)) == 2
    assert "three_layers" in (tmp_path / "ck/blocks/mtl/settings.json").read_text()


@dataclass(frozen=True)
class WithRoofs(MtlLosses):
    """The losses of stage 1 and that of a head that tells roofs, heights above 2.5 m."""

    def __call__(self, batch):
        found = super().__call__(batch)
        outputs = self.mtl(batch["image"], training=True)
        is_roof = tf.cast(batch["heights"] > 2.5, tf.float32)
        valid = tf.math.is_finite(batch["heights"])
        return found | {"roof_loss": losses.regression_loss(is_roof, outputs["roofs"], valid)}


def test_a_decoder_head(monkeypatch, tmp_path):
    known = mtl.decoder_heads
    monkeypatch.setattr(
        mtl, "decoder_heads", lambda *given: [*known(*given), ("roof", "roofs", 1, "sigmoid")]
    )
    network = mtl.build_mtl(mtl.NetworkOptions("tiny", decoder_width=0.03125, dropout=0.0), 0)
    assert network.output["roofs"].shape == (None, None, None, 1)
    optimizer = make_optimizer(network, 0.01)
    weights = {"height_loss": 1.0, "roof_loss": 2.0}
    step = make_train_step(
        tf.distribute.get_strategy(),
        network,
        optimizer,
        WithRoofs(network, 0.5, "unit"),
        weights,
        StepOptions(global_batch_size=2),
    )
    batch = {
        "image": tf.random.stateless_uniform((2, 32, 32, 3), (1, 2), 0, 255),
        "heights": tf.random.stateless_uniform((2, 32, 32, 1), (3, 4), 0, 5),
        "classes": tf.fill((2, 32, 32, 1), tf.constant(-1, tf.int16)),
        "gsd_factor": tf.ones(2),
        "sample": tf.range(2, dtype=tf.int64),
    }
    before = network.get_layer("roofs").kernel.numpy()
    rows = [step(batch) for _ in range(2)]
    total = 1.0 * rows[0]["height_loss"] + 2.0 * rows[0]["roof_loss"]
    assert float(rows[0]["loss"]) == pytest.approx(float(total), rel=1e-6)
    assert not np.array_equal(network.get_layer("roofs").kernel.numpy(), before)
    columns = (*history.HISTORY_COLUMNS, "roof_loss")
    monkeypatch.setattr(history, "HISTORY_COLUMNS", columns)
    log = history.RunLog(tmp_path, ())
    log.step({"step": 1, **{name: float(value) for name, value in rows[0].items()}})
    log.close()
    with (tmp_path / "history.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["roof_loss"]) == pytest.approx(float(rows[0]["roof_loss"]))


def test_a_data_set_record(blocks, tmp_path, monkeypatch):
    entry = {
        "name": "My town",
        "source": "measured by hand",
        "licence": NOT_STATED,
        "gsd": 0.5,
        "crop_size": 32,
        "batch_size": 2,
        "ignore_codes": [65],
        "building_code": 6,
        "classes": [{"code": 2, "name": "ground"}, {"code": 6, "name": "building"}],
    }
    monkeypatch.setitem(CATALOGUE, "mytown", entry)
    for split in ("train", "valid"):
        (tmp_path / "data" / "mytown").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "mytown" / split).symlink_to(blocks / "blocks" / split)
    folders = [f"--checkpoint_dir={tmp_path / 'ck'}", f"--output_dir={tmp_path / 'out'}"]
    places = ["--dataset_name=mytown", f"--shortcut_path={tmp_path / 'data'}", *folders]
    assert len(train([*places, *TINY[:2], "--norm_flag=false"], tmp_path)) == 2
    stored = json.loads((tmp_path / "ck/mytown/mtl/settings.json").read_text())
    assert stored["classes"] == ["ground", "building"] and stored["gsd"] == 0.5


def test_a_metric_of_the_heights(places, tmp_path, monkeypatch, capsys):
    known, names = height_metrics.HeightSums.measures, height_metrics.HEIGHT_MEASURES

    def measures(sums):
        if not sums.mean:
            return known(sums) | {"relative_mae": None}
        return known(sums) | {"relative_mae": sums.absolute_error / sums.pixels / sums.mean}

    monkeypatch.setattr(height_metrics.HeightSums, "measures", measures)
    label = {("pooled", "relative_mae"): "MAE / mean height"}
    monkeypatch.setattr(tables, "MEASURES", tables.MEASURES | label)
    sums = height_metrics.height_sums(np.array([1.0, 3.0]), np.array([2.0, 5.0]))
    assert sums.measures()["relative_mae"] == pytest.approx(1.5 / 2)
    train([*places, *TINY], tmp_path)
    test_dsm.main([*places, "--splits=test", "--figures=0"])
    metrics = json.loads((tmp_path / "out/blocks/test_mtl/metrics.json").read_text())
    assert metrics["pooled"]["relative_mae"] > 0 and names[0] in metrics
    assert "MAE / mean height" in capsys.readouterr().out


def test_the_networks_without_the_rest():
    """The snippet of the page, on a smaller encoder and without a GPU."""
    page = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    code = code.replace('backbone="resnet50"', 'backbone="tiny", decoder_width=0.03125')
    names = {"image": np.full((1, 32, 64, 3), 90, "float32")}
    exec(code, names)
    assert names["heights"].shape == (1, 32, 64, 1)
