"""The audit of a run over replicas: stops training that would silently compute something else."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from datasets.tiles.samples import Batch
from project.errors import UserError
from training.optimizers import ReducedGradients
from training.steps import CompiledStep


class AuditError(UserError):
    """The replicas do not train one and the same network."""


def audit_construction(
    strategy: tf.distribute.Strategy, model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> None:
    """Checks that network and optimizer were built for the replicas of a strategy.

    Variables created outside `strategy.scope()` train wrongly without any error: the replicas
    share one value, or their weights drift apart.

    Args:
        strategy: one device needs no audit.
        model: built.
        optimizer: of `training.optimizers.make_optimizer`.

    Raises:
        AuditError: naming what was built elsewhere.
    """
    if strategy.num_replicas_in_sync == 1:
        return
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    built_under = getattr(inner, "_distribution_strategy", None)
    if not isinstance(inner, ReducedGradients):
        raise AuditError(
            f"The optimizer is a {type(inner).__name__}, expected one of training.optimizers: it "
            "would sum over the replicas gradients that are summed already."
        )
    if built_under is not strategy:
        raise AuditError(
            f"The optimizer belongs to a {type(built_under).__name__}, not to the "
            f"{type(strategy).__name__} that trains: the replicas' weights would drift apart. "
            "Build it under strategy.scope()."
        )
    _require_mirrored(strategy, "network", model.weights)
    _require_mirrored(strategy, "optimizer", optimizer.variables)


def _require_mirrored(
    strategy: tf.distribute.Strategy, owner: str, variables: Sequence[keras.Variable]
) -> None:
    created_here = strategy.extended.variable_created_in_scope
    foreign = [variable.path for variable in variables if not created_here(variable.value)]
    if foreign:
        raise AuditError(
            f"{len(foreign)} of {len(variables)} variables of the {owner} are not mirrored over "
            f"the {strategy.num_replicas_in_sync} replicas: {_few(foreign)}. Build the {owner} "
            "under strategy.scope()."
        )


def audit_replicas(model: keras.Model, statistics: bool = False) -> None:
    """Checks that all replicas hold the same weights, to the bit; NaN equals NaN.

    Equal weights, gradients summed over the replicas and one optimizer keep them equal. Of
    several machines, each compares the replicas that it holds itself.

    Args:
        model: of all replicas.
        statistics: True = the moving statistics too, which agree after
            `training.checkpoints.RunState.average_statistics`.

    Raises:
        AuditError: naming the variables that differ, and by how much.
    """
    variables = model.weights if statistics else model.trainable_variables
    apart = [variable for variable in variables if not replicas_agree(variable)]
    if apart:
        raise AuditError(
            f"The replicas disagree on {len(apart)} of {len(variables)} variables: "
            f"{_few([variable.path for variable in apart])}; {apart[0].path} differs by up to "
            f"{_spread(apart[0]):.3g}. Equal steps keep them equal, so a device or a transfer "
            "between devices is at fault: run test_multi_gpu.py, try NCCL_P2P_DISABLE=1, and GPUs "
            "of one model."
        )


def replicas_agree(variable: keras.Variable) -> bool:
    """Returns whether the replicas hold the same values of a Keras variable."""
    first, *others = _copies(variable)
    if not others:
        return True
    first = first.numpy()
    return all(np.array_equal(first, other.numpy(), equal_nan=True) for other in others)


def _copies(variable: keras.Variable) -> tuple:
    """Returns the copies of a variable on this machine's replicas."""
    return getattr(variable.value, "values", (variable.value,))


def _spread(variable: keras.Variable) -> float:
    copies = np.stack([copy.numpy() for copy in _copies(variable)]).astype("float64")
    return float(np.max(np.ptp(copies, axis=0)))


def _few(names: list[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


KINDS = ("CollectiveReduce", "CollectiveGather", "CollectiveBcast", "NcclAllReduce")


def count_collectives(step: CompiledStep, batch: Batch, replicas: int) -> float:
    """Counts the collective operations of one step, from its graph.

    A reduction to one device holds none: it copies and adds.

    Args:
        step: of `training.steps.make_train_step`.
        batch: distributed.
        replicas: of this process.

    Returns:
        Operations per replica; those within a loop count once.
    """
    graph = step.get_concrete_function(batch).graph.as_graph_def()
    functions = (node for function in graph.library.function for node in function.node_def)
    nodes = [*graph.node, *functions]
    return sum(node.op.startswith(KINDS) for node in nodes) / replicas
