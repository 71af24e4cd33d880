"""How training is fed, from the command line on."""

import csv
import re
import shutil
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from osgeo import gdal

import check_data as check
import train_mtl
from datasets.crops.augmentation import Augmentation
from datasets.prepare import __main__ as prepare
from runs.start import prepare_data
from settings.loading import load
from training.stages.feeding import distributed_batches
from training.stages.stage import crop_plan

RUN = ["--dataset_name=blocks", "--backbone=tiny", "--decoder_width=0.02", "--mtl_steps=2"]
RUN += ["--samples_per_epoch=4", "--batch_size=2", "--dropout=0", "--sem_flag=false"]


@pytest.fixture
def run(blocks, tmp_path):
    """Returns a function (options) -> losses of the steps."""
    shutil.copytree(blocks, tmp_path / "data")

    def train(*options):
        places = [f"--{name}={tmp_path / name}" for name in ("checkpoint_dir", "output_dir")]
        places += [f"--shortcut_path={tmp_path / 'data'}", "--resume=never"]
        asked = dict(option.split("=") for option in (*RUN, *places, *options))  # the last wins
        train_mtl.main([f"{name}={value}" for name, value in asked.items()])
        with (tmp_path / "output_dir" / "blocks" / "mtl" / "history.csv").open(newline="") as file:
            return [(row["loss"], row["normal_loss"]) for row in csv.DictReader(file)]

    return train


def test_no_cache_and_no_number_of_threads_changes_a_batch(blocks, tmp_path):
    def batches(*options):
        place = [f"--shortcut_path={blocks}", "--dataset_name=blocks", f"--output_dir={tmp_path}"]
        settings = load("", [*place, *options])
        data, strategy = prepare_data(settings, ("train",)), tf.distribute.get_strategy()
        crops = crop_plan(settings, data)
        fed = SimpleNamespace(
            settings=settings, data=data, strategy=strategy, batch_size=2, crops=crops
        )
        return list(islice(distributed_batches(fed, range(3)), 3))

    plain = batches("--cache=none", "--input_threads=1")
    for options in (["--cache=memory", "--input_threads=3"], ["--cache=disk"]):
        for one, other in zip(plain, batches(*options), strict=True):
            tf.nest.map_structure(np.testing.assert_array_equal, one, other)
    assert list((tmp_path / "blocks" / "cache").glob("*/heights.npy"))


def test_a_tile_that_cannot_be_read_stops_or_is_left_out(run, tmp_path, capsys):
    broken = tmp_path / "data" / "blocks" / "train" / "dsm" / "train_2.tif"
    broken.write_bytes(broken.read_bytes()[:600])
    with pytest.raises(SystemExit, match=r"1 problem in the train split:\s.*dsm.train_2\.tif"):
        run()
    assert len(run("--bad_tiles=skip")) == 2
    assert "left out, as bad_tiles is skip: " in capsys.readouterr().out


def test_a_run_started_with_other_tiles_is_not_moved_aside(run, tmp_path):
    run()
    (tmp_path / "data" / "blocks" / "train" / "dsm" / "train_2.tif").write_bytes(b"")
    with pytest.raises(SystemExit, match="other tiles could be read: train_2. Restore"):
        run("--bad_tiles=skip", "--resume=auto", "--mtl_steps=4")
    assert [path.name for path in (tmp_path / "checkpoint_dir" / "blocks").iterdir()] == ["mtl"]


def test_the_settings_say_what_changes(blocks, tmp_path):
    place = [f"--shortcut_path={blocks}", "--dataset_name=blocks", f"--output_dir={tmp_path}"]
    amounts = {"brightness": 0.2, "contrast": 0.3, "colour": 0.1, "scale": 0.5}
    jitter = [f"--{name}_jitter={amount}" for name, amount in amounts.items()]
    settings = load("", [*place, "--turns=false", *jitter, "--seed=4"])
    data = prepare_data(settings, ("train",))
    crops = crop_plan(settings, data)
    assert crops.augmentation == Augmentation(flips=True, turns=False, **amounts)
    assert crops.seed == 4
    settings = load("", [*place, "--augment=false"])
    assert crop_plan(settings, data).augmentation == Augmentation()


def test_a_mosaic_of_autzen_is_prepared_checked_and_trained_in_large_tiles(
    autzen, tmp_path, capsys
):
    given = []
    for option, kind in {"image": "rgb", "surface": "dsm", "labels": "sem"}.items():
        tiles = [str(path) for path in sorted(autzen.glob(f"*/{kind}/*.tif"))]
        gdal.BuildVRT(str(tmp_path / f"{kind}.vrt"), tiles).FlushCache()
        given.append(f"--{option}={tmp_path / kind}.vrt")
    folder = tmp_path / "data" / "large"
    options = ["--tile=512", "--splits=0.6,0.2,0.2", "--least_valid=0.2"]
    assert prepare.main(["pair", *given, f"--folder={folder}", *options]) == 0
    places = [f"--shortcut_path={tmp_path / 'data'}", f"--output_dir={tmp_path / 'out'}"]
    places += [f"--checkpoint_dir={tmp_path / 'ck'}"]
    capsys.readouterr()
    assert check.main(["large", *places]) == 0
    said = capsys.readouterr().out
    assert "foot" in said and re.search(r"GSD +0\.50 m +0\.50 m", said)
    assert "suspicious" not in said.lower()
    arguments = [*RUN[1:], "--dataset_name=large", *places, "--crop_size=64", "--norm_flag=false"]
    train_mtl.main(arguments)
    assert "4 crops are an epoch" in capsys.readouterr().out  # samples_per_epoch, not 64 a tile
    with (tmp_path / "out" / "large" / "mtl" / "history.csv").open(newline="") as file:
        losses = [float(row["height_loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 2 and 0 < min(losses) and max(losses) < 1000  # square metres
