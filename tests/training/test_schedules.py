import math

import pytest

from training.schedules import Decay, make_schedule


def rates(steps, *arguments, **keywords):
    schedule = make_schedule(*arguments, **keywords)
    return [float(schedule(step)) for step in steps]


def test_constant():
    assert rates([0, 5, 10], "constant", 0.2, 10) == pytest.approx([0.2, 0.2, 0.2])


def test_cosine_by_hand():
    expected = [1.0, (1 + math.cos(math.pi / 4)) / 2, 0.5, 0.0]
    assert rates([0, 2, 4, 8], "cosine", 1.0, 8) == pytest.approx(expected, abs=1e-6)


def test_cosine_ends_at_the_minimum():
    assert rates([4, 8], "cosine", 1.0, 8, minimum=0.2) == pytest.approx([0.6, 0.2])


@pytest.mark.parametrize("kind, end", [("constant", 1.0), ("cosine", 0.0)])
def test_warm_up_rises_in_a_line(kind, end):
    found = rates([0, 1, 2, 4, 12], kind, 1.0, 12, warmup_steps=4)
    assert found == pytest.approx([0.0, 0.25, 0.5, 1.0, end], abs=1e-6)


def test_step_falls_at_equal_distances_down_to_the_minimum():
    steps = [0, 3, 4, 7, 8, 12]
    found = rates(steps, "step", 1.0, 16, minimum=0.05, decay=Decay(4, 0.2))
    assert found == pytest.approx([1.0, 1.0, 0.2, 0.2, 0.05, 0.05])


def test_step_counts_its_falls_from_the_first_step():
    found = rates([0, 1, 2, 3, 4], "step", 1.0, 8, warmup_steps=2, decay=Decay(4, 0.1))
    assert found == pytest.approx([0.0, 0.5, 1.0, 1.0, 0.1])


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="'stairs'.*constant, cosine, step"):
        make_schedule("stairs", 1.0, 10)
