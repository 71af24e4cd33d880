import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from project.errors import UserError
from project.files import (
    DiskError,
    check_replaceable_folder,
    check_writable,
    parse_json,
    read_json,
    replaced_folder,
    whole_file,
    whole_folder,
    write_bytes,
    writing,
)
from tests.full_disk import closed_folder, file_limit, read_only_disk, small_disk

ROOT = Path(__file__).parents[2]
# Replaces a folder and is killed: while it fills the new one, or between the two renames.
KILLED = """
import os, sys
from pathlib import Path
from project.files import replaced_folder
def rename(old, new, rename=Path.rename):
    rename(old, new)
    os.kill(os.getpid(), 9)
Path.rename = rename
with replaced_folder(Path(sys.argv[1]), lambda folder: {Path("old.tif")}) as part:
    (part / "new.tif").write_text("new")
    if sys.argv[2] == "filling":
        os.kill(os.getpid(), 9)
"""


def outdated(folder):
    return {Path("old.tif")}


def make_folder(folder):
    """Makes a folder of a file that will be replaced and of two others."""
    (folder / "mine").mkdir(parents=True)
    for name in ("old.tif", "notes.txt", "mine/a.qml"):
        (folder / name).write_text("earlier")


def content(folder):
    """Returns the texts of all files below a folder, by relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


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


def test_a_folder_is_replaced_and_what_others_wrote_stays(tmp_path):
    make_folder(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with replaced_folder(tmp_path / "link", outdated) as part:
        (part / "new.tif").write_text("new")
        (part / "notes.txt").write_text("new")
        assert set(content(tmp_path / "a")) == {"old.tif", "notes.txt", "mine/a.qml"}
    assert content(tmp_path / "a") == {
        "new.tif": "new",
        "notes.txt": "new",
        "mine/a.qml": "earlier",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"a", "link"}


def test_links_are_carried_over_as_links_and_disks_without_links_get_copies(tmp_path, monkeypatch):
    make_folder(tmp_path / "a")
    (tmp_path / "a" / "other").symlink_to("mine")
    monkeypatch.setattr(os, "link", lambda *paths, **options: os.stat(tmp_path / "absent"))
    with replaced_folder(tmp_path / "a", outdated):
        pass
    assert content(tmp_path / "a") == {"notes.txt": "earlier", "mine/a.qml": "earlier"}
    assert (tmp_path / "a" / "other").readlink() == Path("mine")


def test_a_replacement_that_fails_leaves_the_earlier_folder(tmp_path):
    make_folder(tmp_path / "a")
    before = content(tmp_path)
    with pytest.raises(RuntimeError), replaced_folder(tmp_path / "a", outdated) as part:
        (part / "new.tif").write_text("new")
        raise RuntimeError
    assert content(tmp_path) == before


@pytest.mark.parametrize("moment", ["filling", "renaming"])
def test_a_replacement_that_is_killed_leaves_the_earlier_folder(tmp_path, moment):
    make_folder(tmp_path / "a")
    before = content(tmp_path / "a")
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a", moment], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    if moment == "renaming":
        assert content(tmp_path / ".a.earlier") == before
    with replaced_folder(tmp_path / "a", outdated):
        assert content(tmp_path / "a") == before  # the next one puts it back
    assert set(content(tmp_path / "a")) == set(before) - {"old.tif"}


def test_a_file_is_no_folder_to_replace(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(OSError, match="not a folder"), replaced_folder(tmp_path / "a", outdated):
        pass
    assert content(tmp_path) == {"a": "mine"}


def test_a_folder_that_a_killed_process_left_is_removed_after_a_day(tmp_path):
    old, new = (tmp_path / f".part.{token}.a" for token in ("0123abcd", "4567cdef"))
    for part in (old, new):
        (part / "dsm").mkdir(parents=True)
        for path in (part, part / "dsm")[: 1 if part == new else 2]:
            os.utime(path, (0, 0))
    with whole_folder(tmp_path / "a"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"a", new.name}


def test_a_folder_that_can_be_made_is_writable_and_nothing_is_made(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(UserError, match="written to .*/a/b: .*/a is not a folder"):
        check_writable(tmp_path / "a" / "b")


def test_a_folder_in_which_even_root_can_make_nothing_is_named():
    with pytest.raises(UserError, match="written to /proc/a/b: no file can be made in /proc"):
        check_writable(Path("/proc/a/b"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="no file can be made"):
        check_writable(tmp_path / "b")


@pytest.mark.parametrize(
    ("content", "replaceable"),
    [
        ({}, True),
        ({"metrics.json": '{"settings": {}}'}, True),
        ({".part.0123abcd.metrics.json": "{"}, True),  # of a process that was killed
        ({".part.mine.json": "{"}, False),
        ({"notes.txt": ""}, False),
        ({"metrics.json": "{}"}, False),
        ({"metrics.json": "[" * 100000}, False),
        ({"settings.json": '{"settings": {}}'}, False),
    ],
)
def test_a_folder_is_replaceable_if_it_is_empty_or_holds_settings(tmp_path, content, replaceable):
    check_replaceable_folder(tmp_path / "absent", ["metrics.json"])
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    if replaceable:
        return check_replaceable_folder(tmp_path, ["metrics.json"])
    with pytest.raises(UserError, match="no metrics.json that this project wrote"):
        check_replaceable_folder(tmp_path, ["metrics.json"])


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


def test_a_file_that_has_no_room_is_named_and_the_earlier_one_stays(tmp_path):
    write_bytes(tmp_path / "a.png", b"earlier")
    with file_limit(1000), pytest.raises(DiskError) as raised:
        write_bytes(tmp_path / "a.png", bytes(5000))
    assert str(raised.value) == (
        f"{tmp_path}/a.png cannot be written: it would be larger than a file may be here (5 kB "
        "needed, 1 kB allowed). What was there before is unchanged. Raise the limit (ulimit -f) "
        "and start the same command again."
    )
    assert content(tmp_path) == {"a.png": "earlier"}


def test_a_full_disk_is_named_with_the_bytes_needed_and_free(tmp_path):
    with small_disk(tmp_path / "disk", 64) as resize:
        path = tmp_path / "disk" / "a.bin"
        with pytest.raises(
            DiskError, match=r"no space .*\(200 kB needed, 65.5 kB free\).* Make room"
        ):
            write_bytes(path, bytes(200_000))
        assert not list(path.parent.iterdir())
        resize(1000)
        write_bytes(path, bytes(200_000))
        assert path.stat().st_size == 200_000


def test_a_disk_that_is_read_only_is_named(tmp_path):
    with (
        read_only_disk(tmp_path / "disk"),
        pytest.raises(DiskError, match="a.json cannot be written: its disk is read-only"),
    ):
        write_bytes(tmp_path / "disk" / "a.json", b"{}")


def test_a_folder_that_nobody_may_write_to_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    with (
        closed_folder(tmp_path / "a"),
        pytest.raises(DiskError, match="a/b.json cannot be written: writing is not permitted"),
    ):
        write_bytes(tmp_path / "a" / "b.json", b"{}")


def test_a_folder_is_named_by_its_own_name_where_a_file_in_it_has_no_room(tmp_path):
    with (
        file_limit(1000),
        pytest.raises(DiskError, match=f"^the model {tmp_path}/m cannot .*5 kB needed.*: nothing"),
        whole_folder(tmp_path / "m", "the model", safe="Lost: nothing.") as part,
    ):
        write_bytes(part / "a" / "b.bin", bytes(5000))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_replaced_stays_with_all_that_is_in_it(tmp_path):
    make_folder(tmp_path / "a")
    before = content(tmp_path)
    with (
        file_limit(1000),
        pytest.raises(DiskError, match="/a cannot be written"),
        replaced_folder(tmp_path / "a", outdated) as part,
    ):
        write_bytes(part / "new.tif", bytes(5000))
    assert content(tmp_path) == before


def fill(path, size):
    """Writes as libraries do that do not say why they fail."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.tell() < size:
            file.write(bytes(1000))
    raise RuntimeError("it failed")


def test_the_disk_is_asked_where_an_error_does_not_tell(tmp_path):
    with (
        file_limit(3_000_000),  # more than is tried on a new file
        pytest.raises(DiskError, match="larger than a file may be"),
        whole_file(tmp_path / "a.bin") as part,
    ):
        fill(part, 4_000_000)
    with file_limit(3_000_000), pytest.raises(DiskError), writing(tmp_path / "a", "", 4_000_000):
        raise RuntimeError("it failed")
    assert not list(tmp_path.iterdir())


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="it failed"), whole_file(tmp_path / "a.bin") as part:
        fill(part, 5000)
    elsewhere = OSError(errno.ENOSPC, "No space", str(tmp_path / "b" / "c"))
    with pytest.raises(OSError, match="No space"), whole_file(tmp_path / "a" / "b.bin"):
        raise elsewhere
