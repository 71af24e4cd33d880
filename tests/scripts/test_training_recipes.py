"""The recipes of training reach it from the command line."""

import csv
import re
import shutil

import numpy as np
import pytest

import quick_test_mtl
import train_mtl
from datasets.rasters.reading import read_info
from datasets.rasters.writing import write_raster

RUN = ["--dataset_name=blocks", "--backbone=tiny", "--decoder_width=0.02", "--norm_flag=false"]
RUN += ["--samples_per_epoch=4", "--batch_size=2", "--dropout=0", "--decoder_norm=batch"]
RUN += ["--mtl_learning_rate=0.01", "--mtl_steps=3"]
HEIGHT_ONLY = "--sem_flag=false"


def train(data, folder, *options):
    """Trains stage 1; returns the rows of history.csv."""
    places = [f"--checkpoint_dir={folder / 'ck'}", f"--output_dir={folder / 'out'}"]
    asked = dict(option.split("=") for option in (*RUN, *options))  # the last of a name wins
    arguments = [f"{name}={value}" for name, value in asked.items()]
    train_mtl.main([*arguments, f"--shortcut_path={data}", *places])
    with (folder / "out" / "blocks" / "mtl" / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(blocks, tmp_path):
    """Returns a function (options) -> rows of history.csv; `data`: folder of another "blocks"."""

    def train_anew(*options, data=blocks):
        return train(data, tmp_path / str(len(list(tmp_path.iterdir()))), *options)

    return train_anew


@pytest.fixture(scope="module")
def plain(blocks, tmp_path_factory):
    """Returns the rows of history.csv of three steps without any recipe."""
    return train(blocks, tmp_path_factory.mktemp("plain"))


def column(rows, name):
    return [float(row[name]) for row in rows]


def test_the_rate_grows_with_the_global_batch(run):
    options = ("--mtl_steps=1", "--base_batch_size=2", "--gradient_accumulation_steps=2")
    rows = run(*options, HEIGHT_ONLY, "--scale_learning_rate=sqrt")
    assert column(rows, "learning_rate") == [pytest.approx(0.01 * 2**0.5)]


def test_a_step_schedule_falls_each_so_many_epochs(run):
    rows = run(
        HEIGHT_ONLY,
        "--dae_learning_rate=0.01",
        "--learning_rate_schedule=step",
        "--decay_epochs=1",
        "--decay_factor=0.5",
        "--min_learning_rate=0.004",
        "--mtl_steps=5",
    )
    assert column(rows, "learning_rate") == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.004])


def test_deep_supervision_adds_its_loss(run, plain):
    deep = run("--mtl_steps=1", "--deep_supervision=0.5")
    assert plain[0]["deep_height_loss"] == ""
    parts = [column(deep, f"{name}_loss")[0] for name in ("height", "semantic", "deep_height")]
    expected = parts[0] + parts[1] + 0.5 * parts[2]
    assert column(deep, "loss") == [pytest.approx(expected, rel=1e-5)]


def test_balanced_weights_raise_the_loss_of_the_rarer_class(run, blocks, tmp_path):
    # Three tiles of ground and one of building: shares 3/4 and 1/4, weights 2/3 and 2.
    data = shutil.copytree(blocks, tmp_path / "data")
    for number, code in enumerate((2, 2, 2, 6)):
        path = data / "blocks" / "train" / "sem" / f"train_{number}.tif"
        write_raster(path, np.full((64, 64), code, "uint8"), read_info(path).grid)
    # A crop lies in one tile; at this rate the networks of both runs stay as they are.
    options = ("--batch_size=1", "--mtl_steps=6", "--samples_per_epoch=6")
    options += ("--mtl_learning_rate=1e-12",)
    plain = run(*options, data=data)
    balanced = run(*options, "--class_weights=balanced", data=data)
    ratios = np.divide(column(balanced, "semantic_loss"), column(plain, "semantic_loss"))
    weights = [2 / 3 if ratio < 1 else 2.0 for ratio in ratios]
    assert set(weights) == {2 / 3, 2.0} and ratios == pytest.approx(weights, rel=1e-4)
    assert column(balanced, "height_loss") == pytest.approx(column(plain, "height_loss"), rel=1e-4)


def test_smoothed_labels_are_partly_the_other_class(run, plain, blocks, tmp_path):
    other = shutil.copytree(blocks, tmp_path / "data")
    record = other / "blocks" / "dataset.toml"
    lines = record.read_text().splitlines()[:-1]
    classes = 'classes = [{code = 6, name = "building"}, {code = 2, name = "ground"}]'
    record.write_text("\n".join([*lines, classes]))
    smooth = run("--mtl_steps=1", "--label_smoothing=0.5")
    swapped = run("--mtl_steps=1", data=other)
    losses = [column(rows, "semantic_loss")[0] for rows in (plain, swapped, smooth)]
    assert losses[1] != pytest.approx(losses[0], rel=0.01)
    # Half of each label is spread over two classes: 3/4 of it stays, 1/4 is the other class.
    assert losses[2] == pytest.approx(0.75 * losses[0] + 0.25 * losses[1], rel=1e-4)


def test_a_frozen_encoder_trains_from_its_epoch_on(run, plain, capsys):
    frozen = run("--freeze_backbone_epochs=1")
    assert "freezes an encoder whose weights are random" in capsys.readouterr().out
    # The gradient of a frozen encoder takes no part in the norm.
    norms = [column(rows, "gradient_norm")[0] for rows in (plain, frozen)]
    assert norms[1] < 0.999 * norms[0]
    assert column(frozen, "loss")[0] == pytest.approx(column(plain, "loss")[0], rel=1e-5)
    assert column(frozen, "loss")[1] != pytest.approx(column(plain, "loss")[1], rel=1e-5)


def test_the_encoder_may_learn_more_slowly(run, plain):
    slow = run("--mtl_steps=2", "--backbone_learning_rate_factor=0.01")
    assert column(slow, "loss")[0] == pytest.approx(column(plain, "loss")[0], rel=1e-5)
    assert column(slow, "loss")[1] != pytest.approx(column(plain, "loss")[1], rel=1e-4)


def test_checkpointing_changes_no_loss(run, plain, monkeypatch):
    import training.steps

    asked = []
    real = training.steps.recomputation
    monkeypatch.setattr(training.steps, "recomputation", lambda on: asked.append(on) or real(on))
    twice = run("--mtl_steps=2", "--gradient_checkpointing=true")
    assert asked and all(asked)
    assert column(twice, "loss") == pytest.approx(column(plain, "loss")[:2], rel=1e-4)
    asked.clear()
    run("--mtl_steps=1", HEIGHT_ONLY)
    assert asked and not any(asked)


def test_auto_precision_is_reported(run, capsys):
    run("--mtl_steps=1", HEIGHT_ONLY, "--precision=auto")
    assert "one device, 1 replica; float32" in capsys.readouterr().out


def test_warm_up_and_cosine_reach_the_rate(run):
    rows = run(
        HEIGHT_ONLY,
        "--learning_rate_schedule=cosine",
        "--warmup_epochs=1",
        "--min_learning_rate=0.0001",
        "--mtl_steps=6",
    )
    # 2 of 6 steps rise; of the other 4 the first has the whole rate and the third half of it.
    expected = [0.0, 0.005, 0.01, 0.0001 + 0.0099 * (1 + 0.5**0.5) / 2, 0.00505]
    assert column(rows, "learning_rate")[:5] == pytest.approx(expected, rel=1e-4)


def test_a_rate_scaled_below_the_minimum_is_refused(run, capsys):
    options = ("--scale_learning_rate=linear", "--base_batch_size=200", "--mtl_learning_rate=2e-4")
    with pytest.raises(SystemExit) as ended:
        run("--learning_rate_schedule=cosine", "--min_learning_rate=1e-4", *options)
    assert "above the learning rate of 2e-06" in str(ended.value)


def test_auto_that_means_another_precision_sets_no_run_aside(run, blocks, tmp_path, capsys):
    run("--mtl_steps=1", HEIGHT_ONLY, "--precision=mixed_bfloat16")
    places = [f"--checkpoint_dir={tmp_path / '0/ck'}", f"--output_dir={tmp_path / '0/out'}"]
    options = [*RUN, HEIGHT_ONLY, f"--shortcut_path={blocks}", *places]
    with pytest.raises(SystemExit) as ended:
        train_mtl.main([*options, "--precision=auto"])
    message = (
        "started in mixed_bfloat16, but precision=auto means float32.*precision=mixed_bfloat16"
    )
    assert re.search(message, str(ended.value))
    train_mtl.main([*options, "--precision=mixed_bfloat16"])
    assert "Continuing" in capsys.readouterr().out


def test_the_quick_test_allows_for_a_frozen_encoder(blocks, capsys):
    options = [*RUN, HEIGHT_ONLY, f"--shortcut_path={blocks}"]
    with pytest.raises(SystemExit) as ended:
        quick_test_mtl.main([*options, "--freeze_backbone_epochs=9"])
    assert ended.value.code == 0
    assert "Quick test of stage MTL passed" in capsys.readouterr().out
