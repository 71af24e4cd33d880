import pytest

from prediction.scene_files import check_collisions, list_scenes, pair_with_outputs
from settings.table import SettingsError


@pytest.fixture
def photos(tmp_path):
    """Returns a folder with two scenes, a text and a folder."""
    for name in ("b.tif", "a.JPG", "notes.txt", ".hidden.tif"):
        (tmp_path / name).touch()
    (tmp_path / "more.tif").mkdir()
    return tmp_path


def test_a_folder_gives_its_images_by_name(photos):
    assert [path.name for path in list_scenes(str(photos))] == ["a.JPG", "b.tif"]


def test_a_pattern_and_a_file_give_what_they_name(photos):
    assert list_scenes(str(photos / "*.tif")) == [photos / "b.tif"]
    assert list_scenes(str(photos / "b.tif")) == [photos / "b.tif"]


def test_no_scene_found_is_an_error(photos):
    with pytest.raises(SettingsError, match="no scene at .*absent.tif"):
        list_scenes(str(photos / "absent.tif"))


def test_one_scene_goes_to_a_file_and_several_to_a_folder(photos):
    scenes = list_scenes(str(photos))
    assert pair_with_outputs(scenes[:1], str(photos / "h.tif")) == [(scenes[0], photos / "h.tif")]
    outputs = [output for _, output in pair_with_outputs(scenes, str(photos / "out"))]
    assert outputs == [photos / "out" / "a.tif", photos / "out" / "b.tif"]


def test_impossible_outputs_are_refused(photos):
    scenes = list_scenes(str(photos))
    with pytest.raises(SettingsError, match="expected a folder for 2 scenes"):
        pair_with_outputs(scenes, str(photos / "h.tif"))
    with pytest.raises(SettingsError, match="expected a .tif file"):
        pair_with_outputs(scenes[:1], str(photos / "h.png"))
    with pytest.raises(SettingsError, match="does not exist"):
        pair_with_outputs(scenes[:1], str(photos / "absent" / "h.tif"))


def test_maps_that_collide_are_refused(photos):
    (photos / "b.png").touch()
    with pytest.raises(SettingsError, match="b.png and .*b.tif would both"):
        check_collisions(pair_with_outputs(list_scenes(str(photos)), str(photos / "out")))


def test_scene_whose_name_is_not_utf8_is_named(tmp_path):
    (tmp_path / "caf\udce9.tif").touch()
    with pytest.raises(SettingsError, match=r"caf.udce9.tif' is not UTF-8"):
        list_scenes(str(tmp_path))
