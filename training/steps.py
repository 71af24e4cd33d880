"""The training step: one and the same code for one device and for many."""

import tensorflow as tf

from datasets.targets import normal_targets
from models.dae import dae_input
from training.losses import regression_loss, semantic_loss
from training.optimizers import ReducedGradients


def mtl_losses(mtl, gsd, normal_coding, reg_loss="mse", huber_delta=1.0):
    """Makes the function that computes the losses of stage 1.

    Args:
        mtl: Keras model of `models.mtl.build_mtl`.
        gsd: float, metres per pixel.
        normal_coding: "unit" or "published".
        reg_loss: "mse", "mae" or "huber", of the height.
        huber_delta: float, metres.

    Returns:
        Function (batch of `datasets.pipeline.training_dataset`) -> dict of unweighted losses,
        each (batch,): `height_loss`, and as the network has them `semantic_loss`, `normal_loss`.
    """

    def losses(batch):
        outputs = mtl(batch["image"], training=True)
        heights, valid = batch["heights"], batch["valid"]
        result = {
            "height_loss": regression_loss(
                heights, outputs["heights"], valid, reg_loss, huber_delta
            )
        }
        if "semantics" in outputs:
            result["semantic_loss"] = semantic_loss(batch["classes"], outputs["semantics"])
        if "normals" in outputs:
            normals = normal_targets(heights, gsd, normal_coding)
            known = valid & tf.reduce_all(tf.math.is_finite(normals), axis=-1, keepdims=True)
            result["normal_loss"] = regression_loss(normals, outputs["normals"], known)
        return result

    return losses


def dae_losses(mtl, dae, reg_loss="mse", huber_delta=1.0):
    """Makes the function that computes the loss of stage 2 on top of the frozen stage 1.

    Args:
        mtl: Keras model of stage 1; runs in inference mode and is not trained.
        dae: Keras model of stage 2.
        reg_loss: "mse", "mae" or "huber", of the corrected height.
        huber_delta: float, metres.

    Returns:
        Function (batch) -> dict with `height_loss`, (batch,).
    """

    def losses(batch):
        outputs = mtl(batch["image"], training=False)
        features = tf.stop_gradient(dae_input(batch["image"], outputs))
        corrected = outputs["heights"] - dae(features, training=True)
        loss = regression_loss(batch["heights"], corrected, batch["valid"], reg_loss, huber_delta)
        return {"height_loss": loss}

    return losses


def make_train_step(
    strategy, model, optimizer, losses, loss_weights, global_batch_size, clip_norm=0.0
):
    """Builds the compiled training step.

    Args:
        strategy: `tf.distribute.Strategy`; the default strategy for one device.
        model: Keras model to train, built under `strategy.scope()`.
        optimizer: of `training.optimizers`, built under `strategy.scope()`.
        losses: function (batch) -> dict of name to unweighted loss, (batch,).
        loss_weights: dict of name to float.
        global_batch_size: int, examples per step over all replicas.
        clip_norm: float, largest global norm of the gradient of the whole batch (Pascanu,
            Mikolov, Bengio, ICML 2013); 0 = any.

    Returns:
        Function (distributed batch) -> dict of scalars: the mean over the global batch of each
        loss, `loss`, their weighted sum, and `gradient_norm` before clipping. The batch must
        come from `strategy.experimental_distribute_dataset`, which splits it.

    Raises:
        TypeError: if the optimizer would sum the gradients over the replicas once more.
    """
    if not isinstance(optimizer, ReducedGradients):
        raise TypeError(
            f"The optimizer is a {type(optimizer).__name__}, expected one of training.optimizers: "
            "this step sums the gradients over the replicas itself."
        )
    variables = model.trainable_variables

    def replica_step(batch):
        with tf.GradientTape() as tape:
            # Divide by the global batch: the sums over replicas follow.
            means = {
                name: tf.reduce_sum(value) / global_batch_size
                for name, value in losses(batch).items()
            }
            means["loss"] = tf.add_n([loss_weights[name] * mean for name, mean in means.items()])
        gradients = sum_over_replicas(tape.gradient(means["loss"], variables))
        norm = tf.linalg.global_norm(gradients)
        if clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, clip_norm, use_norm=norm)
        optimizer.apply(gradients, variables)
        return means, norm

    @tf.function
    def train_step(batch):
        means, norm = strategy.run(replica_step, args=(batch,))
        result = {
            name: strategy.reduce(tf.distribute.ReduceOp.SUM, mean, axis=None)
            for name, mean in means.items()
        }
        return result | {"gradient_norm": strategy.experimental_local_results(norm)[0]}

    return train_step


def sum_over_replicas(tensors):
    """Returns the sums over all replicas of each tensor of a list, in one collective operation."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)
