"""The state of a run on disk: everything that the next step depends on."""

import contextlib
import math
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from devices.workers import any_worker, chiefs_number, is_chief, require_same, worker
from project.files import writing
from runs.folders import WEIGHTS
from runs.stored import ResumeError
from runs.weights import save_weights
from training.audit import audit_replicas
from training.optimizers import averaged_weights
from training.states import (
    LAST,
    Numbers,
    State,
    best_is_lost,
    newest_whole,
    remove_superseded,
    rewrite_numbers,
    saved_states,
    set_best_aside,
    state_of,
    write_state,
)

EXTRA_TENSOR = "extra/{}/.ATTRIBUTES/VARIABLE_VALUE"  # TensorFlow's name of such a variable
EARLIER_NUMBERS = {  # with their types
    "step": np.int64(0),
    "best": np.float64("nan"),
    "waited": np.int64(0),
    "stopped": False,
}


class RunState:
    """Network, optimizer, step and the record of the best validation, saved as one.

    Its numbers are attributes: those of `training.states.Numbers`.
    """

    step: int
    best: float
    waited: int
    stopped: bool
    pending: bool

    def __init__(
        self,
        folder: Path,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        keep_states: int = 2,
        extra: dict[str, tf.Variable] | None = None,
        before_save: Callable[[], object] = lambda: None,
    ):
        """Prepares the state; call it under the strategy's scope.

        Args:
            folder: `<checkpoint_dir>/<dataset_name>/<stage>`.
            model: built.
            optimizer: built on the model's trainable variables.
            keep_states: how many of the newest stay on the disk.
            extra: variables that are saved as well, by name. Those that a state does not hold
                keep their value when it is loaded.
            before_save: is called before anything is written; its errors prevent that.
        """
        self.folder = folder
        self.model = model
        self._last = folder / LAST
        self._optimizer, self._strategy = optimizer, tf.distribute.get_strategy()
        self._keep_states, self._extra, self._before_save = keep_states, extra or {}, before_save
        self._moving = [w for w in model.non_trainable_weights if w.dtype.startswith("float")]
        self.is_chief = is_chief(self._strategy)
        self._take(Numbers(step=0))
        self._scratch = None if self.is_chief else tempfile.TemporaryDirectory()

    def _take(self, numbers: Numbers) -> None:
        for field in fields(Numbers):
            setattr(self, field.name, getattr(numbers, field.name))

    def _numbers(self) -> Numbers:
        return Numbers(**{field.name: getattr(self, field.name) for field in fields(Numbers)})

    @property
    def bytes(self) -> int:
        """How large a saved state is, apart from a few thousand bytes."""
        variables = [*self.model.variables, *self._optimizer.variables]
        return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)

    def average_statistics(self) -> None:
        """Gives every replica the mean of the replicas' moving statistics, in one collective.

        Without synchronised batch normalisation each replica has its own, and only the first's
        would be saved. They are linear in the batches, so averaging them now and then gives the
        same as averaging them after every step.

        Raises:
            AuditError: if the replicas disagree, then or on a weight.
        """
        if self._strategy.num_replicas_in_sync == 1:
            return
        if self._moving:
            self._average_statistics()
        self.audit(statistics=True)

    @tf.function
    def _average_statistics(self) -> None:
        def replica():
            means = tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.MEAN, [tf.identity(m) for m in self._moving]
            )
            for moving, mean in zip(self._moving, means, strict=True):
                moving.assign(mean)

        self._strategy.run(replica)

    def chiefs_value(self, value: float | None) -> float | None:
        """Returns the chief's value in every process; all must call it."""
        number = chiefs_number(self._strategy, float("nan") if value is None else value)
        return None if math.isnan(number) else number

    def any_worker(self, *flags: object) -> list[bool]:
        """Returns which flags are set in one of the processes; all must call it."""
        return any_worker(self._strategy, *map(bool, flags))

    def audit(self, statistics: bool = False) -> None:
        """Checks that replicas and processes hold the same weights, to the bit.

        Args:
            statistics: True = the moving statistics too.

        Raises:
            AuditError: if replicas of this process do not.
            WorkersError: if another process does not.
        """
        audit_replicas(self.model, statistics)
        if worker(self._strategy)[1] > 1:
            weights = self.model.weights if statistics else self.model.trainable_variables
            digest = [self.step, *(zlib.crc32(weight.numpy().tobytes()) for weight in weights)]
            require_same(self._strategy, "weights or steps", digest)

    def averaged(self) -> contextlib.AbstractContextManager:
        """Returns a context in which the weights are their moving average, if there is one."""
        return averaged_weights(self._strategy, self.model, self._optimizer)

    def save(self, pending: bool = False) -> None:
        """Writes the full state; earlier ones go only when the new one is whole.

        Args:
            pending: whether the validation after this step has still to be done.

        Raises:
            AuditError: as `average_statistics`.
        """
        self._before_save()
        self.average_statistics()
        self.pending = pending
        # All processes must write, but only the chief's files count.
        write = self._checkpoint(self._extra).write
        if self._scratch:
            with writing(self._scratch.name, "a copy of the state", self.bytes, self._safe()):
                write(str(Path(self._scratch.name) / "state"))
            return
        write_state(self._last, self._numbers(), write, self.bytes, self._safe())
        remove_superseded(self._last, self._keep_states)

    def _safe(self) -> str:
        """Returns a sentence on what is not lost where a file cannot be written."""
        states = saved_states(self._last)
        if not states:
            return "There is no state yet."
        return f"The last state, of step {states[0].step}, is whole."

    def save_numbers(self) -> None:
        """Replaces the numbers in the state that was saved last, after its validation."""
        self._before_save()
        self.pending = False
        if self.is_chief:
            rewrite_numbers(self._last, self._numbers(), self._safe())

    def restore(self) -> bool:
        """Loads the newest whole state, if there is one; returns whether there was.

        Of several processes, the chief decides which one. A damaged one is set aside, loudly.

        Raises:
            ResumeError: if all are damaged, or it is of another network or a newer version.
        """
        chosen = newest_whole(self._last) if self.is_chief else None
        step, earlier = (chosen.step, chosen.earlier) if chosen else (-1, False)
        step = int(chiefs_number(self._strategy, step))
        earlier = bool(chiefs_number(self._strategy, earlier))
        if step < 0:
            return False
        state = state_of(self._last, step, earlier)
        self._read(state)
        self._take(state.numbers())
        if self.any_worker(self.is_chief and best_is_lost(self.folder, self._numbers()))[0]:
            if self.is_chief:
                set_best_aside(self.folder)
            self.best, self.waited, self.pending = float("nan"), 0, True
        return True

    def _read(self, state: State) -> None:
        """Loads the variables of a state.

        Raises:
            ResumeError: if they are not those of this network and optimizer.
        """
        try:
            if state.earlier:  # it holds its numbers as variables
                numbers = {name: tf.Variable(value) for name, value in EARLIER_NUMBERS.items()}
                checkpoint = self._checkpoint({}, **numbers)
                checkpoint.restore(state.prefix).assert_consumed()
            else:
                has = tf.train.load_checkpoint(state.prefix).has_tensor
                extra = {n: v for n, v in self._extra.items() if has(EXTRA_TENSOR.format(n))}
                self._checkpoint(extra).read(state.prefix).assert_consumed()
        except (tf.errors.OpError, AssertionError, IndexError, ValueError) as error:
            raise ResumeError(
                f"{state.path} cannot be restored ({type(error).__name__}): it is of another "
                "network. --resume=never trains again."
            ) from None

    def _checkpoint(
        self, extra: dict[str, tf.Variable], **numbers: tf.Variable
    ) -> tf.train.Checkpoint:
        parts = {"extra": tf.train.Checkpoint(**extra)} if extra else {}
        return tf.train.Checkpoint(model=self.model, optimizer=self._optimizer, **parts, **numbers)

    def save_best(self) -> None:
        """Writes the weights alone as `best.weights.h5`; the file appears when it is complete."""
        self._before_save()
        if self.is_chief:
            save_weights(self.model, self.folder / WEIGHTS, self._safe())
