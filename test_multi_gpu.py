"""Shows which devices, strategy and batch arithmetic the configuration gives, and tries them.

Batches are split and known sums reduced over the replicas. A tiny network takes the same steps on
one device and over the replicas, which must give the same losses and the same weights on all.
"""

from settings.loading import load


def main(arguments=None):
    settings = load(__doc__, arguments)
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    from commands.errors import clear_errors
    from devices.strategy import describe_devices, list_gpus
    from devices.table import device_table, memory_lines
    from devices.workers import find_cluster
    from runs.start import start_strategy
    from training.selfcheck import run_checks

    problems = []
    with clear_errors():
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
    print("The devices are not fit for training." if problems else "All as expected.")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
