from types import SimpleNamespace

import pytest

from evaluation.report.page import training_html
from project.files import write_bytes, write_rows
from runs.stored import StoredRun


@pytest.fixture
def settings(tmp_path):
    """A trained stage: weights with seed 1."""
    places = {"checkpoint_dir": tmp_path / "ck", "output_dir": tmp_path / "out"}
    write_bytes(tmp_path / "ck" / "mine" / "mtl" / "best.weights.h5", b"")
    write_stored(tmp_path / "ck" / "mine" / "mtl", 1)
    options = SimpleNamespace()
    return SimpleNamespace(dataset_name="mine", options=options, **places)


def write_stored(folder, seed):
    StoredRun("mtl", {}, {"seed": seed}, [], 0.5, 2.0, None, {}).write(folder)


def write_history(settings, seed):
    folder = settings.output_dir / "mine" / "mtl"
    write_stored(folder, seed)
    write_rows(folder / "history.csv", [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}])


def test_curves_are_shown_with_the_weights_they_led_to(settings):
    write_history(settings, 1)
    assert "data:image/png" in training_html(settings, "mtl")


def test_history_of_another_run_is_not_shown(settings):
    write_history(settings, 2)
    html = training_html(settings, "mtl")
    assert "history.csv and the weights come from different runs" in html and "<img" not in html


def test_weights_without_history_have_no_curves(settings):
    assert training_html(settings, "mtl") == ""


def test_history_that_is_damaged_is_said_so(settings):
    write_history(settings, 1)
    (settings.output_dir / "mine" / "mtl" / "history.csv").write_bytes(b"step,loss\n1,\xe4\n")
    assert "history.csv or validation.csv is damaged" in training_html(settings, "mtl")
