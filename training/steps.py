"""The training step: one and the same code for one device and for many."""

from dataclasses import dataclass

import tensorflow as tf

from datasets.crops.targets import cast_batch, normal_targets
from models.dae import dae_input
from models.dropout import samples_from
from models.mtl import COARSE_HEIGHTS
from models.segments import recomputation
from training.losses import coarse_heights, regression_loss, semantic_loss
from training.optimizers import ReducedGradients


@dataclass(frozen=True)
class LossOptions:
    """How the errors of heights and classes are measured.

    Attributes:
        reg_loss: "mse", "mae" or "huber", of the height.
        huber_delta: float, metres.
        class_weights: tuple of the weight of each class; None = 1 each.
        label_smoothing: float, share of the truth that is spread evenly over the classes.
    """

    reg_loss: str = "mse"
    huber_delta: float = 1.0
    class_weights: tuple | None = None
    label_smoothing: float = 0.0


def mtl_losses(mtl, gsd, normal_coding, options=LossOptions(), recompute=False):
    """Makes the function that computes the losses of stage 1.

    Args:
        mtl: Keras model of `models.mtl.build_mtl`.
        gsd: float, metres per pixel.
        normal_coding: "unit" or "published".
        options: `LossOptions`.
        recompute: bool, True = features within a segment of the network are computed again for
            the gradient instead of being kept.

    Returns:
        Function (batch of `datasets.crops.pipeline.training_dataset`) -> dict of unweighted losses,
        each (batch,): `height_loss`, and as the network has them `semantic_loss`, `normal_loss`,
        `deep_height_loss` (mean over the coarser stages).
    """

    def height_loss(heights, predicted, valid):
        return regression_loss(heights, predicted, valid, options.reg_loss, options.huber_delta)

    def losses(batch):
        batch = cast_batch(batch)
        with samples_from(batch["sample"][0]), recomputation(recompute):
            outputs = mtl(batch["image"], training=True)
        heights, valid = batch["heights"], batch["valid"]
        result = {"height_loss": height_loss(heights, outputs["heights"], valid)}
        coarse = [name for name in COARSE_HEIGHTS if name in outputs]
        if coarse:
            by_stage = []
            for name in coarse:
                factor = heights.shape[1] // outputs[name].shape[1]
                truth, known = coarse_heights(heights, valid, factor)
                by_stage.append(height_loss(truth, outputs[name], known))
            result["deep_height_loss"] = tf.add_n(by_stage) / len(coarse)
        if "semantics" in outputs:
            result["semantic_loss"] = semantic_loss(
                batch["classes"],
                outputs["semantics"],
                options.class_weights,
                options.label_smoothing,
            )
        if "normals" in outputs:
            normals = normal_targets(heights, gsd * batch["gsd_factor"], normal_coding)
            known = valid & tf.reduce_all(tf.math.is_finite(normals), axis=-1, keepdims=True)
            result["normal_loss"] = regression_loss(normals, outputs["normals"], known)
        return result

    return losses


def dae_losses(mtl, dae, options=LossOptions(), recompute=False):
    """Makes the function that computes the loss of stage 2 on top of the frozen stage 1.

    Args:
        mtl: Keras model of stage 1; runs in inference mode and is not trained.
        dae: Keras model of stage 2.
        options: `LossOptions`, of the corrected height; the classes' take no part.
        recompute: bool, as for `mtl_losses`.

    Returns:
        Function (batch) -> dict with `height_loss`, (batch,).
    """

    def losses(batch):
        batch = cast_batch(batch)
        outputs = mtl(batch["image"], training=False)
        features = tf.stop_gradient(dae_input(batch["image"], outputs))
        with samples_from(batch["sample"][0]), recomputation(recompute):
            corrected = outputs["heights"] - dae(features, training=True)
        heights, valid = batch["heights"], batch["valid"]
        loss = regression_loss(heights, corrected, valid, options.reg_loss, options.huber_delta)
        return {"height_loss": loss}

    return losses


@dataclass(frozen=True)
class StepOptions:
    """The arithmetic of one optimizer step.

    Attributes:
        global_batch_size: int, examples per step: crops per replica and part x replicas x parts.
        clip_norm: float, largest global norm of the gradient of the whole batch (Pascanu,
            Mikolov, Bengio, ICML 2013); 0 = any.
        parts: int, into how many each replica divides its examples, to take one after another
            and accumulate their gradients.
        pack_bytes: int, bytes that are summed over the replicas at a time; 0 = all together.
        unroll: bool, True = the parts stand in the graph one by one. A loop is smaller, but
            cannot hold the collective operations of synchronised batch normalisation.
    """

    global_batch_size: int
    clip_norm: float = 0.0
    parts: int = 1
    pack_bytes: int = 0
    unroll: bool = False


def make_train_step(strategy, model, optimizer, losses, loss_weights, options, variables=None):
    """Builds the compiled training step.

    Args:
        strategy: `tf.distribute.Strategy`; the default strategy for one device.
        model: Keras model to train, built under `strategy.scope()`.
        optimizer: of `training.optimizers.make_optimizer`, built under `strategy.scope()`.
        losses: function (batch) -> dict of name to unweighted loss, (batch,).
        loss_weights: dict of the same names to float.
        options: `StepOptions`.
        variables: those of the model's trainable variables that are trained; None = all.

    Returns:
        Function (distributed batch) -> dict of scalars: the mean over the global batch of each
        loss, `loss`, their weighted sum, `gradient_norm` before clipping, and with loss scaling
        `loss_scale`. Each replica must get its own part of the batch, from a distributed dataset;
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
    names = tuple(loss_weights)
    variables = model.trainable_variables if variables is None else variables

    def part_step(batch):
        """Returns the gradients, then the losses, of the examples at hand, in a list."""
        with tf.GradientTape() as tape:
            # Divide by the global batch: the sums over parts and replicas follow.
            parts = losses(batch)
            means = [tf.reduce_sum(parts[name]) / options.global_batch_size for name in names]
            total = tf.add_n([loss_weights[n] * mean for n, mean in zip(names, means, strict=True)])
            scaled = optimizer.scale_loss(total)
        unconnected = tf.UnconnectedGradients.ZERO
        gradients = tape.gradient(scaled, variables, unconnected_gradients=unconnected)
        return [*gradients, tf.stack([*means, total])]

    def replica_step(batch):
        shapes = [*(variable.shape for variable in variables), [len(names) + 1]]
        sums = add_up_parts(part_step, batch, shapes, options)
        *gradients, means = sum_over_replicas(sums, options.pack_bytes)
        scale = loss_scale(optimizer)
        norm = tf.linalg.global_norm(gradients) / scale
        if options.clip_norm:
            # Not tf.clip_by_global_norm, whose norm would be that of the scaled gradient.
            factor = options.clip_norm / tf.maximum(norm, options.clip_norm)
            gradients = [factor * gradient for gradient in gradients]
        optimizer.apply(gradients, variables)
        row = dict(zip((*names, "loss"), tf.unstack(means), strict=True)) | {"gradient_norm": norm}
        return row if inner is optimizer else row | {"loss_scale": scale}

    @tf.function
    def train_step(batch):
        rows = strategy.run(replica_step, args=(batch,))
        # Summed over the replicas already, together with the gradients: alike on all.
        return {name: strategy.experimental_local_results(row)[0] for name, row in rows.items()}

    return train_step


def add_up_parts(part_step, batch, shapes, options):
    """Runs `part_step` on each part of a replica's batch and adds up what it returns.

    Args:
        part_step: function (part of the batch) -> list of float32 tensors.
        batch: dict of tensors (examples, ...).
        shapes: of what `part_step` returns.
        options: `StepOptions`.

    Returns:
        list of tensors of `shapes`.
    """
    if options.parts == 1:
        return part_step(batch)
    size = options.parts
    parts = {name: tf.reshape(v, [size, -1, *v.shape[1:]]) for name, v in batch.items()}

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


def sum_over_replicas(tensors, pack_bytes=0):
    """Sums each tensor of a list over all replicas.

    Args:
        tensors: list of tensors.
        pack_bytes: int, size of what one collective operation takes; 0 = one takes all.

    Returns:
        list of the sums, the same on all replicas.
    """
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        # Nothing to sum. Besides, TensorFlow 2.21 would tie the tensors together, take that for
        # the order of reading and updating a variable, and then untie them.
        return tensors
    options = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=pack_bytes)
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors, options)


def loss_scale(optimizer):
    """Returns by how much the optimizer scales the loss: 1 without loss scaling."""
    return tf.convert_to_tensor(getattr(optimizer, "dynamic_scale", 1.0))
