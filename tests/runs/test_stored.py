import json

import pytest

from project.version import VERSION
from runs.stored import ResumeError, StoredRun, read_stored

RUN = StoredRun("mtl", {"seed": 1}, {"seed": 1}, ["ground"], 0.5, 2.0, 0, {"height_loss": 1.0})


def test_what_is_written_is_read(tmp_path):
    RUN.write(tmp_path)
    stored = read_stored(tmp_path)
    assert stored.identity == {"seed": 1} and stored.version == VERSION
    assert read_stored(tmp_path / "elsewhere") is None


def test_keys_that_the_first_versions_lack_and_later_ones_add_do_no_harm(tmp_path):
    RUN.write(tmp_path)
    path = tmp_path / "settings.json"
    stored = json.loads(path.read_text())
    for name in ("unusable_tiles", "encoder_weights", "parameters", "version"):
        del stored[name]
    path.write_text(json.dumps(stored | {"of_tomorrow": 1}))
    assert read_stored(tmp_path) == RUN


@pytest.mark.parametrize("text", ["{", "[]", '{"stage": "mtl"}', "null", "[" * 10**5, "\xff"])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "settings.json").write_text(text, encoding="latin-1")
    with pytest.raises(ResumeError, match="settings.json is damaged"):
        read_stored(tmp_path)


@pytest.mark.parametrize(
    "name, value",
    [
        *[("stage", 1), ("settings", []), ("identity", [["seed", 1]]), ("classes", "ground")],
        *[("classes", [1]), ("gsd", "0.5"), ("gsd", None), ("training_mean_height", True)],
        *[("majority_class", 0.5), ("loss_weights", {"height_loss": None}), ("parameters", "1")],
    ],
)
def test_a_value_of_another_type_is_named(tmp_path, name, value):
    RUN.write(tmp_path)
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(ResumeError, match=f"settings.json is damaged .{name} is "):
        read_stored(tmp_path)
