"""Where the trained weights of a stage lie."""

from types import SimpleNamespace

import pytest

from runs.folders import stage_folder


@pytest.mark.parametrize(("place", "model"), [("mtl", ""), ("mtl/last", "../"), (".", "mtl/")])
def test_stage_2_lies_beside_a_model_named_from_anywhere(tmp_path, monkeypatch, place, model):
    (tmp_path / "mtl" / "last").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / place)
    settings = SimpleNamespace(options=SimpleNamespace(model=f"{model}best.weights.h5"))
    assert stage_folder(settings, "mtl").resolve() == tmp_path / "mtl"
    assert stage_folder(settings, "dae") == tmp_path / "dae"
