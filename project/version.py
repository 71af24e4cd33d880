"""The version of the project, and of the checkout that runs."""

import contextlib
import subprocess
from pathlib import Path

VERSION = "0.1.0"
SOFTWARE = "DSMNet"  # begins the tag of what this project writes
ROOT = Path(__file__).parents[1]


def checkout() -> str:
    """Returns the version and, in a git checkout, what git calls it: "0.1.0 (71a477fd5d9e-dirty)".

    "-dirty" stands for files that were changed since the commit.
    """
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    if (ROOT / ".git").exists():  # git would look further up, into the repository of others
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            return f"{VERSION} ({run.stdout.strip()})"
    return VERSION
