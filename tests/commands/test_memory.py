"""What is printed when memory is refused, by really asking for too much of it."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from commands.errors import clear_errors
from settings.loading import load

ARGUMENTS = ["--dataset_name=Demo", "--batch_size=6", "--gradient_accumulation_steps=2"]
ARGUMENTS += ["--crop_size=256", "--batch_windows=8"]


def refuse():
    """Raises what `tf.zeros((10**6, 10**6))` does after TensorFlow has tried for ten seconds."""
    raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


TOO_MUCH = {
    "numpy": lambda: np.zeros((10**6, 10**6)),
    "opencv": lambda: cv2.resize(np.zeros((2, 2), "float32"), (30_000_000, 30_000_000)),
    "tensorflow": refuse,
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_the_settings_that_help_are_named_the_best_first(name):
    settings = load("", ARGUMENTS)
    with pytest.raises(SystemExit) as ended, clear_errors(settings, "mtl"):
        TOO_MUCH[name]()
    message = ended.value.code
    assert message.startswith("error: out of memory (")
    found = [line.split()[0] for line in message.splitlines() if line.startswith("  --")]
    assert found == [
        "--batch_size=3",
        "--gradient_checkpointing=true",
        "--cache=none",
        "--batch_windows=4",
        "--window_size=192",
        "--precision=auto",
        "--crop_size=192",
    ]
    assert "--batch_size=3 --dae_batch_size=3 --gradient_accumulation_steps=4  50% of" in message
    assert "56% of the memory of a step" in message


def test_stage_2_has_its_own_batch_size_and_nothing_smaller_is_offered_than_there_is():
    small = ["--batch_size=1", "--crop_size=32", "--batch_windows=1", "--cache=none"]
    settings = load("", [*small, "--gradient_checkpointing=true", "--dae_batch_size=9"])
    with pytest.raises(SystemExit) as ended, clear_errors(settings, "dae"):
        raise MemoryError
    lines = [line for line in ended.value.code.splitlines() if line.startswith("  --")]
    assert "the other stage becomes another run" in lines[0]
    assert [line.split()[:2] for line in lines] == [
        ["--dae_batch_size=3", "--gradient_accumulation_steps=3"],
        ["--precision=auto", "on"],
    ]


def test_a_prediction_gets_no_advice_on_training():
    with pytest.raises(SystemExit) as ended, clear_errors(load("", ARGUMENTS), "prediction"):
        TOO_MUCH["numpy"]()
    assert "--batch_windows=4" in ended.value.code and "--batch_size" not in ended.value.code


def test_other_errors_of_tensorflow_keep_their_traceback():
    with pytest.raises(tf.errors.InvalidArgumentError), clear_errors(load("", ARGUMENTS), "mtl"):
        tf.reshape(tf.zeros((2, 3)), (4,))
