import pytest

from datasets.prepare.footprints import draw_footprints, read_footprints
from datasets.prepare.sources import SourceFile
from datasets.prepare.tile_files import PrepareError


def test_a_footprint_covers_the_pixels_whose_centres_it_holds():
    box = [[5, 3, 15, 3, 15, 13, 5, 13]]
    labels = draw_footprints([box], 20, 20)[..., 0]
    assert labels.sum() == 100 and labels[3:13, 5:15].all()
    outside = [[-5, -5, 2, -5, 2, 3, -5, 3], [30, 30, 40, 30, 40, 40]]
    assert draw_footprints([outside], 20, 20).sum() == 2 * 3
    # x + y below 3.6: of the centres 0.5 + 0.5 = 1 to 3.5 + 3.5 = 7 those whose sum is 1, 2 or 3.
    triangle = [[0, 0, 3.6, 0, 0, 3.6]]
    assert draw_footprints([triangle], 4, 4)[..., 0].tolist() == [
        *([1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0])
    ]


def test_run_length_codes_go_down_the_columns():
    # 3 rows x 2 columns: one 0, then four 1, then one 0.
    expected = [[0, 1], [1, 1], [1, 0]]
    plain = {"size": [3, 2], "counts": [1, 4, 1]}
    assert draw_footprints([plain], 3, 2)[..., 0].tolist() == expected
    # Five bits a character from "0" on; from the fourth number on differences to the last but one.
    text = {"size": [3, 2], "counts": "141"}
    assert draw_footprints([text], 3, 2)[..., 0].tolist() == expected
    # 40 = 8 + 1 x 32: "X1"; runs 40, 1, 40, 2 (+1: "1"), 37 (-3: "M"), 1 character each.
    text = {"size": [10, 12], "counts": "X11X11M"}
    assert draw_footprints([text], 10, 12).ravel("F")[[39, 40, 41, 80, 81, 82, 83]].tolist() == [
        *(0, 1, 0, 0, 1, 1, 0)
    ]


def test_a_run_length_code_of_another_size_is_refused():
    with pytest.raises(PrepareError, match="3 x 3"):
        draw_footprints([{"size": [3, 2], "counts": [6]}], 3, 3)


@pytest.mark.parametrize("text", ["[]", "[" * 10**5, '{"images": [1]}', '{"images": {"a": 1}}'])
def test_json_of_another_kind_is_named(tmp_path, text):
    path = tmp_path / "roofs.json"
    path.write_text(text)
    with pytest.raises(PrepareError, match="roofs.json has no footprints in the COCO format"):
        read_footprints(SourceFile("roofs.json", str(path)))


@pytest.mark.parametrize(
    "segmentation",
    [None, [[1, 2, 3]], [["a", "b"]], [[1, [2]]], [[]], [[1e400, 1, 2, 2, 1, 2]], {"size": [2, 2]}],
)
def test_a_footprint_of_another_kind_is_named(segmentation):
    with pytest.raises(PrepareError, match="a footprint is neither polygons nor a run-length code"):
        draw_footprints([segmentation], 2, 2)
