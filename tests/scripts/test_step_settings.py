"""Settings of the optimizer step reach the training, from the command line."""

import csv
import json

import h5py
import numpy as np
import pytest

import train_mtl

RUN = ["--dataset_name=blocks", "--backbone=tiny", "--decoder_width=0.02", "--norm_flag=false"]
RUN += ["--sem_flag=false"]
RUN += ["--mtl_steps=3", "--samples_per_epoch=100", "--mtl_learning_rate=0.01", "--dropout=0"]


@pytest.fixture(scope="module")
def run(blocks, tmp_path_factory):
    """Returns a function (options) -> (rows of history.csv, settings.json, weights)."""

    def train(*options):
        folder = tmp_path_factory.mktemp("run")
        places = [f"--checkpoint_dir={folder / 'ck'}", f"--output_dir={folder / 'out'}"]
        train_mtl.main([*RUN, f"--shortcut_path={blocks}", *places, *options])
        with (folder / "out" / "blocks" / "mtl" / "history.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        stored = folder / "ck" / "blocks" / "mtl"
        return rows, json.loads((stored / "settings.json").read_text()), weights(stored)

    return train


@pytest.fixture(scope="module")
def plain(run):
    """Returns what a run without options gives."""
    return run()


def weights(folder):
    found = []

    def visit(_, item):
        if isinstance(item, h5py.Dataset):
            found.append(item[()])

    with h5py.File(folder / "best.weights.h5") as file:
        file.visititems(visit)
    assert found
    return found


def test_clipping_shortens_the_steps(run, plain):
    free, clipped = plain[0], run("--gradient_clip_norm=1e-9")[0]
    assert float(clipped[0]["loss"]) == pytest.approx(float(free[0]["loss"]), rel=1e-5)
    assert float(clipped[2]["loss"]) != pytest.approx(float(free[2]["loss"]), rel=1e-3)
    norms = [float(rows[0]["gradient_norm"]) for rows in (free, clipped)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)  # two runs differ by rounding


def test_accumulated_parts_make_the_larger_batch(run):
    frozen = "--encoder_batch_norm=frozen"
    parts, stored, _ = run("--batch_size=1", "--gradient_accumulation_steps=2", frozen)
    whole = run("--batch_size=2", frozen)[0]
    assert stored["identity"]["global_batch_size"] == 2
    for part, one in zip(parts, whole, strict=True):
        assert float(part["loss"]) == pytest.approx(float(one["loss"]), rel=1e-5)


def test_the_moving_average_is_what_is_kept(run, plain):
    averaged = run("--ema_decay=0.9")
    for row, expected in zip(averaged[0], plain[0], strict=True):
        assert float(row["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-5)
    distances = [np.abs(a - b).max() for a, b in zip(averaged[2], plain[2], strict=True)]
    assert max(distances) > 1e-3


@pytest.mark.parametrize("precision, scale", [("mixed_float16", "32768.0"), ("mixed_bfloat16", "")])
def test_precision_is_that_of_the_layers_but_not_of_the_weights(
    run, plain, capsys, precision, scale
):
    rows, _, kept = run(f"--precision={precision}")
    warned = "warning: precision is mixed_float16" in capsys.readouterr().out
    assert warned == (precision == "mixed_float16")  # at which every processor is slow
    full = plain[0]
    assert float(rows[2]["loss"]) != pytest.approx(float(full[2]["loss"]), rel=1e-5)
    assert rows[0]["loss_scale"] == scale
    assert float(rows[0]["loss"]) == pytest.approx(float(full[0]["loss"]), rel=0.05)
    assert {value.dtype for value in kept} <= {np.dtype("float32"), np.dtype("int64")}
