"""A part of the fuzz test: python -m tests.fuzz runs more. This test may take 30 seconds."""

from tests.fuzz.__main__ import run, table
from tests.fuzz.child import FOUND, READ
from tests.fuzz.seeds import make_seeds

INPUTS = 500


def test_damaged_files_are_read_or_refused_in_one_line():
    results = list(run(INPUTS, seed=1))
    found = [result for result in results if result.outcome == FOUND]
    assert len(results) == INPUTS and not found, table(results)
    whole = results[: len(make_seeds())]  # these are not damaged
    assert [r for r in whole if r.outcome != READ and r.format != "settings"] == []
    assert {r.format for r in results if r.outcome == READ} == {r.format for r in results}
