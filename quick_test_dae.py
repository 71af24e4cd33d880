"""Smoke check of stage 2 (DAE): a few real training steps on the configured data.

Says whether the losses are finite and fall, whether gradients reach every variable and whether
the replicas agree; the exit status says it too. Writes nothing to checkpoint_dir.
"""

from settings.loading import load


def main(arguments=None):
    settings = load(__doc__, arguments)
    # TensorFlow comes in only now, so that a wrong setting is refused at once.
    from commands.quick_test import run_check

    run_check(settings, "dae")


if __name__ == "__main__":
    main()
