import os

import pytest

from project.errors import UserError
from project.files import check_own_folder, check_writable, whole_file, whole_folder


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "a.weights.h5"
    with whole_file(path) as part:
        part.write_text("first")
        assert part.name.endswith(".weights.h5") and not path.exists()  # as Keras wants it
    assert path.read_text() == "first"


def test_a_failure_leaves_the_earlier_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("earlier")
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "earlier" and list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "a.json"
    with whole_file(path) as one:
        one.write_text("one")
        with whole_file(path) as other:
            other.write_text("other")
    assert path.read_text() == "one"


def test_a_folder_appears_when_all_is_in_it(tmp_path):
    folder = tmp_path / "new" / "model"
    with whole_folder(folder) as part:
        (part / "a").write_text("a")
        assert not folder.exists()
    assert (folder / "a").read_text() == "a" and list(folder.parent.iterdir()) == [folder]


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "model") as part:
        (part / "a").write_text("a")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_a_folder_with_content_is_never_replaced(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("mine")
    with pytest.raises(OSError), whole_folder(tmp_path / "model"):
        pass
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine"]


def test_what_a_killed_process_left_is_removed_after_an_hour(tmp_path):
    names = ("a.h5", ".part.0123abcd.a.h5", ".part.4567cdef.a.h5", ".part.mine.h5")
    path, old, new, mine = (tmp_path / name for name in names)
    for file in (old, new, mine):
        file.write_text("half")
    for file in (old, mine):
        os.utime(file, (0, 0))
    with whole_file(path) as part:
        part.write_text("all")
    assert set(tmp_path.iterdir()) == {path, new, mine}


def test_a_folder_that_can_be_made_is_writable_and_nothing_is_made(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(UserError, match="written to .*/a/b: .*/a is not a folder"):
        check_writable(tmp_path / "a" / "b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="read-only"):
        check_writable(tmp_path / "b")


@pytest.mark.parametrize(
    ("content", "owned"),
    [
        ({}, True),
        ({"metrics.json": '{"settings": {}}'}, True),
        ({"notes.txt": ""}, False),
        ({"metrics.json": "{}"}, False),
        ({"metrics.json": "[" * 100000}, False),
        ({"settings.json": '{"settings": {}}'}, False),
    ],
)
def test_a_folder_is_own_if_it_is_empty_or_holds_a_record(tmp_path, content, owned):
    check_own_folder(tmp_path / "absent", ["metrics.json"])
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    if owned:
        return check_own_folder(tmp_path, ["metrics.json"])
    with pytest.raises(UserError, match="no metrics.json that this project wrote"):
        check_own_folder(tmp_path, ["metrics.json"])
