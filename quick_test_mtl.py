"""Tests stage 1 (MTL) with a few real training steps on the configured data.

Checks that the losses are finite and decrease, that gradients reach every variable, and that the
replicas agree. The exit status is 0 if all checks pass, otherwise 1. Writes nothing to
checkpoint_dir.
"""

import project.interrupts  # noqa: F401  first, so that Ctrl-C ends the imports in one line
from settings.loading import load


def main(arguments: list[str] | None = None) -> None:
    settings = load(__doc__, arguments)
    # TensorFlow is imported only after the settings are checked.
    from commands.quick_test import run_check

    run_check(settings, "mtl")


if __name__ == "__main__":
    main()
