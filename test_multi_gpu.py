"""Shows the devices, strategy and batch arithmetic of the configuration, and tests them.

It splits batches and sums known numbers over the replicas. It trains a tiny network for a few steps
on one device and over the replicas: the losses must agree, and so must the weights of all replicas.
"""

from collections.abc import Sequence

import project.interrupts  # noqa: F401  first, so that Ctrl-C ends the imports in one line
from settings.loading import load


def main(arguments: Sequence[str] | None = None) -> None:
    settings = load(__doc__, arguments)
    # TensorFlow takes seconds to import; a wrong setting is reported before.
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows
    from commands.errors import clear_errors
    from devices.gpus import device_table, memory_lines
    from devices.strategy import describe_devices, list_gpus
    from devices.workers import find_cluster
    from runs.start import start_strategy
    from training.selfcheck import run_checks

    problems = []
    with clear_errors(settings, "mtl"):
        strategy = start_strategy(settings, find_cluster())
        print(f"GPUs that TensorFlow sees: {', '.join(list_gpus()) or 'none'}")
        print("\n".join(device_table()))
        print(f"Used: {describe_devices(strategy)}")
        sizes = {"MTL": settings.batch_size, "DAE": settings.dae_batch_size}
        for finding in run_checks(strategy, sizes, settings.gradient_accumulation_steps):
            print(finding.line, flush=True)
            problems += [finding.problem] if finding.problem else []
        print("\n".join(memory_lines()))
    for problem in problems:
        print(f"FAILED: {problem}")
    print("These devices cannot be used for training." if problems else "All as expected.")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
