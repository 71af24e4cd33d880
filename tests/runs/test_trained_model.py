import argparse
import hashlib
import json
from types import SimpleNamespace

import pytest

from datasets.records.record import ClassLabel
from project.errors import UserError
from runs.stored import ResumeError, with_trained_dropout
from runs.trained_model import model_identity, trained_record
from settings.table import DEFAULT

STORED = {
    "stage": "mtl",
    "settings": {"dataset_name": "town", "dropout": 0.3},
    "identity": {"class_codes": ["(2,)", "(6, 7)", "(9,)"], "rgb_scale": 0.25},
    "classes": ["ground", "building", "car"],
    "unusable_tiles": [],
    "encoder_weights": "random",
    "parameters": 1,
    "gsd": 0.5,
    "training_mean_height": 2.0,
    "majority_class": 0,
    "loss_weights": {"height_loss": 1.0},
}
VALUES = {"checkpoint_dir": "checkpoints", "dataset_name": "Demo"}


def read(folder, stored=STORED, name="best.weights.h5"):
    (folder / name).touch()
    (folder / "settings.json").write_text(json.dumps(stored))
    return trained_record(VALUES, argparse.Namespace(model=str(folder / name)))


def test_all_that_prediction_needs_comes_from_settings_json(tmp_path):
    record = read(tmp_path)
    assert (record.name, record.gsd, record.rgb_scale, record.sar_scale) == ("town", 0.5, 0.25, 1.0)
    assert record.classes == (
        ClassLabel(2, "ground"),
        ClassLabel(6, "building", (7,)),
        ClassLabel(9, "car"),
    )


def test_label_codes_may_be_colours(tmp_path):
    codes = {"class_codes": ["((0, 0, 0), (9, 9, 9))", "((255, 0, 0),)"]}
    stored = STORED | {"classes": ["a", "b"], "identity": STORED["identity"] | codes}
    black, red = read(tmp_path, stored).classes
    assert (black.codes, red.code) == (((0, 0, 0), (9, 9, 9)), (255, 0, 0))


def test_the_model_of_checkpoint_dir_and_dataset_name_is_looked_for(tmp_path):
    folder = tmp_path / "town" / "mtl"
    folder.mkdir(parents=True)
    read(folder)
    values = {"checkpoint_dir": str(tmp_path), "dataset_name": "town"}
    assert trained_record(values, argparse.Namespace(model=None)).folder == folder


@pytest.mark.parametrize(
    ("stored", "name", "message"),
    [
        (STORED, "other.h5", "no trained weights at .*other.h5"),
        (STORED | {"stage": "dae"}, "best.weights.h5", "weights of stage 2; name those of stage 1"),
        (
            {"stage": "mtl"},
            "best.weights.h5",
            "settings.json is damaged .it lacks settings,",
        ),
        ([], "best.weights.h5", "settings.json is damaged"),
        (
            STORED | {"identity": {}},
            "best.weights.h5",
            "settings.json cannot be used .KeyError: 'class_codes'",
        ),
        (
            STORED | {"identity": {"class_codes": ["(" * 10**5] * 3, "rgb_scale": 1.0}},
            "best.weights.h5",
            "settings.json cannot be used .RecursionError",
        ),
        *(
            (
                STORED | {"identity": STORED["identity"] | {"class_codes": [text, "(6,)", "(9,)"]}},
                "best.weights.h5",
                "settings.json cannot be used .*",
            )
            for text in (
                "open('x', 'w')",
                "(2).__class__",
                "2 ** 9 ** 9",
                "(1 + 1,)",
                "",
                "(2",
                "{}",
            )
        ),
        (
            STORED | {"identity": STORED["identity"] | {"rgb_scale": -1}},
            "best.weights.h5",
            "settings.json cannot be used .*rgb_scale is -1, expected a number above 0",
        ),
    ],
)
def test_what_is_no_trained_network_is_said(tmp_path, stored, name, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, stored, name)


@pytest.mark.parametrize("dropout", [None, "0.5", 1.5])
def test_a_stored_dropout_that_is_none_is_said(tmp_path, dropout):
    read(tmp_path, STORED | {"settings": STORED["settings"] | {"dropout": dropout}})
    options = argparse.Namespace(model=str(tmp_path / "best.weights.h5"))
    settings = SimpleNamespace(options=options, sources={"dropout": DEFAULT})
    with pytest.raises(ResumeError, match="settings.json is damaged .dropout: expected a number"):
        with_trained_dropout(settings, "mtl")


def test_each_stage_is_known_by_its_own_weights(tmp_path):
    for stage in ("mtl", "dae"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "best.weights.h5").write_text(stage)
    settings = SimpleNamespace(options=argparse.Namespace(model=str(tmp_path / "mtl" / "b.h5")))
    mtl, dae = (hashlib.sha256(stage.encode()).hexdigest() for stage in ("mtl", "dae"))
    assert model_identity(settings, corrected=True) == {"mtl": mtl, "dae": dae}
    assert model_identity(settings, corrected=False) == {"mtl": mtl}
