import json

import pytest

from benchmarks import scaling
from settings.loading import load_named

RUN = ["blocks", "--backbone=tiny", "--decoder_width=0.02", "--sem_flag=false"]
RUN += ["--norm_flag=false", "--cpu_replicas=1"]
TIMES = {"input", "compute", "reduction", "step", "with_input", "trace", "first_step"}


def row(mode, count, global_batch_size, with_input):
    return {
        "mode": mode,
        "count": count,
        "global_batch_size": global_batch_size,
        "with_input": with_input,
    }


def test_efficiency_is_the_rate_per_device_against_one_device():
    rows = [row("weak", 1, 4, 0.5), row("weak", 2, 8, 0.625), row("weak", 4, 16, 0.8)]
    rows += [row("strong", 2, 4, 0.4), row("strong", 1, 4, 0.5)]
    scaling.add_rates(rows)
    assert [r["samples_per_second"] for r in rows] == pytest.approx([8, 12.8, 20, 10, 8])
    assert [r["efficiency"] for r in rows] == pytest.approx([1, 0.8, 0.625, 0.625, 1])


def test_without_its_baseline_a_row_has_no_efficiency():
    rows = [{"mode": "weak", "count": 1, "problem": "no memory"}, row("weak", 2, 8, 0.5)]
    scaling.add_rates(rows)
    assert rows[1]["samples_per_second"] == 16 and "efficiency" not in rows[1]
    table = scaling.table_text(rows, rehearsal=False)
    assert "| weak | 1 | - |" in table and table.endswith("weak, 1: no memory")


def read(*arguments):
    return load_named("", ["Demo", *arguments], scaling.OPTIONS)


def test_strong_scaling_divides_the_global_batch_and_weak_scaling_does_not():
    settings = read("--batch_size=4", "--global_batch=16", "--gradient_accumulation_steps=2")
    assert [scaling.batch_of(settings, "strong", n) for n in (1, 2, 4, 8)] == [8, 4, 2, 1]
    assert [scaling.batch_of(settings, "weak", n) for n in (1, 8)] == [4, 4]
    for count in (3, 16):
        with pytest.raises(ValueError, match=f"batch of 16 cannot be .* among {count} devices x 2"):
            scaling.batch_of(settings, "strong", count)


@pytest.mark.parametrize(
    "given, weights",
    [([], "none"), (["--backbone=resnet50", "--backbone_weights=imagenet"], "imagenet")],
)
def test_encoders_start_at_random_unless_weights_are_given(given, weights, monkeypatch):
    started = []
    monkeypatch.setattr(scaling, "in_a_process", lambda _, texts: started.append(texts) or {})
    list(scaling.measure_rows(read("--seed=3", *given), [1], []))
    assert started[0]["backbone_weights"] == weights and started[0]["seed"] == "3"


def test_device_counts_are_powers_of_two_and_all():
    expected = {0: [1, 2], 1: [1], 2: [1, 2], 6: [1, 2, 4, 6], 8: [1, 2, 4, 8]}
    assert {gpus: scaling.default_counts(gpus) for gpus in expected} == expected


def test_devices_are_the_first_gpus_or_replicas_of_the_processor():
    assert scaling.device_settings(2, ["3", "1", "0"]) == {
        "gpu_devices": "3,1",
        "cpu_replicas": "0",
    }
    assert scaling.device_settings(2, []) == {"gpu_devices": "auto", "cpu_replicas": "2"}


def test_rows_are_measured_and_an_indivisible_batch_is_refused(blocks, tmp_path, capsys):
    arguments = [*RUN, f"--shortcut_path={blocks}", f"--output_dir={tmp_path}", "--batch_size=3"]
    scaling.main([*arguments, "--devices=1,2", "--steps=2"])
    folder = tmp_path / "blocks" / "scaling"
    result = json.loads((folder / "scaling.json").read_text())
    weak, weak2, strong, strong2 = result["rows"]
    assert [r["global_batch_size"] for r in (weak, weak2, strong)] == [3, 6, 3]
    assert weak | {"mode": "strong"} == strong and weak["efficiency"] == 1
    for measured in (weak, weak2):
        assert all(measured[name] > 0 for name in TIMES - {"reduction"})
        rate = measured["global_batch_size"] / measured["with_input"]
        assert measured["samples_per_second"] == pytest.approx(rate)
    assert "MirroredStrategy, 2 replicas" in weak2["devices"] and "one device" in weak["devices"]
    assert "batch of 3 cannot be divided among 2" in strong2["problem"] and "step" not in strong2
    table = (folder / "table.md").read_text()
    assert scaling.REHEARSAL in table and table.strip() in capsys.readouterr().out


def test_a_measurement_that_fails_is_the_exit_status(blocks, tmp_path):
    arguments = [*RUN[:-1], f"--shortcut_path={blocks}", f"--output_dir={tmp_path}"]
    with pytest.raises(SystemExit, match="not all rows"):
        scaling.main([*arguments, "--modes=weak", "--devices=1", "--gpu_devices=99"])
    (failed,) = json.loads((tmp_path / "blocks/scaling/scaling.json").read_text())["rows"]
    assert failed["failed"] and "no GPU 99" in failed["problem"]


def test_more_devices_than_gpus_are_refused(blocks, capsys):
    arguments = [*RUN[:-1], f"--shortcut_path={blocks}", "--gpu_devices=0,2"]
    with pytest.raises(SystemExit):
        scaling.main([*arguments, "--devices=1,4"])
    assert "there are 2 GPUs to use (0, 2)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong, words",
    [
        ("--devices=1,x", "--devices: 'x': expected a whole number, at least 1"),
        ("--devices=0,1", "--devices: '0': expected a whole number, at least 1"),
        ("--devices=2,4", "expected 1 among them"),
        ("--modes=fast", "'fast': expected weak, strong"),
        ("--steps=0", "expected a whole number, at least 1"),
        ("--global_batch=0", "expected a whole number, at least 1"),
    ],
)
def test_wrong_options_end_before_any_measurement(blocks, tmp_path, capsys, wrong, words):
    with pytest.raises(SystemExit) as ended:
        scaling.main([*RUN, f"--shortcut_path={blocks}", f"--output_dir={tmp_path}", wrong])
    assert ended.value.code == 2 and words in capsys.readouterr().err
