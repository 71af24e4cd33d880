"""Where the trained weights of a stage lie, and which stages are used together."""

import hashlib
import json
from types import SimpleNamespace

import pytest

from runs.folders import stage_folder
from runs.networks import use_correction
from settings.table import SettingsError


@pytest.mark.parametrize(("place", "model"), [("mtl", ""), ("mtl/last", "../"), (".", "mtl/")])
def test_stage_2_lies_beside_a_model_named_from_anywhere(tmp_path, monkeypatch, place, model):
    (tmp_path / "mtl" / "last").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / place)
    settings = SimpleNamespace(options=SimpleNamespace(model=f"{model}best.weights.h5"))
    assert stage_folder(settings, "mtl").resolve() == tmp_path / "mtl"
    assert stage_folder(settings, "dae") == tmp_path / "dae"


def test_stage_2_corrects_only_the_stage_1_that_it_was_trained_on(tmp_path, capsys):
    stored = dict.fromkeys(("settings", "loss_weights"), {}) | {"stage": "dae", "classes": []}
    stored |= {"gsd": 1.0, "training_mean_height": 0.0, "majority_class": None}
    stored["identity"] = {"mtl_weights": hashlib.sha256(b"first").hexdigest()}
    for stage in ("mtl", "dae"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "best.weights.h5").write_text("first")
        (tmp_path / stage / "settings.json").write_text(json.dumps(stored))
    options = SimpleNamespace(model=str(tmp_path / "mtl" / "best.weights.h5"))
    auto, true = (SimpleNamespace(correction=c, options=options) for c in ("auto", "true"))
    assert use_correction(auto) and use_correction(true)
    (tmp_path / "mtl" / "best.weights.h5").write_text("another")
    assert not use_correction(auto) and "earlier stage 1" in capsys.readouterr().out
    with pytest.raises(SettingsError, match="earlier stage 1"):
        use_correction(true)
