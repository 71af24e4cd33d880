"""The arithmetic of a run: steps, epochs and the global batch."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingPlan:
    """How long a run is and where its epochs end.

    Step s takes the samples [s*G, (s+1)*G) of one endless stream, so an epoch need not be a
    whole number of steps: it ends with the step that takes its last sample.

    Attributes:
        total_steps: int, optimizer updates.
        global_batch_size: int G, examples per step over all replicas.
        samples_per_epoch: int.
    """

    total_steps: int
    global_batch_size: int
    samples_per_epoch: int

    def epoch(self, steps):
        """Returns how many epochs are complete after `steps` steps."""
        return steps * self.global_batch_size // self.samples_per_epoch

    def ends_epoch(self, step):
        """Says whether step number `step` (from 0) completes an epoch or the run."""
        return self.epoch(step + 1) > self.epoch(step) or step + 1 == self.total_steps


def make_plan(epochs, steps, global_batch_size, samples_per_epoch):
    """Makes the plan of a run; a step count, if not None, wins over the epochs."""
    if steps is None:
        steps = math.ceil(epochs * samples_per_epoch / global_batch_size)
    return TrainingPlan(steps, global_batch_size, samples_per_epoch)
