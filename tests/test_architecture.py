"""docs/architecture.md names the files that one step and one scene go through, in their order."""

import re
import sys
import threading
from pathlib import Path

import pytest
import tensorflow as tf

from prediction.predictor import Predictor
from runs.start import prepare_data, start_strategy
from runs.stored import adopt_stored_network
from runs.trained_model import trained_record
from settings.loading import load
from training.stages.feeding import distributed_batches
from training.stages.run import train_stage
from training.stages.stage import StageRun, mtl_stage
from training.stages.step import compile_step

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NETWORK = ["--backbone=tiny", "--decoder_width=0.03125", "--dropout=0.3"]


def listed(name, form=r"^\d+\. `([^`]+)`"):
    """Returns the files between a marker of the page and its end; of a numbered list by default."""
    block = re.search(rf"<!-- {name}:.*?-->(.*?)<!-- end -->", PAGE, re.DOTALL)[1]
    return re.findall(form, block, re.MULTILINE)


@pytest.fixture
def trace():
    """Returns a function (call) -> the project's files whose functions it enters, in order."""
    entered = []

    def note(frame, event, _):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT):
            file = path.relative_to(ROOT).as_posix()
            if not file.startswith((".venv/", "tests/")) and file not in entered:
                entered.append(file)

    def run(call):
        threading.setprofile(note)
        sys.setprofile(note)
        try:
            call()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        return entered

    yield run


@pytest.fixture
def eager():
    """Runs functions as they are written: AutoGraph would trace copies of them elsewhere."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def places(blocks, tmp_path):
    folders = [f"--checkpoint_dir={tmp_path / 'ck'}", f"--output_dir={tmp_path / 'out'}"]
    return ["--dataset_name=blocks", f"--shortcut_path={blocks}", *folders]


def begin(places, *options):
    settings = load("", [*places, *NETWORK, *options])
    strategy, data = start_strategy(settings), prepare_data(settings)
    return StageRun.begin(settings, data, strategy, mtl_stage(settings, data, strategy))


def test_the_files_of_a_training_step(places, trace, eager):
    run = begin(places)
    step, _ = compile_step(run)
    batch = next(distributed_batches(run, range(1)))
    files = listed("step")
    assert trace(lambda: step(batch)) == files and len(files) <= 8


def test_the_files_of_a_predicted_scene(places, blocks, tmp_path, trace):
    train_stage(begin(places, "--mtl_steps=1"))
    options = [("--outputs", {"default": ""}), ("--sar", {})]
    settings = load("", places, [*options, ("--model", {})], trained_record)
    predictor = Predictor(adopt_stored_network(settings))
    photos = sorted((blocks / "blocks" / "test" / "rgb").iterdir())
    predictor.predict(photos[0], tmp_path / "first.tif")  # compiles
    entered = trace(lambda: predictor.predict(photos[1], tmp_path / "second.tif"))
    files, below = listed("scene"), listed("below the scene", "`([^`]+)`")
    assert [file for file in entered if file not in below] == files and len(files) <= 6
    assert sorted(set(entered) - set(files)) == below


def test_every_file_that_the_page_names_is_there():
    named = set(re.findall(r"(?:`|\(\.\./)((?:[a-z_]+/)+[a-z_]+\.py)", PAGE))
    assert len(named) > 20 and not [file for file in named if not (ROOT / file).is_file()]
