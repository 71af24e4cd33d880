from pathlib import Path

import pytest

import config
from settings.command_line import comments
from settings.page import page
from settings.presets import PRESETS
from settings.table import KINDS, RECOMMENDABLE, TABLE, check, show

ROOT = Path(__file__).parents[2]
COMMENTS = {name: text for group in comments().values() for name, text in group.items()}


def test_config_and_table_name_the_same_settings():
    assert list(vars(config)["__annotations__"]) == list(TABLE) == list(COMMENTS)


@pytest.mark.parametrize("name", TABLE)
def test_config_ships_with_none_or_the_built_in_default(name):
    assert getattr(config, name) == (None if KINDS[name][1] else TABLE[name].default)


@pytest.mark.parametrize("name", TABLE)
def test_built_in_default_is_possible(name):
    if TABLE[name].default is not None:
        assert check(name, TABLE[name].default) == TABLE[name].default


@pytest.mark.parametrize(
    "name", [name for name in RECOMMENDABLE if TABLE[name].default is not None]
)
def test_comment_says_what_none_means(name):
    default = TABLE[name].default
    assert COMMENTS[name].endswith(f"None = {default}")


@pytest.mark.parametrize("name", [name for name in TABLE if TABLE[name].choices])
def test_comment_names_every_choice(name):
    assert all(choice in COMMENTS[name] for choice in TABLE[name].choices)


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_holds_possible_values_only(preset):
    assert {name: check(name, value) for name, value in PRESETS[preset].items()} == PRESETS[preset]


def test_presets_are_the_choices_of_the_setting():
    assert TABLE["preset"].choices == tuple(PRESETS)


def test_page_of_the_documentation_is_current():
    written = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == page(), "Run `python -m settings.page`."


def test_values_are_shown_as_they_are_typed():
    assert [show(value) for value in (None, True, 2e-4, "a")] == ["none", "true", "0.0002", "a"]
