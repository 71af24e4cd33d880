"""One optimizer step: the same code for one device, several GPUs and several machines.

What happens in one step, on every replica at the same time:

1. `MtlLosses` or `DaeLosses`: forward pass, and a loss for each example;
2. `TrainStep.part_gradients`: division by the global batch, weighted sum, gradient;
3. `add_up_parts`: 1 and 2 for several parts of the batch, if gradients are accumulated;
4. `sum_over_replicas`: the one collective operation of a step;
5. `StepGuard.accepts`: whether the step is taken, or left out;
6. `TrainStep.replica_step`: all of these, with clipping and the update.

Loss and gradient are those of the whole global batch, whatever the number of replicas.
`make_train_step` compiles the step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import keras
import tensorflow as tf

from datasets.crops.targets import cast_batch, normal_targets
from datasets.tiles.samples import Batch
from models.dae import dae_input
from models.dropout import samples_from
from models.mtl import COARSE_HEIGHTS
from models.normalisation import moving_statistics
from models.segments import recomputation
from training.losses import coarse_heights, regression_loss, semantic_loss
from training.optimizers import ReducedGradients, step_guard

Losses = Callable[[Batch], dict[str, tf.Tensor]]  # batch -> unweighted losses, each (batch,)


class CompiledStep(Protocol):
    """A training step that `tf.function` has compiled."""

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Takes the step."""

    def get_concrete_function(self, batch: Batch) -> tf.types.experimental.ConcreteFunction:
        """Returns the graph of the step."""

    @property
    def python_function(self) -> Callable:
        """The step before its compilation."""


@dataclass(frozen=True)
class LossOptions:
    """How the errors of heights and classes are measured.

    Attributes:
        reg_loss: "mse", "mae" or "huber", of the height.
        huber_delta: metres.
        class_weights: the weight of each class; None = 1 each.
        label_smoothing: share of the truth that is spread evenly over the classes.
    """

    reg_loss: str = "mse"
    huber_delta: float = 1.0
    class_weights: tuple | None = None
    label_smoothing: float = 0.0

    def height_loss(self, heights: tf.Tensor, predicted: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        """Returns `regression_loss` of heights, (batch,)."""
        return regression_loss(heights, predicted, valid, self.reg_loss, self.huber_delta)


@dataclass(frozen=True)
class MtlLosses:
    """Computes the losses of stage 1: call it with a batch.

    Attributes:
        mtl: model of `models.mtl.build_mtl`.
        gsd: metres per pixel.
        normal_coding: "unit" or "published".
        options: `LossOptions`.
        recompute: True = features within a segment of the network are computed again for the
            gradient instead of being kept.
    """

    mtl: keras.Model
    gsd: float
    normal_coding: str
    options: LossOptions = LossOptions()
    recompute: bool = False

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Returns the unweighted losses, each (batch,).

        Args:
            batch: of `datasets.crops.pipeline.training_dataset`.

        Returns:
            `height_loss`, and as the network has them `semantic_loss`, `normal_loss`,
            `deep_height_loss` (mean over the coarser stages).
        """
        batch = cast_batch(batch)
        # Dropout draws its mask from the sample's number in the stream: a sample has the same mask
        # on every replica and after a resumption. Keras' own would draw one mask for all replicas.
        # When features are recomputed, the same numbers give the same masks once more, and the
        # moving statistics of batch normalisation are updated in the first pass only.
        with samples_from(batch["sample"][0]), recomputation(self.recompute):
            outputs = self.mtl(batch["image"], training=True)
        heights, valid, options = batch["heights"], batch["valid"], self.options
        result = {"height_loss": options.height_loss(heights, outputs["heights"], valid)}
        coarse = [outputs[name] for name in COARSE_HEIGHTS if name in outputs]
        if coarse:
            by_stage = [self._coarse_loss(heights, valid, predicted) for predicted in coarse]
            result["deep_height_loss"] = tf.add_n(by_stage) / len(coarse)
        if "semantics" in outputs:
            result["semantic_loss"] = semantic_loss(
                batch["classes"],
                outputs["semantics"],
                options.class_weights,
                options.label_smoothing,
            )
        if "normals" in outputs:
            # A crop that was zoomed has pixels of another size, and its slopes are of that size.
            gsd = self.gsd * batch["gsd_factor"]
            normals = normal_targets(heights, gsd, self.normal_coding)
            known = valid & tf.reduce_all(tf.math.is_finite(normals), axis=-1, keepdims=True)
            result["normal_loss"] = regression_loss(normals, outputs["normals"], known)
        return result

    def _coarse_loss(self, heights: tf.Tensor, valid: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
        """Returns the height loss of a prediction of fewer pixels, (batch,)."""
        factor = heights.shape[1] // predicted.shape[1]
        truth, known = coarse_heights(heights, valid, factor)
        return self.options.height_loss(truth, predicted, known)


@dataclass(frozen=True)
class DaeLosses:
    """Computes the loss of stage 2 on top of the frozen stage 1: call it with a batch.

    Attributes:
        mtl: model of stage 1; runs in inference mode and is not trained.
        dae: model of stage 2.
        options: of the corrected height; those of the classes take no part.
        recompute: as of `MtlLosses`.
    """

    mtl: keras.Model
    dae: keras.Model
    options: LossOptions = LossOptions()
    recompute: bool = False

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Returns `height_loss`, (batch,), of the corrected heights."""
        batch = cast_batch(batch)
        outputs = self.mtl(batch["image"], training=False)
        features = tf.stop_gradient(dae_input(batch["image"], outputs))
        with samples_from(batch["sample"][0]), recomputation(self.recompute):
            corrected = outputs["heights"] - self.dae(features, training=True)
        loss = self.options.height_loss(batch["heights"], corrected, batch["valid"])
        return {"height_loss": loss}


@dataclass(frozen=True)
class StepOptions:
    """The arithmetic of one optimizer step.

    Attributes:
        global_batch_size: examples per step: crops per replica and part x replicas x parts.
        clip_norm: largest global norm of the gradient of the whole batch (Pascanu, Mikolov,
            Bengio, ICML 2013); 0 = any.
        parts: into how many each replica divides its examples, to take one after another and
            accumulate their gradients.
        pack_bytes: bytes that are summed over the replicas at a time; 0 = all together.
        unroll: True = the parts stand in the graph one by one. A loop is smaller, but cannot
            hold the collective operations of synchronised batch normalisation.
    """

    global_batch_size: int
    clip_norm: float = 0.0
    parts: int = 1
    pack_bytes: int = 0
    unroll: bool = False


def add_up_parts(
    part_step: Callable[[Batch], list[tf.Tensor]],
    batch: Batch,
    shapes: Sequence,
    options: StepOptions,
) -> list[tf.Tensor]:
    """Runs `part_step` on each part of a replica's batch and adds up what it returns.

    So a replica takes a batch that its memory could not hold at once. The update follows once,
    after all parts.

    Args:
        part_step: part of the batch -> float32 tensors.
        batch: tensors (examples, ...) by name.
        shapes: of what `part_step` returns.
        options: `StepOptions`.

    Returns:
        The sums, of `shapes`.
    """
    if options.parts == 1:
        return part_step(batch)
    size, tensors = options.parts, cast(dict[str, tf.Tensor], batch)
    parts = {name: tf.reshape(v, [size, -1, *v.shape[1:]]) for name, v in tensors.items()}

    def add(number, totals):
        values = part_step({name: value[number] for name, value in parts.items()})
        return number + 1, [total + value for total, value in zip(totals, values, strict=True)]

    state = (0, [tf.zeros(shape) for shape in shapes])
    if options.unroll:
        for _ in range(size):
            # One part after another, so that the memory is that of one.
            with tf.control_dependencies(state[1]):
                state = add(*state)
        return state[1]
    return tf.while_loop(lambda number, _: number < size, add, state)[1]


def sum_over_replicas(tensors: list[tf.Tensor], pack_bytes: int = 0) -> list[tf.Tensor]:
    """Sums each tensor of a list over all replicas.

    Args:
        tensors: of one replica.
        pack_bytes: size of what one collective operation takes; 0 = one takes all.

    Returns:
        The sums, the same on all replicas.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        # Nothing to sum. Besides, TensorFlow 2.21 would tie the tensors together, take that for
        # the order of reading and updating a variable, and then untie them.
        return tensors
    options = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=pack_bytes)
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors, options)


def loss_scale(optimizer: keras.optimizers.Optimizer) -> tf.Tensor:
    """Returns by how much the optimizer scales the loss: 1 without loss scaling."""
    return tf.convert_to_tensor(getattr(optimizer, "dynamic_scale", 1.0))


@dataclass(frozen=True, eq=False)
class TrainStep:
    """The step of `make_train_step`; attributes as its arguments.

    Attributes:
        beside: what a step changes beside what its optimizer trains: moving statistics, and the
            loss scale.
    """

    strategy: tf.distribute.Strategy
    optimizer: keras.optimizers.Optimizer
    losses: Losses
    loss_weights: dict[str, float]
    options: StepOptions
    variables: Sequence[keras.Variable]
    beside: Sequence[keras.Variable]

    def part_gradients(self, batch: Batch) -> list[tf.Tensor]:
        """Returns the gradients and then the losses of the given examples, in a list.

        Each example's loss is divided by the size of the global batch, not by the number of
        examples here. So the sum over parts and replicas is the mean over the global batch; a mean
        here and a mean of means later would weigh examples by where they are computed.
        """
        names = tuple(self.loss_weights)
        with tf.GradientTape() as tape:
            losses = self.losses(batch)
            means = [tf.reduce_sum(losses[name]) / self.options.global_batch_size for name in names]
            weighted = [self.loss_weights[n] * mean for n, mean in zip(names, means, strict=True)]
            total = tf.add_n(weighted)
            # float16 cannot hold small gradients; the optimizer divides by the scale again.
            scaled = self.optimizer.scale_loss(total)
        # A head whose output no loss uses has no gradient: zeros leave it as it is.
        unconnected = tf.UnconnectedGradients.ZERO
        variables = [variable.value for variable in self.variables]
        gradients = tape.gradient(scaled, variables, unconnected_gradients=unconnected)
        return [*gradients, tf.stack([*means, total])]

    def replica_step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Does one replica's share of the step and returns the figures of the whole batch."""
        names = (*self.loss_weights, "loss")
        shapes = [*(variable.shape for variable in self.variables), [len(names)]]
        before = [tf.identity(variable) for variable in self.beside]
        sums = add_up_parts(self.part_gradients, batch, shapes, self.options)
        # Gradients and losses travel together: one collective operation for each step. Keras'
        # optimizer would need one for every variable, and clip before it sums.
        *gradients, means = sum_over_replicas(sums, self.options.pack_bytes)
        # From here on all replicas hold the same numbers and do the same with them.
        scale = loss_scale(self.optimizer)
        norm = tf.linalg.global_norm(gradients) / scale
        if self.options.clip_norm:
            # Not tf.clip_by_global_norm, whose norm would be that of the scaled gradient.
            factor = self.options.clip_norm / tf.maximum(norm, self.options.clip_norm)
            gradients = [factor * gradient for gradient in gradients]
        is_scaled = hasattr(self.optimizer, "inner_optimizer")
        row = dict(zip(names, tf.unstack(means), strict=True)) | {"gradient_norm": norm}
        row |= {"loss_scale": scale} if is_scaled else {}
        guard = step_guard(self.optimizer)
        row |= {"gradient_norm_median": guard.median()} if guard.spike else {}
        accepted = guard.accepts(row["loss"], norm, is_scaled)
        # The optimizer's own sum over the replicas is off (`ReducedGradients`). With loss scaling
        # it leaves out a step whose gradient overflows, on all replicas, as all see the same.
        self.optimizer.apply(gradients, self.variables)
        tf.cond(accepted, lambda: None, lambda: self.undo(before))
        return row | {"left_out": 1.0 - tf.cast(accepted, tf.float32)}

    def undo(self, before: list[tf.Tensor]) -> None:
        """Gives the variables `beside` the values that they had before the step."""
        for variable, value in zip(self.beside, before, strict=True):
            variable.assign(value)

    def over_replicas(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Takes the step on all replicas; returns the figures of the whole global batch.

        The batch must come from a distributed dataset. `strategy.run` hands a plain tensor whole
        to every replica: each would compute the whole batch, and N replicas would bring no speed
        and an N times larger gradient.
        """
        rows = self.strategy.run(self.replica_step, args=(batch,))
        # Summed over the replicas already, together with the gradients: the same on all.
        return {
            name: self.strategy.experimental_local_results(row)[0] for name, row in rows.items()
        }


def make_train_step(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    losses: Losses,
    loss_weights: dict[str, float],
    options: StepOptions,
    variables: Sequence[keras.Variable] | None = None,
) -> CompiledStep:
    """Builds the compiled training step.

    Args:
        strategy: the default strategy for one device.
        model: to train, built under `strategy.scope()`.
        optimizer: of `training.optimizers.make_optimizer`, built under `strategy.scope()`.
        losses: such as `MtlLosses`.
        loss_weights: weight of each loss, by its name.
        options: `StepOptions`.
        variables: those of the model's trainable variables that are trained; None = all.

    Returns:
        Function (distributed batch) -> scalars by name: the mean over the global batch of each
        loss, `loss`, their weighted sum, `gradient_norm` before clipping, `left_out` (1 = the step
        has changed nothing, see `training.optimizers.StepGuard`; else 0), with loss scaling
        `loss_scale`, and with a limit of spikes `gradient_norm_median`, of the steps before. Each
        replica must get its own part of the batch, from a distributed dataset;
        `datasets.crops.pipeline.feeding_order` gives it its examples of each part.

    Raises:
        TypeError: if the optimizer would sum the gradients over the replicas once more.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(inner, ReducedGradients):
        raise TypeError(
            f"The optimizer is a {type(inner).__name__}, expected one of training.optimizers: "
            "this step sums the gradients over the replicas itself."
        )
    variables = model.trainable_variables if variables is None else variables
    scale = [] if inner is optimizer else [optimizer.dynamic_scale, optimizer.step_counter]
    beside = moving_statistics(model) + scale
    step = TrainStep(strategy, optimizer, losses, loss_weights, options, variables, beside)
    return tf.function(step.over_replicas)
