"""How many collective operations a compiled step holds."""

KINDS = ("CollectiveReduce", "CollectiveGather", "CollectiveBcast", "NcclAllReduce")


def count_collectives(step, batch, replicas):
    """Counts the collective operations of one step, from its graph.

    A reduction to one device holds none: it copies and adds.

    Args:
        step: function of `training.steps.make_train_step`.
        batch: distributed batch.
        replicas: int, replicas of this process.

    Returns:
        float, operations per replica; those within a loop count once.
    """
    graph = step.get_concrete_function(batch).graph.as_graph_def()
    functions = (node for function in graph.library.function for node in function.node_def)
    nodes = [*graph.node, *functions]
    return sum(node.op.startswith(KINDS) for node in nodes) / replicas
