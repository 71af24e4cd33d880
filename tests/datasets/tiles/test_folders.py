import os

import pytest

from datasets.records.record import ClassLabel, Record
from datasets.tiles.folders import DataError, list_tiles, pair_files


def split_of(tmp_path, rgb=(), dsm=(), sem=None, **more):
    """Makes empty files in a train split; returns a record with classes."""
    for kind, names in {"rgb": rgb, "dsm": dsm, "sem": sem, **more}.items():
        if names is not None:
            (tmp_path / "train" / kind).mkdir(parents=True)
            for name in names:
                (tmp_path / "train" / kind / name).touch()
    return Record(name="mine", folder=tmp_path, classes=(ClassLabel(1, "ground"),))


def test_pairs_are_matched_by_stem_and_sorted(tmp_path):
    record = split_of(tmp_path, ["b.png", "a.jpg"], ["a.tif", "b.tif"], ["a.tif", "b.png"])
    first, second = list_tiles(record, "train")
    assert (first.name, second.name) == ("a", "b")
    assert [path.name for path in (first.rgb, first.dsm, first.sem)] == ["a.jpg", "a.tif", "a.tif"]


def test_hidden_and_side_files_are_ignored(tmp_path):
    side = """
        a.tif.aux.xml a.tif.msk a.tif.ovr a.TFW a.prj .a.tif.part Thumbs.db a.qml a.qmd a.json
        a.tif.vat.dbf a.tif.vat.cpg a.tfwx a.bpw a.bmpw a.lyrx a_RPC.TXT town.qgz a.tif.lock
        a.sld a.stx a.clr a.tif.points a.csv a.PDF a.zip a.geojson a.imd a.ige a.txt README.md
        a.log a.tif.bak a.tmp a.tif~ a.tif:Zone.Identifier
    """.split()
    record = split_of(tmp_path, ["a.tif", *side], ["a.tif", *side])
    (tmp_path / "train" / "rgb" / "old").mkdir()
    assert [tile.name for tile in list_tiles(record, "train")] == ["a"]


@pytest.mark.parametrize("name", ["a\nb.tif", "a.tif\n", "a\u2028.tif"])
def test_a_name_with_a_line_break_is_refused_in_one_line(tmp_path, name):
    record = split_of(tmp_path, ["a.tif", name], ["a.tif"])
    with pytest.raises(DataError) as caught:
        list_tiles(record, "train")
    assert f"the file name {name!r} has a line break" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_names_may_hold_dots_spaces_and_any_letters(tmp_path):
    names = ["SV_1.25_9.5.tif", "mein Dach ü.tif"]
    tiles = list_tiles(split_of(tmp_path, names, names), "train")
    assert [tile.name for tile in tiles] == ["SV_1.25_9.5", "mein Dach ü"]


def test_image_without_heights_is_named(tmp_path):
    record = split_of(tmp_path, [f"t{i}.tif" for i in range(7)], ["t0.tif"])
    with pytest.raises(DataError, match="6 of 7 tiles in rgb have no dsm.*t1, t2, t3, t4, t5, "):
        list_tiles(record, "train")


def test_labels_are_optional(tmp_path):
    (tile,) = list_tiles(split_of(tmp_path, ["a.tif"], ["a.tif"]), "train")
    assert tile.sem is None


def test_terrain_is_optional_and_found_by_the_stem(tmp_path):
    names = ["a.tif", "b.tif"]
    record = split_of(tmp_path, names, names, dem=["b.png", "a.tif", "c.tif"])
    assert [tile.dem.name for tile in list_tiles(record, "train")] == ["a.tif", "b.png"]
    assert list(list_tiles(record, "train")[0].files) == ["rgb", "dsm", "dem"]


def test_terrain_of_some_tiles_only_is_an_error(tmp_path):
    names = ["a.tif", "b.tif"]
    with pytest.raises(DataError, match="1 of 2 tiles in rgb have no dem file.*: b. Add the"):
        list_tiles(split_of(tmp_path, names, names, dem=["a.tif"]), "train")


def test_radar_is_listed_only_where_it_is_asked_for(tmp_path):
    record = split_of(tmp_path, ["a.tif"], ["a.tif"], sar=["a.png"])
    assert list_tiles(record, "train")[0].sar is None
    assert list_tiles(record, "train", sar=True)[0].sar.name == "a.png"


def test_missing_radar_names_the_tiles(tmp_path):
    names = ["a.tif", "b.tif", "c.tif"]
    record = split_of(tmp_path, names, names, sar=["b.tif"])
    with pytest.raises(DataError, match="2 of 3 tiles in rgb have no sar file.*: a, c. Add the"):
        list_tiles(record, "train", sar=True)


@pytest.mark.parametrize("sar", [None, []])
def test_data_without_radar_names_the_folder(tmp_path, sar):
    record = split_of(tmp_path, ["a.tif"], ["a.tif"], sar=sar)
    with pytest.raises(DataError, match="train/sar has no files, but sar_mode=fusion needs"):
        list_tiles(record, "train", sar=True)


def test_labels_are_ignored_without_classes(tmp_path):
    split_of(tmp_path, ["a.tif"], ["a.tif"], ["a.tif"])
    (tile,) = list_tiles(Record(name="mine", folder=tmp_path), "train")
    assert tile.sem is None


@pytest.mark.parametrize("split", ["train", "valid"])
def test_error_on_an_empty_or_missing_split_gives_the_layout(tmp_path, split):
    with pytest.raises(DataError, match=rf"{split} has no tiles.*Expected .*/.rgb,dsm,dem,sem,sar"):
        list_tiles(split_of(tmp_path), split)


def test_error_on_a_missing_split_says_which_folder_is_meant(tmp_path):
    record = split_of(tmp_path, ["a.tif"], ["a.tif"])
    (tmp_path / "Val").mkdir()
    with pytest.raises(DataError, match=r"valid has no tiles.* Rename \S+/Val to valid\."):
        list_tiles(record, "valid")


@pytest.mark.parametrize(
    "kinds, advice",
    [
        (
            {"images": [], "DSM": []},
            r"train has no tiles.* Rename \S+/images to rgb and \S+/DSM to",
        ),
        ({"rgb": ["a.tif"], "ndsm": ["a.tif"]}, r"its name\. Rename \S+/ndsm to dsm"),
        ({"rgb": ["a.tif"], "dsm": ["a.tif"], "Labels": []}, r"Rename \S+/Labels to sem\. If it"),
        ({"rgb": ["a.tif"], "dsm": ["a.tif"], "dtm": ["a.tif"]}, r"Rename \S+/dtm to dem"),
    ],
)
def test_folders_with_the_names_of_other_projects_are_said(tmp_path, kinds, advice):
    record = split_of(tmp_path, **{"rgb": None, "dsm": None} | kinds)
    with pytest.raises(DataError, match=f"(?s){advice}"):
        list_tiles(record, "train")


def test_folders_that_are_not_needed_may_have_any_name(tmp_path):
    names = ["a.tif"]
    split_of(tmp_path, names, names, labels=names, radar=names, images=names, vector=[])
    assert len(list_tiles(Record(name="mine", folder=tmp_path), "train")) == 1


def test_links_are_followed(tmp_path):
    record = split_of(tmp_path / "data", ["a.tif"], ["a.tif"])
    (tmp_path / "linked").symlink_to(tmp_path / "data")
    record = Record(name="mine", folder=tmp_path / "linked")
    assert len(list_tiles(record, "train")) == 1


def test_every_problem_is_listed_and_the_good_pairs_remain(tmp_path):
    rgb = ["a.tif", "b.png", "b.tif", *(f"t{i}.tif" for i in range(7))]
    record = split_of(tmp_path, rgb, ["a.tif", "b.tif", "c.tif"], ["a.tif", "b.tif"])
    tiles, problems = pair_files(record, "train")
    assert [tile.name for tile in tiles] == ["a", "b"]
    twins, no_heights, no_photo, no_labels = problems
    assert "b.png and b.tif" in twins and "in dsm have no rgb file of the same stem: c." in no_photo
    assert "7 of 9 tiles in rgb have no dsm" in no_heights
    assert "7 of 9 tiles in rgb have no sem" in no_labels
    assert "t0, t1, t2, t3, t4, t5, t6." in no_labels
    with pytest.raises(DataError, match="(?s)b.png and b.tif.*have no dsm.*have no rgb.*no sem"):
        list_tiles(record, "train")


@pytest.mark.parametrize("kind", ["rgb", "dsm", "dem", "sem"])
def test_folder_that_is_a_loop_of_links(tmp_path, kind):
    record = split_of(tmp_path, ["a.tif"], ["a.tif"], ["a.tif"], dem=["a.tif"])
    folder = tmp_path / "train" / kind
    (folder / "a.tif").unlink()
    folder.rmdir()
    folder.symlink_to(folder)
    with pytest.raises(
        DataError, match=rf"train.{kind}: the folder cannot be read \(Too many levels"
    ):
        list_tiles(record, "train")


def test_link_back_to_a_folder_above_is_ignored(tmp_path):
    record = split_of(tmp_path, ["a.tif"], ["a.tif"])
    (tmp_path / "train" / "rgb" / "loop").symlink_to(tmp_path / "train")
    assert len(list_tiles(record, "train")) == 1


def test_name_that_is_not_utf_8_is_named(tmp_path):
    record = split_of(tmp_path, ["a.tif"], ["a.tif"])
    open(os.fsencode(tmp_path / "train" / "rgb") + b"/b\xe4.tif", "w").close()
    with pytest.raises(
        DataError, match=r"train.rgb: the file name 'b.udce4.tif' is not UTF-8"
    ) as e:
        list_tiles(record, "train")
    str(e.value).encode()  # can be shown
