import subprocess
import sys
from pathlib import Path

import pytest

from datasets.catalogue import CATALOGUE
from datasets.records.record import Record, RecordError, find_record, read_record

CLASSES = """
[[classes]]
code = 2
name = "ground"
[[classes]]
code = 6
name = "building"
"""


def folder_with(tmp_path, text):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "dataset.toml").write_text(text, encoding="latin-1")
    return tmp_path


def test_all_keys_of_a_dataset_toml(tmp_path):
    text = (
        'name = "My town"\nsource = "me"\nlicence = "CC0"\ngsd = 1\ncrop_size = 64\n'
        "batch_size = 2\nignore_codes = [65]\nbuilding_code = 6\nheight_scale = 0.1\n"
        f"rgb_scale = 0.5\n{CLASSES}[loss_weights]\nheight = 2\n[recommended]\ndropout = 0.0\n"
    )
    record = find_record("mine", folder_with(tmp_path, text))
    assert (record.name, record.source, record.licence) == ("My town", "me", "CC0")
    assert (record.gsd, record.crop_size, record.batch_size) == (1.0, 64, 2)
    assert (record.height_scale, record.rgb_scale, record.ignore_codes) == (0.1, 0.5, (65,))
    assert (record.class_names, record.building_index) == (("ground", "building"), 1)
    assert (record.loss_weights, record.recommended) == ({"height": 2.0}, {"dropout": 0.0})
    assert record.folder == tmp_path / "mine"


def test_keys_for_information_only(tmp_path):
    text = (
        'paper = "doi"\nobtain = "ask"\nnotes = ["trees are missing"]\n'
        'files = {rgb = "8-bit", dsm = "feet"}\nsplits = {train = ["a", "b"], test = 7}\n'
    )
    record = find_record("mine", folder_with(tmp_path, text))
    assert (record.paper, record.obtain) == ("doi", "ask")
    assert record.notes == ("trees are missing",)
    assert record.files == {"rgb": "8-bit", "dsm": "feet"}
    assert record.splits == {"train": ("a", "b"), "test": 7}


def test_height_limits(tmp_path):
    record = find_record("mine", folder_with(tmp_path, "height_limits = [-1000, 250.5]"))
    assert record.height_limits == (-1000.0, 250.5)


def test_class_of_several_codes(tmp_path):
    text = (
        "building_code = 9\nclasses = [{codes = [1, 2], name = 'other'}, "
        "{codes = [8, 9], name = 'building'}]"
    )
    record = find_record("mine", folder_with(tmp_path, text))
    assert [label.code for label in record.classes] == [1, 8]
    assert [label.codes for label in record.classes] == [(1, 2), (8, 9)]
    assert record.building_index == 1


def test_like_takes_what_is_absent_from_the_catalogue(tmp_path):
    record = find_record("mine", folder_with(tmp_path, 'like = "SSBH"\ngsd = 5\n'))
    assert (record.name, record.gsd, record.batch_size) == ("mine", 5.0, 6)
    assert record.class_names == ("other", "building") and record.rgb_scale == 255 / 65535


def test_empty_dataset_toml_gives_the_defaults(tmp_path):
    record = find_record("mine", folder_with(tmp_path, ""))
    assert record == Record(name="mine", folder=tmp_path / "mine")
    assert record.building_index is None


def test_colour_codes(tmp_path):
    text = 'building_code = [0, 0, 255]\n[[classes]]\ncode = [0, 0, 255]\nname = "building"\n'
    assert find_record("mine", folder_with(tmp_path, text)).building_code == (0, 0, 255)


@pytest.mark.parametrize(
    "text, message",
    [
        ("crop_sise = 256", "unknown key crop_sise. Did you mean crop_size?"),
        ("gsd = 0", "gsd is 0, expected metres per pixel"),
        ("gsd = -0.5", "gsd is -0.5"),
        ("gsd = nan", "gsd is nan"),
        ('gsd = "0.5"', "gsd is '0.5'"),
        ("crop_size = 256.0", "crop_size is 256.0, expected pixels, a whole number"),
        ("batch_size = true", "batch_size is True"),
        ('name = ""', "name is ''"),
        ("ignore_codes = 65", "ignore_codes is 65, expected a list"),
        ("height_scale = inf", "height_scale is inf"),
        ("[loss_weights]\nsem = 1", "loss_weights is .*height, semantic and normal"),
        ("[loss_weights]\nheight = -1", "loss_weights is "),
        ("recommended = 3", "recommended is 3, expected a table"),
        ("classes = [1, 2]", "classes is .1, 2., expected"),
        ("[[classes]]\ncode = 1", "classes is .*a name"),
        ('[[classes]]\ncode = [0, 256, 0]\nname = "a"', "classes is .*0-255"),
        (CLASSES + '[[classes]]\ncode = 2\nname = "b"', "classes has 2 twice"),
        (CLASSES + '[[classes]]\ncode = 3\nname = "ground"', "classes has 'ground' twice"),
        ("building_code = 5" + CLASSES, r"building_code is 5.*\[2, 6\]"),
        ("building_code = 5", "building_code is 5, which is not in classes"),
        ("ignore_codes = [6]" + CLASSES, "ignore_codes has 6, which is also in classes"),
        ("ignore_codes = [[0, 0, 0]]" + CLASSES, "mix whole numbers with"),
        ("classes = [{codes = [1, 2, 1], name = 'a'}]", "classes has 1 twice"),
        (CLASSES + "[[classes]]\ncodes = [3, 2]\nname = 'b'", "classes has 2 twice"),
        ("classes = [{codes = [], name = 'a'}]", "classes is "),
        ("classes = [{codes = 1, name = 'a'}]", "classes is "),
        ("classes = [{code = [1, 2], name = 'a'}]", "classes is .*codes = "),
        ("classes = [{code = 1, codes = [1], name = 'a'}]", "classes is "),
        ("classes = [{codes = [1, [2, 2, 2]], name = 'a'}]", "mix whole numbers with"),
        ("height_limits = 1000", "height_limits is 1000, expected .lowest, highest."),
        ("height_limits = [5, -5]", "height_limits is "),
        ("height_limits = [0]", "height_limits is "),
        ("height_limits = [-inf, 5]", "height_limits is "),
        ("notes = 'bad trees'", "notes is 'bad trees', expected a list"),
        ("files = {nir = '8-bit'}", "files is .*dem, sem, sar"),
        ("splits = {val = 3}", "splits is "),
        ("splits = {valid = 0}", "splits is "),
        ("like = 'Paris'", "like is 'Paris', expected a data set of the catalogue: Demo"),
        ("likes = 'SSBH'", "unknown key likes. Did you mean like?"),
        ("gsd = ", "not a readable TOML file"),
        ("notes = " + "[" * 10**5, "its brackets are nested too deeply"),
        ("source = '\xe4'", "not a readable TOML file .*can't decode byte 0xe4"),
        ("gsd = 1" + "0" * 400, "a whole number has more than 64 bits"),
        ("[recommended]\nmtl_steps = 0x1" + "0" * 5000, "a whole number has more than 64 bits"),
    ],
)
def test_wrong_dataset_toml_names_file_and_key(tmp_path, text, message):
    with pytest.raises(RecordError, match=rf"(?s)mine.dataset\.toml: .*{message}"):
        find_record("mine", folder_with(tmp_path, text))


def test_mark_of_utf_8_that_editors_write_does_no_harm(tmp_path):
    path = tmp_path / "dataset.toml"
    path.write_text("name = 'Gr\xfcnau'", encoding="utf-8-sig")
    assert read_record(path).name == "Gr\xfcnau"


def test_folder_in_the_layout_needs_no_toml(tmp_path):
    (tmp_path / "mine" / "test" / "rgb").mkdir(parents=True)
    assert find_record("mine", tmp_path) == Record(name="mine", folder=tmp_path / "mine")


def test_unknown_name_lists_the_known_ones(tmp_path):
    (tmp_path / "vienna" / "train" / "rgb").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(RecordError, match="Did you mean vienna.*Known here: Demo, vienna"):
        find_record("viena", tmp_path)


def test_error_on_another_layout_states_the_expected_one(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(RecordError, match="mine is not in the layout .*rgb,dsm,dem,sem,sar"):
        find_record("mine", tmp_path)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\\b"])
def test_dataset_name_is_a_plain_folder_name(tmp_path, name):
    with pytest.raises(RecordError, match="plain name of a folder"):
        find_record(name, tmp_path)


def test_missing_folder_of_the_catalogue_says_where(tmp_path, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "Paris", {})
    with pytest.raises(RecordError, match=r"Paris was expected in .*Paris.*shortcut_path\.$"):
        find_record("Paris", tmp_path)


def test_missing_folder_of_the_catalogue_says_how_to_obtain_it(tmp_path):
    message = r"DFC2019_crp512, which is not a folder.*How to obtain it: .*Train-Track1-RGB"
    with pytest.raises(RecordError, match=message):
        find_record("DFC2019_crp512", tmp_path)


def test_published_name_is_offered_for_a_near_one(tmp_path):
    with pytest.raises(RecordError, match="Did you mean Vaihingen_crp256.*Known here: Demo; docs"):
        find_record("Vaihingen_crop256", tmp_path)


def test_demo_needs_no_folder_yet(tmp_path):
    record = find_record("Demo", tmp_path / "absent")
    assert (record.gsd, record.building_index) == (0.5, 2)
    assert record.class_names == ("ground", "vegetation", "building")


def test_dataset_toml_wins_over_the_catalogue(tmp_path):
    (tmp_path / "Demo").mkdir()
    (tmp_path / "Demo" / "dataset.toml").write_text("gsd = 2.0")
    assert find_record("Demo", tmp_path).gsd == 2.0


def test_records_need_the_standard_library_only():
    heavy = "{'numpy', 'osgeo', 'tensorflow'}"
    code = f"import sys, datasets.records.record; print({heavy} & {{*sys.modules}})"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("name", ["Demo", "mytown", "Vaihingen"])
@pytest.mark.parametrize("inside", ["train/rgb", "train/RGB", "test/images", "dataset.toml"])
def test_the_data_sets_own_folder_as_shortcut_path_is_said(tmp_path, name, inside):
    (tmp_path / "mytown" / inside).mkdir(parents=True)
    if inside == "dataset.toml":
        (tmp_path / "mytown" / inside).rmdir()
        (tmp_path / "mytown" / inside).touch()
    advice = rf"set --shortcut_path={tmp_path} --dataset_name=mytown\."
    with pytest.raises(RecordError, match=rf"no folder {name}\. .*{advice}"):
        find_record(name, tmp_path / "mytown")


def test_a_folder_of_data_sets_is_none_itself(tmp_path):
    (tmp_path / "test" / "train" / "rgb").mkdir(parents=True)  # a data set with a split's name
    assert find_record("Demo", tmp_path).name == "Demo"


def test_folders_with_the_names_of_other_projects_are_said(tmp_path):
    for folder in ("Train", "val/images", "test/RGB", "test/nDSM", "test/labels"):
        (tmp_path / "mine" / folder).mkdir(parents=True)
    with pytest.raises(RecordError) as error:
        find_record("mine", tmp_path)
    mine = tmp_path / "mine"
    assert f" Rename {mine}/Train to train and {mine}/val to valid." in str(error.value)
    test = mine / "test"
    renamed = f"{test}/RGB to rgb and {test}/nDSM to dsm and {test}/labels to sem."
    assert str(error.value).endswith(f" Rename {renamed}")
