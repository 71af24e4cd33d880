import subprocess
import sys
from pathlib import Path

import pytest

import test_dsm
from evaluation.comparison import ComparisonError, compare, paired_differences, read_run
from project.files import write_json, write_rows

ROOT = Path(__file__).parents[2]


@pytest.fixture
def write_run(tmp_path):
    """Returns a function (name, dict of tile to RMSE, pixels, settings) -> folder of a run."""

    def write(name, rmse, pixels=9, **settings):
        rows = [
            {"tile": tile, "valid_pixels": pixels, "rmse": value, "bias": value, "miou": 1 / value}
            for tile, value in rmse.items()
        ]
        write_rows(tmp_path / name / "per_tile.csv", rows)
        metrics = {"rmse": sum(rmse.values()) / len(rmse), "settings": settings}
        write_json(tmp_path / name / "metrics.json", metrics)
        return tmp_path / name

    return write


def runs(*folders):
    return [read_run(folder.name, folder) for folder in folders]


def test_differences_are_paired_by_the_tiles_name(write_run):
    one = write_run("a", {"007": 1.0, "7": 4.0, "x": 5.0})
    other = write_run("b", {"x": 4.0, "7": 3.0, "007": 2.0})
    rmse = paired_differences(*runs(one, other))[0]
    assert (rmse["one"], rmse["other"], rmse["better"], rmse["tiles"]) == (10 / 3, 3, 2, 3)
    assert rmse["difference"] == pytest.approx(-1 / 3)
    assert (rmse["low"], rmse["high"]) == (-1, 1)


def test_an_equal_gain_on_unlike_tiles_is_certain(write_run):
    one = write_run("a", {str(i): 1.0 + i for i in range(9)})
    other = write_run("b", {str(i): 0.5 + i for i in range(9)})
    rmse, miou, bias = paired_differences(*runs(one, other))
    assert (rmse["low"], rmse["high"], rmse["better"]) == (-0.5, -0.5, 9)
    assert (miou["measure"], miou["better"]) == ("mIoU", 9)
    assert bias["better"] is None


def test_one_tile_has_a_difference_but_no_interval(write_run):
    rmse = paired_differences(*runs(write_run("a", {"x": 2.0}), write_run("b", {"x": 3.0})))[0]
    assert (rmse["difference"], rmse["low"], rmse["high"]) == (1, None, None)


def test_runs_of_different_tiles_are_refused(write_run):
    folders = write_run("a", {"x": 1.0, "y": 1.0}), write_run("b", {"y": 1.0, "z": 1.0})
    with pytest.raises(ComparisonError, match="only in a: x; only in b: z. Evaluate both"):
        compare("ab", folders)


def test_tiles_with_other_valid_pixels_are_refused(write_run):
    folders = write_run("a", {"x": 1.0}), write_run("b", {"x": 1.0}, pixels=8)
    with pytest.raises(ComparisonError, match="with different valid pixels: x"):
        compare("ab", folders)


def test_damaged_files_are_named(write_run):
    folder = write_run("a", {"x": 1.0})
    (folder / "metrics.json").write_text("{")
    with pytest.raises(ComparisonError, match="a is damaged"):
        read_run("a", folder)


@pytest.mark.parametrize("text", ["[]", "[" * 10**5, '{"rmse": NaN}', '{"per_class": 3}', "\xe4"])
def test_metrics_that_no_evaluation_writes_are_named(write_run, text):
    folder = write_run("a", {"x": 1.0})
    (folder / "metrics.json").write_text(text, encoding="latin-1")
    with pytest.raises(ComparisonError, match="a is damaged"):
        read_run("a", folder)


@pytest.mark.parametrize("text", ["tile\nx\n", "tile,valid_pixels\nx,1,2\n", "a,b\n1,2\n"])
def test_tables_that_no_evaluation_writes_are_named(write_run, text):
    folder = write_run("a", {"x": 1.0})
    (folder / "per_tile.csv").write_text(text)
    with pytest.raises(ComparisonError, match="a is damaged"):
        read_run("a", folder)


def test_script_prints_both_tables_and_the_settings_that_differ(write_run, capsys):
    folders = write_run("a", {"x": 1.0, "y": 2.0}, tta=1), write_run("b", {"x": 2, "y": 4}, tta=8)
    test_dsm.main([f"--compare={folders[0]},{folders[1]}"])
    lines = capsys.readouterr().out.splitlines()
    found = [line for line in lines if line.startswith("| RMSE (m)")]
    assert [cell.strip() for cell in found[0].split("|")[2:4]] == ["1.500", "3.000"]
    assert [cell.strip() for cell in found[1].split("|")[4:7]] == [
        "+1.500",
        "+1.000 to +2.000",
        "0 of 2",
    ]
    assert lines[-1] == "setting tta: 1 / 8"


def test_script_finds_runs_by_name_and_says_which_is_missing(write_run, tmp_path):
    (write_run("a", {"x": 1.0})).rename(tmp_path / "kept")
    (tmp_path / "Demo").mkdir()
    (tmp_path / "kept").rename(tmp_path / "Demo" / "a")
    with pytest.raises(SystemExit, match="b: there is no .*Demo/b/metrics.json"):
        test_dsm.main([f"--output_dir={tmp_path}", "--compare=a,b"])


@pytest.mark.parametrize("text", ["a", "a,b,c", ""])
def test_script_wants_two_runs(text, capsys):
    with pytest.raises(SystemExit):
        test_dsm.main([f"--compare={text}"])
    assert "expected RUN,RUN" in capsys.readouterr().err


def test_comparing_needs_no_tensorflow(write_run):
    folder = write_run("a", {"x": 1.0, "y": 2.0})
    code = (
        f"import sys, test_dsm; test_dsm.main(['--compare={folder},{folder}']); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
