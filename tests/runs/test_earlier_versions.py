"""Weights and states that commit 71a477f wrote: they load, train on and predict the same."""

import csv
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

import predict
import train_mtl
from datasets.rasters.reading import read_raster
from runs.start import prepare_data
from settings.loading import load

# Stage 1 stopped after 2 of 4 steps, and stage 2 on top of it, on the data set "blocks".
WRITTEN = Path(__file__).parent / "data" / "written_by_71a477f.tar.xz"
NETWORK = "--backbone=tiny --decoder_width=0.03125 --sem_flag=false --norm_flag=false".split()


@pytest.fixture
def places(tmp_path, blocks):
    """Unpacks the checkpoints; returns the arguments that name the places."""
    with tarfile.open(WRITTEN) as archive:
        archive.extractall(tmp_path / "ck" / "blocks", filter="data")
    places = [f"--checkpoint_dir={tmp_path / 'ck'}", f"--output_dir={tmp_path / 'out'}"]
    return ["--dataset_name=blocks", f"--shortcut_path={blocks}", *places]


def use_mean_of_this_processor(path, places):
    """Replaces the mean height of the training tiles by that computed here, which may differ in
    its last digit."""
    stored = json.loads(path.read_text())
    mean = prepare_data(load("", places)).summaries["train"].mean_height
    assert stored["identity"]["mean_height"] == pytest.approx(mean, rel=1e-12)
    stored["identity"]["mean_height"] = mean
    path.write_text(json.dumps(stored))


def test_a_state_is_continued_with_the_losses_of_the_uninterrupted_run(places, tmp_path, capsys):
    use_mean_of_this_processor(tmp_path / "ck/blocks/mtl/settings.json", places)
    options = ["--dropout=0.3", "--samples_per_epoch=8", "--mtl_steps=4"]
    train_mtl.main([*places, *NETWORK, *options])
    assert "after step 2" in capsys.readouterr().out
    with (tmp_path / "out/blocks/mtl/history.csv").open(newline="") as file:
        losses = {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}
    assert losses == pytest.approx({3: 1.9041986, 4: 62.981644}, rel=1e-3)


def test_weights_of_both_stages_predict_the_same_heights(places, blocks, tmp_path, capsys):
    photo = blocks / "blocks" / "test" / "rgb" / "test_0.tif"
    predict.main([str(photo), str(tmp_path / "heights.tif"), *places])
    assert capsys.readouterr().out.count("best.weights.h5 has no digest of its numbers") == 2
    heights = read_raster(tmp_path / "heights.tif").pixels[..., 0]
    expected = [-0.0010415944, -0.0014378821, 0.005604861]  # metres, after two steps each
    np.testing.assert_allclose(heights[[0, 20, 63], [0, 40, 63]], expected, rtol=1e-2, atol=1e-6)
