"""A part of the fuzz test: python -m tests.fuzz runs more. This test may take 30 seconds."""

import pytest

from project.errors import UserError
from tests.fuzz.__main__ import run, table
from tests.fuzz.child import FOUND, READ
from tests.fuzz.seeds import make_seeds
from tests.fuzz.uses import is_refusal

INPUTS = 500


def test_damaged_files_are_read_or_refused_in_one_line():
    results = list(run(INPUTS, seed=1))
    found = [result for result in results if result.outcome == FOUND]
    assert len(results) == INPUTS and not found, table(results)
    whole = results[: len(make_seeds())]  # these are not damaged
    assert [r for r in whole if r.outcome != READ and r.format != "settings"] == []
    assert {r.format for r in results if r.outcome == READ} == {r.format for r in results}


@pytest.mark.parametrize(
    ("error", "refuses"),
    [
        (UserError("Give another file."), True),
        (FileNotFoundError("Train stage 1 first."), True),
        (FileNotFoundError(2, "No such file or directory", "a.tif"), False),
        (OSError(5, "Input/output error"), False),
        (SystemExit(2), True),
        (SystemExit(1), False),
        (ValueError("bad"), False),
    ],
)
def test_only_an_error_in_the_words_of_the_project_is_a_refusal(error, refuses):
    assert is_refusal(error) == refuses
