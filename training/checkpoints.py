"""The state of a run on disk: everything that the next step depends on."""

import math
import tempfile
import zlib

import tensorflow as tf

from devices.workers import any_worker, chiefs_number, is_chief, require_same, worker
from project.files import whole_file
from runs.stored import ResumeError
from training.audit import audit_replicas
from training.optimizers import averaged_weights


class RunState:
    """Network, optimizer, step and the record of the best validation, saved as one.

    Attributes:
        step: int, optimizer updates done.
        best: float, best value of the validation metric so far; NaN before the first.
        waited: int, validations since the best one.
        stopped: bool, whether early stopping has ended the run.
    """

    def __init__(self, folder, model, optimizer):
        """Prepares the state; call it under the strategy's scope.

        Args:
            folder: `Path`, `<checkpoint_dir>/<dataset_name>/<stage>`.
            model: built Keras model.
            optimizer: Keras optimizer, built on the model's trainable variables.
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
        checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, **self._numbers)
        self._checkpoint = checkpoint
        # All processes must save, but only the chief's files count.
        self._scratch = None if self.is_chief else tempfile.TemporaryDirectory()
        place = str(folder / "last") if self.is_chief else self._scratch.name
        self._manager = tf.train.CheckpointManager(checkpoint, place, max_to_keep=1)

    def average_statistics(self):
        """Gives every replica the mean of the replicas' moving statistics, in one collective.

        Without synchronised batch normalisation each replica has its own, and only the first's
        would be saved. They are linear in the batches, so it does not matter when this is done.

        Raises:
            AuditError: if the replicas disagree, then or on a weight.
        """
        if self._strategy.num_replicas_in_sync == 1:
            return
        if self._moving:
            self._average_statistics()
        self.audit(statistics=True)

    @tf.function
    def _average_statistics(self):
        def replica():
            means = tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.MEAN, [tf.identity(m) for m in self._moving]
            )
            for moving, mean in zip(self._moving, means, strict=True):
                moving.assign(mean)

        self._strategy.run(replica)

    def chiefs_value(self, value):
        """Returns the chief's value, a float or None, in every process; all must call it."""
        number = chiefs_number(self._strategy, float("nan") if value is None else value)
        return None if math.isnan(number) else number

    def any_worker(self, *flags):
        """Says which flags are set in one of the processes; all must call it."""
        return any_worker(self._strategy, *flags)

    def audit(self, statistics=False):
        """Checks that replicas and processes hold the same weights, to the bit.

        Args:
            statistics: bool, True = the moving statistics too.

        Raises:
            AuditError: if replicas of this process do not.
            WorkersError: if another process does not.
        """
        audit_replicas(self.model, statistics)
        if worker(self._strategy)[1] > 1:
            weights = self.model.weights if statistics else self.model.trainable_variables
            digest = [self.step, *(zlib.crc32(weight.numpy().tobytes()) for weight in weights)]
            require_same(self._strategy, "weights or steps", digest)

    def averaged(self):
        """Returns a context with the moving average of the weights in their place, if any."""
        return averaged_weights(self._strategy, self.model, self._optimizer)

    def save(self):
        """Writes the full state; the previous one goes only when the new one is whole."""
        self.average_statistics()
        for name, variable in self._numbers.items():
            variable.assign(getattr(self, name))
        self._manager.save(checkpoint_number=self.step)

    def restore(self):
        """Loads the last full state, if there is one.

        Returns:
            bool, whether there was one.

        Raises:
            ResumeError: if it is damaged, or of another network.
        """
        path = tf.train.latest_checkpoint(str(self.folder / "last"))
        if path is None:
            return False
        try:
            self._checkpoint.restore(path).assert_consumed()
        except (tf.errors.OpError, AssertionError, IndexError, ValueError) as error:
            raise ResumeError(
                f"{path} cannot be restored ({type(error).__name__}): it is damaged or of "
                "another network. --resume=never trains anew."
            ) from None
        for name, variable in self._numbers.items():
            setattr(self, name, variable.numpy().item())
        return True

    def save_best(self):
        """Writes the weights alone as `best.weights.h5`; the file appears when it is whole."""
        if self.is_chief:
            with whole_file(self.folder / "best.weights.h5") as part:
                self.model.save_weights(part)
