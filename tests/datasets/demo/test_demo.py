import cv2
import numpy as np
import pytest

from datasets.demo.__main__ import main
from datasets.rasters.ownership import written_by_project


def test_the_script_makes_the_data_and_the_sheet(tmp_path, capsys):
    folder, sheet = tmp_path / "Demo", tmp_path / "sheet.png"
    options = [f"--folder={folder}", "--tile_size=16", "--counts=2,1,1", f"--sheet={sheet}"]
    assert main(options) == 0
    assert len(list(folder.glob("*/rgb/*.tif"))) == 4
    assert cv2.imread(str(sheet)).shape[1] > 1000
    assert written_by_project(sheet)  # so that another may replace it
    assert "4 tiles" in capsys.readouterr().out


def test_a_picture_of_the_user_is_not_replaced_by_the_sheet(tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    cv2.imwrite(str(sheet), np.zeros((9, 9), "uint8"))
    mine = sheet.read_bytes()
    assert main([f"--folder={tmp_path / 'Demo'}", f"--sheet={sheet}"]) == 2
    assert "sheet.png is there already" in capsys.readouterr().err
    assert sheet.read_bytes() == mine and not (tmp_path / "Demo").exists()


@pytest.mark.parametrize(
    "folder, sheet, message",
    [
        ("Demo", "sheet.jpg", "sheet.jpg: the sheet is a PNG"),
        ("Demo", "/proc/sheet.png", "Nothing can be written to /proc"),
        ("Demo", "notes.txt/sheet.png", "notes.txt is not a folder"),
        ("Demo.png", "Demo.png", "is the folder of the data set"),
        ("a.png/Demo", "a.png", "is the folder of the data set, or one above it"),
        ("notes.txt/Demo", "sheet.png", "notes.txt is not a folder. Give another folder"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_made(
    tmp_path, capsys, folder, sheet, message
):
    (tmp_path / "notes.txt").write_text("mine")
    assert main([f"--folder={tmp_path / folder}", f"--sheet={tmp_path / sheet}"]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert message in errors[-1] and errors[-1].startswith("error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_wrong_folder_is_an_error_without_a_traceback(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("")
    assert main([f"--folder={tmp_path}"]) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_counts_that_are_no_numbers_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--counts=many"])
    assert "--counts" in capsys.readouterr().err
