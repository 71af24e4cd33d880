import cv2
import pytest

from datasets.demo.__main__ import main


def test_the_script_makes_the_data_and_the_sheet(tmp_path, capsys):
    folder, sheet = tmp_path / "Demo", tmp_path / "sheet.png"
    options = [f"--folder={folder}", "--tile_size=16", "--counts=2,1,1", f"--sheet={sheet}"]
    assert main(options) == 0
    assert len(list(folder.glob("*/rgb/*.tif"))) == 4
    assert cv2.imread(str(sheet)).shape[1] > 1000
    assert "4 tiles" in capsys.readouterr().out


def test_a_wrong_folder_is_an_error_without_a_traceback(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("")
    assert main([f"--folder={tmp_path}"]) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_counts_that_are_no_numbers_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--counts=many"])
    assert "--counts" in capsys.readouterr().err
