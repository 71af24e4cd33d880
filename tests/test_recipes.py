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
from datasets.crops.targets import cast_batch
from evaluation.measures import height_metrics, metrics
from evaluation.report import tables
from models import backbones, mtl
from settings.table import TABLE
from training import history, losses
from training.stages import stage
from training.steps import MtlLosses

TINY = ["--backbone=tiny", "--decoder_width=0.03125", "--sem_flag=false", "--norm_flag=false"]
LOSSES = ("loss", "height_loss", "roof_loss")  # columns of history.csv


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


class WithRoofs(MtlLosses):
    """The losses of stage 1 and that of a head that tells roofs, heights above 2.5 m."""

    def __call__(self, batch):
        found, batch = super().__call__(batch), cast_batch(batch)
        outputs = self.mtl(batch["image"], training=True)
        is_roof = tf.cast(batch["heights"] > 2.5, tf.float32)
        roofs = losses.regression_loss(is_roof, outputs["roofs"], batch["valid"])
        return found | {"roof_loss": roofs}


def test_a_decoder_head(places, tmp_path, monkeypatch):
    known_heads, known_stage = mtl.decoder_heads, stage.mtl_stage
    kernels = []

    def mtl_stage(*given):
        made = known_stage(*given)
        kernels.append(made.network.get_layer("roofs").kernel)
        kernels.append(kernels[0].numpy())
        weights = made.loss_weights | {"roof_loss": 2.0}
        return replace(made, losses=WithRoofs(**vars(made.losses)), loss_weights=weights)

    row = ("roof", "roofs", 1, "sigmoid")
    monkeypatch.setattr(mtl, "decoder_heads", lambda *given: [*known_heads(*given), row])
    monkeypatch.setattr(stage, "mtl_stage", mtl_stage)
    monkeypatch.setattr(history, "HISTORY_COLUMNS", (*history.HISTORY_COLUMNS, "roof_loss"))
    rows = train([*places, *TINY, "--dropout=0"], tmp_path)
    assert len(rows) == 2 and list(rows[0])[-1] == "roof_loss"
    for loss, height, roof in ([float(row[n]) for n in LOSSES] for row in rows):
        assert roof > 0 and loss == pytest.approx(height + 2 * roof, rel=1e-5)
    trained, at_first = kernels
    assert not np.array_equal(trained.numpy(), at_first)


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


@dataclass(frozen=True)
class WithinSums(height_metrics.HeightSums):
    """The sums of the heights, and the number of pixels at most 1 m off."""

    within: int = 0

    def __add__(self, other):
        return replace(super().__add__(other), within=self.within + other.within)

    def measures(self):
        share = self.within / self.pixels if self.pixels else None
        return super().measures() | {"within_1_m": share}


def add_measure(monkeypatch):
    """Does what lines in height_metrics.py and tables.py would; returns the new height_sums."""
    known = height_metrics.height_sums

    def height_sums(heights, predicted):
        return replace(known(heights, predicted), within=(abs(predicted - heights) <= 1).sum())

    names = (*height_metrics.HEIGHT_MEASURES, "within_1_m")
    monkeypatch.setattr(height_metrics, "HeightSums", WithinSums)
    monkeypatch.setattr(metrics, "HeightSums", WithinSums)
    monkeypatch.setattr(metrics, "height_sums", height_sums)
    # Not in height_metrics itself, where HeightSums.measures computes exactly its own.
    monkeypatch.setattr(metrics, "HEIGHT_MEASURES", names)
    monkeypatch.setattr(tables, "HEIGHT_MEASURES", names)
    monkeypatch.setattr(tables, "MEASURES", tables.MEASURES | {("within_1_m",): "within 1 m"})
    return height_sums


def test_a_metric_of_the_heights(places, tmp_path, monkeypatch, capsys):
    height_sums = add_measure(monkeypatch)
    one = height_sums(np.array([1.0, 3.0]), np.array([2.0, 5.0]))
    other = height_sums(np.array([4.0, 4.0]), np.array([4.0, 4.5]))
    shares = [sums.measures()["within_1_m"] for sums in (one, other, one + other, WithinSums())]
    assert shares == [0.5, 1.0, 0.75, None]
    train([*places, *TINY], tmp_path)
    test_dsm.main([*places, "--splits=test", "--figures=0"])
    folder = tmp_path / "out/blocks/test_mtl"
    with (folder / "per_tile.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    of_tiles = [float(row["within_1_m"]) for row in rows]
    pixels = [int(row["valid_pixels"]) for row in rows]
    found = json.loads((folder / "metrics.json").read_text())
    assert found["within_1_m"] == pytest.approx(np.mean(of_tiles))
    assert found["pooled"]["within_1_m"] == pytest.approx(np.average(of_tiles, weights=pixels))
    assert "within 1 m" in capsys.readouterr().out
    assert "within 1 m" in (folder / "report.html").read_text(encoding="utf-8")


def test_the_networks_without_the_rest():
    """The snippet of the page, on a smaller encoder and without a GPU."""
    page = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    code = code.replace('backbone="resnet50"', 'backbone="tiny", decoder_width=0.03125')
    names = {"image": np.full((1, 32, 64, 3), 90, "float32")}
    exec(code, names)
    assert names["heights"].shape == (1, 32, 64, 1)
