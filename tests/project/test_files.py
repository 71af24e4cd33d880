import os

import pytest

from project.files import parse_json, read_json, whole_file, whole_folder


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


@pytest.mark.parametrize(
    "data, message",
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": "\xe4"}', "can't decode byte 0xe4"),
        (b'{"a": NaN}', "NaN is not a number of JSON"),
        (b'{"a": "\\ud800"}', "can't encode character"),
        (b"[1]", "holds a list, expected an object"),
        (b'{"a": 1', "delimiter"),
    ],
)
def test_text_that_is_no_json_object_is_a_value_error(data, message):
    with pytest.raises(ValueError, match=message):
        parse_json(data)


def test_json_that_an_editor_marked_as_utf_8_is_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa4"}')
    assert read_json(tmp_path / "a.json") == {"a": "ä"}
