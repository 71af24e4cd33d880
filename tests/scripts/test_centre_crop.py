"""The centre crop of a record, through the scripts."""

import json
import shutil

import test_dsm
import train_mtl
from datasets.rasters.reading import read_info


def test_training_and_results_know_the_middle_of_each_tile_only(blocks, tmp_path):
    folder = shutil.copytree(blocks, tmp_path / "data")
    with (folder / "blocks" / "dataset.toml").open("a") as file:
        file.write("centre_crop = 32\n")
    places = [f"--checkpoint_dir={tmp_path / 'ck'}", f"--output_dir={tmp_path / 'out'}"]
    places += ["--dataset_name=blocks", f"--shortcut_path={folder}"]
    network = ["--backbone=tiny", "--decoder_width=0.02", "--mtl_epochs=1", "--batch_size=2"]
    train_mtl.main([*places, *network])
    history = (tmp_path / "out/blocks/mtl/history.csv").read_text().splitlines()
    assert len(history) == 1 + 2  # one crop of each of the 4 tiles
    test_dsm.main([*places, "--figures=1"])
    results = tmp_path / "out/blocks/test_mtl"
    assert json.loads((results / "metrics.json").read_text())["valid_pixels"] == 2 * 32 * 32
    grid = read_info(results / "dsm" / "test_0.tif").grid
    assert (grid.rows, grid.columns) == (32, 32)
    assert grid.geotransform == (500008.0, 0.5, 0.0, 4999992.0, 0.0, -0.5)  # 16 px in
