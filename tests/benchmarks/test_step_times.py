import pytest

from benchmarks import step_times
from runs.start import prepare_data
from settings.loading import load
from training.audit import count_collectives

RUN = ["--dataset_name=blocks", "--backbone=tiny", "--decoder_width=0.02", "--sem_flag=false"]
RUN += ["--norm_flag=false"]


@pytest.fixture(scope="module")
def prepared(blocks, tmp_path_factory):
    """Returns (settings, data) of a tiny network on small crops."""
    places = [f"--shortcut_path={blocks}", f"--output_dir={tmp_path_factory.mktemp('out')}"]
    settings = load("", [*RUN, *places])
    return settings, prepare_data(settings, ("train",))


def test_a_step_without_the_sum_holds_no_collective_operation(prepared, make_replicas):
    training = step_times.begin(*prepared, make_replicas(2))
    batch = next(training.batches)
    apart = step_times.without_sum(training.step, batch)
    step_times.take(apart, next(training.batches))
    assert apart.experimental_get_tracing_count() == 1
    assert count_collectives(apart, batch, 2) == 0
    assert count_collectives(training.step, batch, 2) == 1


def test_one_device_has_no_reduction(prepared, make_replicas):
    training = step_times.begin(*prepared, make_replicas(1))
    batch = next(training.batches)
    assert set(step_times.first_times(training.step, batch)) == {"trace", "first_step"}
    times = step_times.step_times(training, batch, 2)
    assert times["reduction"] == 0 and times["compute"] == times["step"] > 0
    assert times["input"] > 0 and times["with_input"] > 0
    assert training.step.experimental_get_tracing_count() == 1


def test_functions_are_called_in_turn_forth_and_back():
    called = []
    times = step_times.in_turn([lambda: called.append("a"), lambda: called.append("b")], 2)
    assert "".join(called) == "abbaabba"  # two rounds to warm up
    assert [len(row) for row in times] == [2, 2]
