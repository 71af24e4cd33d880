"""Shows which devices, strategy and batch arithmetic the configuration gives, and tries them.

A known sum is reduced over the replicas, one batch is split over them, and a tiny network takes
one training step, after which all replicas must hold the same weights.
"""

import settings as settings_module


def split_sizes(strategy, global_batch_size):
    """Returns the number of examples that each replica gets of one global batch."""
    import tensorflow as tf

    dataset = tf.data.Dataset.range(global_batch_size).batch(global_batch_size)
    batch = next(iter(strategy.experimental_distribute_dataset(dataset)))
    return [len(part) for part in strategy.experimental_local_results(batch)]


def reduced_sum(strategy):
    """Returns the sum over the replicas of 1, 2, ..., N, computed by the strategy."""
    import tensorflow as tf

    @tf.function
    def reduce():
        def number():
            context = tf.distribute.get_replica_context()
            own = tf.cast(context.replica_id_in_sync_group, tf.float32) + 1.0
            return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

        return strategy.run(number)

    return [float(value) for value in strategy.experimental_local_results(reduce())]


def replicated_step(strategy):
    """Takes one step of a tiny network; returns (loss, whether the replicas' weights agree)."""
    import numpy as np
    import tensorflow as tf

    from models.mtl import NetworkOptions, build_mtl
    from smoke import replicas_agree
    from training.optimizers import make_optimizer
    from training.steps import make_train_step, mtl_losses

    size = strategy.num_replicas_in_sync
    generator = np.random.default_rng(0)
    heights = generator.uniform(0, 9, (size, 32, 32, 1)).astype("float32")
    batch = {
        "image": generator.uniform(0, 255, (size, 32, 32, 3)).astype("float32"),
        "sample": np.arange(size),
        "heights": heights,
        "valid": np.isfinite(heights),
    }
    dataset = tf.data.Dataset.from_tensor_slices(batch).batch(size)
    with strategy.scope():
        model = build_mtl(NetworkOptions("tiny", decoder_width=0.02), normals=False)
        optimizer = make_optimizer(model, 1e-3)
    losses = mtl_losses(model, 0.5, "unit")
    step = make_train_step(strategy, model, optimizer, losses, {"height_loss": 1.0}, size)
    loss = float(step(next(iter(strategy.experimental_distribute_dataset(dataset))))["loss"])
    return loss, all(replicas_agree(v.value) for v in model.trainable_variables)


def main(arguments=None):
    settings = settings_module.load(__doc__, arguments)
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    import runs
    from training.devices import describe_devices, list_gpus

    with runs.clear_errors():
        strategy = runs.start_strategy(settings)
        replicas = strategy.num_replicas_in_sync
        print(f"GPUs that TensorFlow sees: {', '.join(list_gpus()) or 'none'}")
        print(f"Used: {describe_devices(strategy)}")
        problems = []
        for stage, size in (("MTL", settings.batch_size), ("DAE", settings.dae_batch_size)):
            total = size * replicas
            sizes = split_sizes(strategy, total)
            print(f"{stage}: {size} examples x {replicas} replicas = {total} per step; got {sizes}")
            if sizes != [size] * replicas:
                problems.append(f"a batch of {total} is split into {sizes}")
        expected = replicas * (replicas + 1) / 2
        sums = reduced_sum(strategy)
        print(f"Sum of 1 to {replicas} over the replicas: {sums}, expected {expected} on each")
        if sums != [expected] * replicas:
            problems.append("the reduction over the replicas is wrong")
        loss, agree = replicated_step(strategy)
        print(f"One step of a tiny network: loss {loss:.4g}; weights agree: {agree}")
        if not agree:
            problems.append("the replicas hold different weights after one step")
    print("FAILED: " + "; ".join(problems) if problems else "All as expected.")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
