"""A stage that starts from the weights of an earlier run."""

from dataclasses import replace

import keras
import tensorflow as tf

from devices.workers import is_chief
from runs.folders import file_digest
from runs.initial import InitialWeights
from runs.stored import ResumeError
from runs.weights import load_weights
from settings.table import SettingsError


def of_stage(
    initial: InitialWeights | None, stage: str, strategy: tf.distribute.Strategy
) -> InitialWeights | None:
    """Returns the initial weights if they are of a stage; otherwise says that it ignores them."""
    if initial and initial.stage != stage:
        if is_chief(strategy):
            print(
                f"initial_weights: {initial.path} is of stage {initial.stage.upper()}; "
                f"{stage.upper()} ignores it."
            )
        return None
    return initial


def load_initial_weights(
    network: keras.Model, initial: InitialWeights | None
) -> InitialWeights | None:
    """Loads the weights that a network starts from, if there are any.

    A run in place that began with them may go on without them, from its state. Only what would
    begin anew needs them, so that for such a run a problem is noted, not raised.

    Returns:
        `initial`, with the problem if there is one.

    Raises:
        SettingsError: if they cannot be loaded, and no run in place began with them.
    """
    if initial is None or initial.file is None or initial.problem:
        return initial
    try:
        load_weights(network, initial.file)
        if file_digest(initial.file) != initial.digest:
            raise ResumeError(f"{initial.file} was replaced while it was read. Start again.")
    except (ResumeError, OSError) as error:
        initial = replace(initial, problem=f"initial_weights: {error}")
        if not initial.began_with:
            raise SettingsError(initial.problem) from None
    return initial
