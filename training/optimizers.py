"""Optimizers for `training.steps`, which sums the gradients over the replicas itself."""

import keras


class ReducedGradients:
    """Makes a Keras optimizer take gradients that are already summed over the replicas.

    Keras would clip, and look for overflow, before it sums: each replica by its own part of the
    batch, and so each differently. The hook is private; tests/test_optimizers.py pins it.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return list(grads_and_vars)


class Adam(ReducedGradients, keras.optimizers.Adam):
    """Adam (Kingma and Ba, ICLR 2015) on gradients summed over the replicas."""


class SGD(ReducedGradients, keras.optimizers.SGD):
    """Gradient descent on gradients summed over the replicas; the tests' optimizer."""


def make_optimizer(model, learning_rate):
    """Makes Adam with its slots built; call it under the strategy's scope.

    An optimizer whose variables are made lazily inside `strategy.run` fails.

    Args:
        model: built Keras model.
        learning_rate: float or schedule.

    Returns:
        `Adam`.
    """
    optimizer = Adam(learning_rate)
    optimizer.build(model.trainable_variables)
    return optimizer
