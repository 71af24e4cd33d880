"""Weights and states that commit 71a477f wrote: they load, train on and predict the same."""

import csv
import json

import numpy as np
import pytest

import predict
import train_mtl
from datasets.rasters.reading import read_raster
from runs.start import prepare_data
from settings.loading import load

NETWORK = "--backbone=tiny --decoder_width=0.03125 --sem_flag=false --norm_flag=false".split()


def use_mean_of_this_processor(path, places):
    """Replaces the mean height of the training tiles by that computed here, which may differ in
    its last digit."""
    stored = json.loads(path.read_text())
    mean = prepare_data(load("", places)).summaries["train"].mean_height
    assert stored["identity"]["mean_height"] == pytest.approx(mean, rel=1e-12)
    stored["identity"]["mean_height"] = mean
    path.write_text(json.dumps(stored))


def test_a_state_is_continued_with_the_losses_of_the_uninterrupted_run(
    earlier_run, tmp_path, capsys
):
    use_mean_of_this_processor(tmp_path / "ck/blocks/mtl/settings.json", earlier_run)
    options = ["--dropout=0.3", "--samples_per_epoch=8", "--mtl_steps=4"]
    train_mtl.main([*earlier_run, *NETWORK, *options])
    assert "after step 2" in capsys.readouterr().out
    with (tmp_path / "out/blocks/mtl/history.csv").open(newline="") as file:
        losses = {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}
    assert losses == pytest.approx({3: 1.9041986, 4: 62.981644}, rel=1e-3)


def test_weights_of_both_stages_predict_the_same_heights(earlier_run, blocks, tmp_path, capsys):
    photo = blocks / "blocks" / "test" / "rgb" / "test_0.tif"
    predict.main([str(photo), str(tmp_path / "heights.tif"), *earlier_run])
    assert capsys.readouterr().out.count("best.weights.h5 has no digest of its numbers") == 2
    heights = read_raster(tmp_path / "heights.tif").pixels[..., 0]
    expected = [-0.0010415944, -0.0014378821, 0.005604861]  # metres, after two steps each
    np.testing.assert_allclose(heights[[0, 20, 63], [0, 40, 63]], expected, rtol=1e-2, atol=1e-6)
