import json

import pytest

from benchmarks import saving


def test_a_save_is_measured_and_nothing_is_left(blocks, tmp_path, capsys):
    options = ["--backbone=tiny", "--decoder_width=0.02", "--saves=2", "--save_minutes=0.5"]
    saving.main(["blocks", f"--shortcut_path={blocks}", f"--output_dir={tmp_path}", *options])
    assert [path.name for path in (tmp_path / "blocks").iterdir()] == ["saving.json"]
    result = json.loads((tmp_path / "blocks" / "saving.json").read_text())
    assert all(result[name] > 0 for name in ("save", "verify", "verify and load", "bytes"))
    assert result["share"] == pytest.approx(result["save"] / 30)
    assert "save / 0.5 minutes" in capsys.readouterr().out
