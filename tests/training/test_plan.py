import pytest

from training.loop import TrainingPlan, make_plan


def test_steps_cover_the_epochs():
    assert make_plan(3, None, 4, 10).total_steps == 8  # 30 samples, 4 a step


def test_a_step_count_wins():
    assert make_plan(3, 5, 4, 10).total_steps == 5


@pytest.mark.parametrize(
    "batch, samples, total, ends", [(4, 8, 5, {1, 3, 4}), (4, 10, 5, {2, 4}), (6, 4, 2, {0, 1})]
)
def test_an_epoch_ends_with_the_step_that_takes_its_last_sample(batch, samples, total, ends):
    plan = TrainingPlan(total, batch, samples)
    assert {step for step in range(total) if plan.ends_epoch(step)} == ends
