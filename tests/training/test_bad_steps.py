"""A height of 1e30 that comes into a tile after its check, and what the user learns about it."""

import csv
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import train_mtl
from datasets.crops.pipeline import CropPlan, place_crop
from datasets.rasters.reading import read_raster
from datasets.rasters.writing import write_raster
from runs.start import prepare_data, start_strategy
from settings.loading import load
from training.bad_steps import COLUMNS, MOST_LINES, BadSteps, TakenCrop, TrainingError
from training.checkpoints import RunState
from training.optimizers import SGD, step_guard
from training.stages.feeding import distributed_batches
from training.stages.stage import StageRun, mtl_stage
from training.stages.step import compile_step

SPOILED = slice(20, 44)  # rows of train_2
STEPS = 6
RUN = ["--dataset_name=mine", "--backbone=tiny", "--decoder_width=0.02", "--dropout=0"]
RUN += ["--sem_flag=false", "--norm_flag=false", "--samples_per_epoch=100", "--seed=5"]


@pytest.fixture
def data(blocks, tmp_path):
    """Returns (folder of the training heights of a copy, arguments for it)."""
    shutil.copytree(blocks / "blocks", tmp_path / "data" / "mine")
    places = [f"--shortcut_path={tmp_path / 'data'}", f"--checkpoint_dir={tmp_path / 'ck'}"]
    heights = tmp_path / "data" / "mine" / "train" / "dsm"
    empty(heights / "train_0.tif")
    return heights, [*RUN, *places, f"--output_dir={tmp_path / 'out'}"]


def rewrite(path, change):
    raster = read_raster(path)
    pixels = raster.pixels.copy()
    change(pixels)
    write_raster(path, pixels, raster.grid)


def empty(path):
    rewrite(path, lambda pixels: pixels.fill(np.nan))


def spoil(folder):
    rewrite(folder / "train_2.tif", lambda pixels: pixels[SPOILED].fill(1e30))


@pytest.fixture
def spoil_later(data, monkeypatch):
    """Returns a function that spoils a tile when the next run has checked all of them."""
    return lambda: monkeypatch.setattr(
        "training.stages.run.print_banner", lambda *_: spoil(data[0])
    )


def steps_with(steps, batch, tile=2, seed=5):
    """Returns for each step whether its crops of 32 of 64 pixels hold a spoiled row of a tile."""
    plan = CropPlan(((64, 64),) * 4, 32, seed)
    places = [place_crop(tf.constant(n, tf.int64), plan) for n in range(steps * batch)]
    held = [
        int(p["tile"]) == tile
        and int(p["row"]) < SPOILED.stop
        and int(p["row"]) + 32 > SPOILED.start
        for p in places
    ]
    return [any(held[step * batch : (step + 1) * batch]) for step in range(steps)]


def copies(variables):
    values = [getattr(variable.value, "values", (variable.value,)) for variable in variables]
    return [copy.numpy() for replicas in values for copy in replicas]


def take_steps(data, *options):
    """Takes the first steps of a run; returns which changed nothing, and which said so."""
    folder, arguments = data
    settings = load("", [*arguments, *options])
    strategy, checked = start_strategy(settings), prepare_data(settings)
    run = StageRun.begin(settings, checked, strategy, mtl_stage(settings, checked, strategy))
    spoil(folder)
    step, optimizer = compile_step(run)
    everything = [*run.stage.network.variables, *optimizer.variables]
    still, left_out = [], []
    for _, batch in zip(range(STEPS), distributed_batches(run, range(STEPS)), strict=False):
        before = copies(everything)
        left_out.append(float(step(batch)["left_out"]))
        pairs = zip(before, copies(everything), strict=True)
        still.append(float(all(np.array_equal(old, new) for old, new in pairs)))
    return still, left_out


@pytest.mark.parametrize(
    "options",
    [
        ["--batch_size=4"],
        ["--cpu_replicas=2", "--batch_size=2"],
        ["--batch_size=2", "--gradient_accumulation_steps=2", "--precision=mixed_float16"],
    ],
    ids=["one device", "two replicas", "mixed_float16"],
)
def test_the_steps_with_the_spoiled_tile_are_left_out_everywhere(data, options):
    tf.distribute.MirroredStrategy._collective_key_base += 100000
    expected = steps_with(STEPS, 4)
    assert set(expected) == {True, False}
    still, left_out = take_steps(data, *options, "--ema_decay=0.5", "--gradient_clip_norm=1")
    assert still == left_out == expected


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_tile_is_named_and_a_repaired_run_goes_on(data, tmp_path, spoil_later, capfd):
    folder, arguments = data
    sound = (folder / "train_2.tif").read_bytes()
    results = tmp_path / "out" / "mine" / "mtl"
    expected = steps_with(24, 2)
    bad = [number for number, is_bad in enumerate(expected, start=1) if is_bad]
    end = bad[3] - 1  # of the first run, which leaves out three steps
    spoil_later()
    train_mtl.main([*arguments, f"--mtl_steps={end}"])
    history = rows(results / "history.csv")
    assert [float(row["left_out"]) for row in history] == expected[:end]
    assert {row["loss"] for row in history if float(row["left_out"])} == {"inf"}
    assert (results / "curves.png").is_file()
    shown = "".join(capfd.readouterr())
    for step in bad[:3]:
        assert (
            f"Step {step} is left out: the loss is not finite (inf). Implausible: tile train_2 "
            in (shown)
        )
    assert shown.count("is left out") == 3 and "tile train_0" not in shown
    reported = rows(results / "bad_steps.csv")
    assert [int(row["step"]) for row in reported] == [step for step in bad[:3] for _ in range(2)]
    assert {row["tile"] for row in reported if row["suspicious"] == "1"} == {"train_2"}
    assert max(float(row["height_max"] or 0) for row in reported) == pytest.approx(1e30)
    assert all((row["valid_share"] == "0.0") == (row["tile"] == "train_0") for row in reported)

    (folder / "train_2.tif").write_bytes(sound)  # for the check
    with pytest.raises(SystemExit, match=rf"^error: Step {bad[3]}: left out.* tile train_2 \(row"):
        train_mtl.main([*arguments, "--mtl_steps=24", "--max_bad_steps=1"])
    assert int(rows(results / "bad_steps.csv")[-1]["step"]) == bad[3]


def crop(tile, *heights, image=(0.0, 255.0, 9.0)):
    return TakenCrop(7, tile, (3, 4, 32), float(bool(heights)), heights, image)


def reporter(path, *crops, most=3, **start):
    return BadSteps(SimpleNamespace(crops=lambda step: iter(crops)), path, most, **start)


BAD = {"loss": math.nan, "gradient_norm": math.nan, "left_out": 1.0}


@pytest.mark.parametrize(
    "row, words",
    [
        (BAD, "the loss is not finite (nan)"),
        (BAD | {"loss": 2.0, "gradient_norm": math.inf}, "the gradient is not finite (norm inf)"),
        (
            {"loss": 2.0, "gradient_norm": 31.0, "gradient_norm_median": 3.0, "left_out": 1.0},
            "the gradient norm is 31, but its running median 3",
        ),
    ],
)
def test_the_reason_is_told(tmp_path, row, words):
    report = reporter(tmp_path / "b.csv", crop("a", 1.0, 9.0, 4.0))
    assert words in report.see(1, row)
    assert rows(tmp_path / "b.csv")[0]["reason"] == words


def test_implausible_heights_come_first_and_crops_without_any_never(tmp_path):
    crops = [crop("empty"), crop("high", 0.0, 900.0, 1.0), crop("worse", -2e3, 5.0, 1.0)]
    line = reporter(tmp_path / "b.csv", *crops, crop("worst", 0.0, 1e30, 1.0)).see(1, BAD)
    assert line.index("worst (row 3, column 4: heights of 0 to 1e+30 m)") < line.index("worse (")
    assert "high" not in line and "empty" not in line
    assert tuple(rows(tmp_path / "b.csv")[0]) == COLUMNS
    line = reporter(tmp_path / "c.csv", *crops[:2]).see(1, BAD)
    assert "All heights are plausible; its tiles: high (" in line and "empty" not in line
    line = reporter(tmp_path / "d.csv", crop("empty")).see(1, BAD)
    assert "None of its crops has a valid pixel" in line and "empty" not in line


def test_an_image_that_is_not_finite_is_implausible(tmp_path):
    image = crop("odd", 0.0, 1.0, 0.5, image=(0.0, math.nan, math.nan))
    assert "Implausible: tile odd" in reporter(tmp_path / "b.csv", image).see(1, BAD)


def test_without_a_bad_step_there_is_no_file(tmp_path):
    report = reporter(tmp_path / "b.csv", crop("a", 0.0, 1e30, 1.0), most=1)
    assert report.see(1, {"loss": 1.0, "gradient_norm": 1.0, "left_out": 0.0}) == ""
    assert not (tmp_path / "b.csv").exists()


def test_a_run_ends_after_so_many_in_a_row_and_names_all_their_tiles(tmp_path):
    report = reporter(tmp_path / "b.csv", crop("bad", 0.0, 1e30, 1.0))
    good = {"loss": 1.0, "gradient_norm": 1.0, "left_out": 0.0}
    for step, row in enumerate([BAD, BAD, good, BAD, BAD], start=1):
        report.see(step, row)
    with pytest.raises(TrainingError, match="Step 6: .* last 3, .*Implausible: tile bad.*Restore"):
        report.see(6, BAD)


def test_steps_before_a_stop_count_and_later_rows_are_cut(tmp_path):
    report = reporter(tmp_path / "b.csv", crop("bad", 0.0, 1e30, 1.0), most=9)
    for step in (1, 2, 3):
        report.see(step, BAD)
    report.close()
    again = reporter(tmp_path / "b.csv", most=3, resume_step=2, before=2)
    assert [row["step"] for row in rows(tmp_path / "b.csv")] == ["1", "2"]
    with pytest.raises(TrainingError, match="all of the last 3"):
        again.see(3, BAD)


def test_lines_are_bounded(tmp_path):
    report = reporter(tmp_path / "b.csv", crop("a", 0.0, 1.0, 0.5), most=99)
    lines = [report.see(step, BAD) for step in range(1, MOST_LINES + 3)]
    assert all(lines[:MOST_LINES]) and "further steps stand only there" in lines[MOST_LINES - 1]
    assert not any(lines[MOST_LINES:]) and len(rows(tmp_path / "b.csv")) == MOST_LINES + 2


def test_a_worker_that_is_not_the_chief_writes_nothing_and_ends_too(tmp_path):
    report = BadSteps(None, tmp_path / "b.csv", 2)
    assert report.see(1, BAD) == ""
    with pytest.raises(TrainingError, match="Step 2: left out"):
        report.see(2, BAD)
    assert not (tmp_path / "b.csv").exists()


def test_a_gradient_may_overflow_at_some_loss_scales_but_not_at_all(tmp_path):
    report = BadSteps(None, tmp_path / "b.csv", 1)
    row = {"loss": 1.0, "gradient_norm": math.inf, "left_out": 0.0}
    assert report.see(8, row | {"loss_scale": 1024.0}) == ""
    with pytest.raises(TrainingError, match="Step 8: the gradient, at every loss scale,"):
        report.see(8, row | {"loss_scale": 2.0**-11})


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_state_holds_what_the_next_decision_depends_on(tmp_path, make_replicas, replicas):
    strategy = make_replicas(replicas)

    def build(earlier=False):
        with strategy.scope():
            model = tf.keras.Sequential([tf.keras.Input((1,)), tf.keras.layers.Dense(1)])
            optimizer = SGD(0.1)
            optimizer.gradient_spike = 10.0
            optimizer.build(model.trainable_variables)
            guard = step_guard(optimizer)
            extra = {} if earlier else guard.variables
            return guard, RunState(tmp_path, model, optimizer, extra=extra)

    def see(guard, *norms):
        decide = tf.function(
            lambda norm: strategy.run(lambda n: guard.accepts(n, n, False), args=(norm,))
        )
        each = [strategy.experimental_local_results(decide(tf.constant(norm))) for norm in norms]
        return [[bool(value) for value in values] for values in each]

    guard, state = build()
    see(guard, *map(float, range(1, 31)), math.nan, math.nan)
    state.step = 32
    state.save()
    other, again = build()
    assert see(other, 1e6) == [[True] * replicas]  # without the norms before it is no spike
    assert again.restore() and other.left_out_in_a_row() == 2
    assert other.median() == guard.median() == 15.5
    assert see(other, 156.0, 154.0) == [[False] * replicas, [True] * replicas]
    assert other.left_out_in_a_row() == 0

    _, without = build(earlier=True)  # as versions before wrote it
    without.step = 1000
    without.save()
    fresh, again = build()
    assert again.restore() and fresh.median() == np.inf
