import pytest

from benchmarks import shared


def test_a_failed_process_says_why():
    with pytest.raises(shared.MeasurementError, match="error: .*crop_size"):
        shared.in_a_process("benchmarks.step_times", {"crop_size": 33})


def test_numbers_are_aligned_to_the_right():
    table = shared.markdown_table(["row", "m", "s"], [("a", 1, "-"), ("b", 2, 3)])
    assert table.splitlines() == [
        "| row | m | s |",
        "| --- | ---: | ---: |",
        "| a | 1 | - |",
        "| b | 2 | 3 |",
    ]
