import json

import pytest

from benchmarks.ablation import default_rows, main, read_row, spread_cell

RUN = ["blocks", "--backbone=tiny", "--decoder_width=0.02", "--crop_size=32", "--batch_size=2"]
RUN += ["--mtl_steps=4", "--dae_steps=2", "--samples_per_epoch=4", "--warmup_epochs=0"]
RUN += ["--sem_flag=false", "--norm_flag=false"]


def test_default_rows_put_back_each_setting_that_the_presets_disagree_on():
    rows = default_rows()
    assert rows[:2] == ["published", "improved"]
    assert {"improved decoder_norm=none", "improved reg_loss=mse"} <= set(rows)
    assert "improved learning_rate_schedule=constant warmup_epochs=0" in rows
    assert not any(word in row for row in rows for word in ("crop_size", "huber_delta", "dae_"))
    assert "improved dae_start=random" in default_rows(("mtl", "dae"))


@pytest.mark.parametrize("text", ["better", "dropout=0", "improved dropout", "improved, x"])
def test_a_row_is_a_preset_and_changes(text, capsys):
    with pytest.raises(SystemExit):
        read_row(text)
    assert f"The row {text!r} is not a preset" in capsys.readouterr().err


def test_cells_give_mean_and_spread():
    assert spread_cell([1.0, 2.0, 3.0], 2) == "2.00 ± 1.00"
    assert spread_cell([1.5], 1) == "1.5"
    assert spread_cell([None, None], 1) == "-"


@pytest.fixture(scope="module")
def table(blocks, tmp_path_factory):
    """Runs a row of two seeds with both stages; returns (its arguments, its folder)."""
    folder = tmp_path_factory.mktemp("ablation")
    arguments = [*RUN, f"--shortcut_path={blocks}", f"--output_dir={folder}", "--seeds=0,1"]
    arguments += ["--rows=improved reg_loss=mae", "--stages=mtl,dae"]
    main(arguments)
    return arguments, folder / "blocks" / "ablation"


def stored_result(table, seed):
    return table[1] / "improved_reg_loss=mae" / f"seed{seed}" / "mtl.json"


def test_a_row_reports_the_mean_of_its_seeds(table):
    lines = [line.split(" | ") for line in (table[1] / "table.md").read_text().splitlines()]
    assert [line[0] for line in lines[2:]] == [
        "| improved reg_loss=mae",
        "| improved reg_loss=mae, with DAE",
    ]
    first, second = (
        json.loads(stored_result(table, seed).read_text())["pooled_rmse"] for seed in (0, 1)
    )
    assert first != second
    assert lines[2][1].split()[0] == f"{(first + second) / 2:.3f}"


def test_a_run_has_the_settings_of_its_row(table):
    stored = stored_result(table, 1).parent / "checkpoints" / "blocks" / "mtl" / "settings.json"
    settings = json.loads(stored.read_text())["settings"]
    assert settings["reg_loss"] == "mae" and settings["seed"] == 1 and settings["mtl_steps"] == 4


def test_finished_runs_are_not_repeated(table):
    arguments, folder = table
    stored = json.loads(stored_result(table, 0).read_text())
    stored_result(table, 0).write_text(json.dumps(stored | {"pooled_rmse": 1000.0}))
    for log in folder.rglob("*.log"):
        log.unlink()
    main(arguments)
    assert not list(folder.rglob("*.log"))
    second = json.loads(stored_result(table, 1).read_text())["pooled_rmse"]
    assert f"{(1000 + second) / 2:.3f}" in (folder / "table.md").read_text()


@pytest.mark.parametrize(
    "wrong, words",
    [
        ("--rows=fine", "is not a preset"),
        ("--rows=improved reg_loss=mse huber_delta=2", "has no effect"),
        ("--stages=dae", "'dae': expected mtl, mtl,dae"),
        ("--jobs=0", "'0': expected a whole number, at least 1, at most"),
        ("--seeds=0,a", "'a': expected a whole number, at least 0"),
    ],
)
def test_wrong_options_end_before_any_training(blocks, tmp_path, capsys, wrong, words):
    with pytest.raises(SystemExit) as ended:
        main([*RUN, f"--shortcut_path={blocks}", f"--output_dir={tmp_path}", wrong])
    assert ended.value.code == 2 and words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_failed_training_names_its_log(blocks, tmp_path):
    (tmp_path / "junk.h5").write_text("no weights")
    arguments = [*RUN, f"--shortcut_path={blocks}", f"--output_dir={tmp_path}", "--seeds=3"]
    row = f"improved backbone=resnet50 backbone_weights={tmp_path / 'junk.h5'}"
    with pytest.raises(SystemExit, match=r"seed 3: error: .*mtl\.log"):
        main([*arguments, f"--rows={row}"])
