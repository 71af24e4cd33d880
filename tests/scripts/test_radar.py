"""Radar beside the photo, through the scripts."""

import json
import shutil

import numpy as np
import pytest

import quick_test_mtl
import test_dsm
import train_dae
import train_mtl
from datasets.rasters.reading import read_raster
from datasets.rasters.writing import write_raster

NETWORK = ["--backbone=tiny", "--decoder_width=0.02", "--crop_size=32", "--batch_size=2"]


@pytest.fixture
def run(blocks, tmp_path):
    """Returns a function (main of a script, options), on a copy of "blocks" with radar images."""
    folder = shutil.copytree(blocks, tmp_path / "data")
    for path in sorted(folder.glob("blocks/*/dsm/*.tif")):
        heights = read_raster(path)
        radar = np.where(heights.valid, 10 * heights.pixels[..., 0], 0)
        path.parent.with_name("sar").mkdir(exist_ok=True)
        write_raster(path.parent.with_name("sar") / path.name, radar.astype("uint8"), heights.grid)
    places = [f"--checkpoint_dir={tmp_path / 'ck'}", f"--output_dir={tmp_path / 'out'}"]
    places += ["--dataset_name=blocks", f"--shortcut_path={folder}"]
    return lambda main, *options: main([*places, *options])


def test_both_stages_are_trained_and_tested_with_radar(run, tmp_path):
    run(train_mtl.main, *NETWORK, "--sar_mode=fusion", "--mtl_steps=2")
    stored = json.loads((tmp_path / "ck/blocks/mtl/settings.json").read_text())
    assert stored["settings"]["sar_mode"] == "fusion"
    run(train_dae.main, *NETWORK, "--dae_steps=2")
    run(test_dsm.main, "--figures=1")
    results = tmp_path / "out/blocks/test_dae"
    assert json.loads((results / "metrics.json").read_text())["rmse"] > 0
    assert len(list((results / "dsm").iterdir())) == 2 and list((results / "figures").iterdir())


def test_every_variable_learns_with_radar(run):
    with pytest.raises(SystemExit) as ended:
        run(quick_test_mtl.main, *NETWORK, "--sar_mode=fusion")
    assert ended.value.code == 0


def test_data_without_radar_is_refused(run, tmp_path):
    shutil.rmtree(tmp_path / "data/blocks/valid/sar")
    with pytest.raises(SystemExit, match="valid/sar has no files, but sar_mode=fusion needs"):
        run(train_mtl.main, *NETWORK, "--sar_mode=fusion", "--mtl_steps=2")
