"""The recipes of training reach it from the command line."""

import csv

import pytest

import train_mtl

RUN = ["--dataset_name=blocks", "--backbone=tiny", "--decoder_width=0.02", "--norm_flag=false"]
RUN += ["--samples_per_epoch=4", "--batch_size=2", "--dropout=0", "--decoder_norm=batch"]


@pytest.fixture
def run(blocks, tmp_path):
    """Returns a function (options) -> rows of history.csv."""

    def train(*options):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        places = [f"--checkpoint_dir={folder / 'ck'}", f"--output_dir={folder / 'out'}"]
        train_mtl.main([*RUN, f"--shortcut_path={blocks}", *places, *options])
        with (folder / "out" / "blocks" / "mtl" / "history.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    return train


def column(rows, name):
    return [float(row[name]) for row in rows]


def test_the_rate_grows_with_the_global_batch(run):
    options = ("--mtl_steps=1", "--base_batch_size=2", "--gradient_accumulation_steps=2")
    grown = ("--mtl_learning_rate=0.001", *options)
    assert column(run(*grown, "--scale_learning_rate=linear"), "learning_rate") == [
        pytest.approx(0.002)
    ]
    assert column(run(*grown, "--scale_learning_rate=sqrt"), "learning_rate") == [
        pytest.approx(0.001 * 2**0.5)
    ]


def test_a_step_schedule_falls_each_so_many_epochs(run):
    rows = run(
        "--mtl_learning_rate=0.01",
        "--dae_learning_rate=0.01",
        "--learning_rate_schedule=step",
        "--decay_epochs=1",
        "--decay_factor=0.5",
        "--min_learning_rate=0.004",
        "--mtl_steps=5",
    )
    assert column(rows, "learning_rate") == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.004])


def test_deep_supervision_adds_its_loss(run):
    plain, deep = run("--mtl_steps=1"), run("--mtl_steps=1", "--deep_supervision=0.5")
    assert plain[0]["deep_height_loss"] == ""
    parts = [column(deep, f"{name}_loss")[0] for name in ("height", "semantic", "deep_height")]
    expected = parts[0] + parts[1] + 0.5 * parts[2]
    assert column(deep, "loss") == [pytest.approx(expected, rel=1e-5)]


def test_a_frozen_encoder_wakes_with_its_epoch(run):
    # The gradient of a frozen encoder takes no part in the norm.
    options = ("--mtl_steps=3", "--encoder_batch_norm=frozen")
    free, frozen = run(*options), run(*options, "--freeze_backbone_epochs=1")
    norms = [column(rows, "gradient_norm") for rows in (free, frozen)]
    assert norms[1][0] < 0.999 * norms[0][0]
    assert column(frozen, "loss")[0] == pytest.approx(column(free, "loss")[0], rel=1e-5)
    assert column(frozen, "loss")[1] != pytest.approx(column(free, "loss")[1], rel=1e-5)


def test_the_encoder_may_learn_more_slowly(run):
    options = ("--mtl_steps=3", "--mtl_learning_rate=0.01")
    same, slow = run(*options), run(*options, "--backbone_learning_rate_factor=0.01")
    assert column(slow, "loss")[0] == pytest.approx(column(same, "loss")[0], rel=1e-5)
    assert column(slow, "loss")[1] != pytest.approx(column(same, "loss")[1], rel=1e-4)


def test_checkpointing_changes_no_loss(run, monkeypatch):
    import training.steps

    asked = []
    real = training.steps.recomputation
    monkeypatch.setattr(training.steps, "recomputation", lambda on: asked.append(on) or real(on))
    kept = run("--mtl_steps=2")
    assert asked and not any(asked)
    asked.clear()
    twice = run("--mtl_steps=2", "--gradient_checkpointing=true")
    assert asked and all(asked)
    assert column(twice, "loss") == pytest.approx(column(kept, "loss"), rel=1e-4)


def test_auto_precision_is_told(run, capsys):
    run("--mtl_steps=1", "--precision=auto")
    assert "one device, 1 replica; float32" in capsys.readouterr().out


def test_slow_precision_is_warned_about(run, capsys):
    run("--mtl_steps=1", "--precision=mixed_float16")
    assert "warning: precision is mixed_float16" in capsys.readouterr().out
