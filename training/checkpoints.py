"""The state of a run on disk: everything that the next step depends on."""

import contextlib
import math
import tempfile
import zlib
from pathlib import Path

import keras
import tensorflow as tf

from devices.workers import any_worker, chiefs_number, is_chief, require_same, worker
from project.files import whole_file
from runs.folders import WEIGHTS
from runs.stored import ResumeError
from training.audit import audit_replicas
from training.optimizers import averaged_weights


class RunState:
    """Network, optimizer, step and the record of the best validation, saved as one.

    Attributes:
        step: optimizer updates done.
        best: best value of the validation metric so far; NaN before the first.
        waited: validations since the best one.
        stopped: whether early stopping has ended the run.
    """

    step: int
    best: float
    waited: int
    stopped: bool

    def __init__(
        self,
        folder: Path,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        extra: dict[str, tf.Variable] | None = None,
    ):
        """Prepares the state; call it under the strategy's scope.

        Args:
            folder: `<checkpoint_dir>/<dataset_name>/<stage>`.
            model: built.
            optimizer: built on the model's trainable variables.
            extra: variables that are saved as well, by name. Those that a state does not hold
                keep their value when it is loaded.
        """
        self.folder = folder
        self.model = model
        self._optimizer, self._strategy = optimizer, tf.distribute.get_strategy()
        self._moving = [w for w in model.non_trainable_weights if w.dtype.startswith("float")]
        self.is_chief = is_chief(self._strategy)
        self.step, self.best, self.waited, self.stopped = 0, float("nan"), 0, False
        self._numbers = {
            "step": tf.Variable(0, dtype=tf.int64),
            "best": tf.Variable(float("nan"), dtype=tf.float64),
            "waited": tf.Variable(0, dtype=tf.int64),
            "stopped": tf.Variable(False),
        }
        self._extra = extra or {}
        parts = {"extra": tf.train.Checkpoint(**self._extra)} if self._extra else {}
        self._parts = {"model": model, "optimizer": optimizer, **self._numbers}
        checkpoint = tf.train.Checkpoint(**self._parts, **parts)
        self._checkpoint = checkpoint
        # All processes must save, but only the chief's files count.
        place = str(folder / "last") if self.is_chief else self._scratch_folder()
        self._manager = tf.train.CheckpointManager(checkpoint, place, max_to_keep=1)

    def _scratch_folder(self) -> str:
        self._scratch = tempfile.TemporaryDirectory()  # removed together with this object
        return self._scratch.name

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

    def save(self) -> None:
        """Writes the full state; the previous one goes only when the new one is whole."""
        self.average_statistics()
        for name, variable in self._numbers.items():
            variable.assign(getattr(self, name))
        self._manager.save(checkpoint_number=self.step)

    def restore(self) -> bool:
        """Loads the last full state, if there is one; returns whether there was.

        Raises:
            ResumeError: if it is damaged, or of another network.
        """
        path = tf.train.latest_checkpoint(str(self.folder / "last"))
        if path is None:
            return False
        try:
            has_extra = any(name.startswith("extra/") for name, _ in tf.train.list_variables(path))
            checkpoint = self._checkpoint if has_extra else tf.train.Checkpoint(**self._parts)
            checkpoint.restore(path).assert_consumed()
        except (tf.errors.OpError, AssertionError, IndexError, ValueError) as error:
            raise ResumeError(
                f"{path} cannot be restored ({type(error).__name__}): it is damaged or of "
                "another network. --resume=never trains again."
            ) from None
        for name, variable in self._numbers.items():
            setattr(self, name, variable.numpy().item())
        return True

    def save_best(self) -> None:
        """Writes the weights alone as `best.weights.h5`; the file appears when it is complete."""
        if self.is_chief:
            with whole_file(self.folder / WEIGHTS) as part:
                self.model.save_weights(part)
