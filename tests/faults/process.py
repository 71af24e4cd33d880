"""Scripts in processes of their own, to which real signals are sent.

A script is forked from this process, which has imported TensorFlow: that takes longer than the
training itself. TensorFlow must not have been used here, because its threads do not survive a fork.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FORK = multiprocessing.get_context("fork")
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def import_scripts() -> None:
    """Imports what the training scripts import, and starts nothing."""
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}  # faster if it is small
    import devices.quiet_tensorflow  # noqa: F401  first, so that it silences what follows

    # isort: split
    import prediction.predictor  # noqa: F401
    import training.stages.run  # noqa: F401


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function that uses TensorFlow in a process of its own; returns its result."""
    ours, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=lambda: theirs.send(function(*arguments)))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise RuntimeError(f"{function.__name__} failed; its traceback is above") from None
    finally:
        process.join()


class Script:
    """A root script in one process."""

    def __init__(self, command: list[str], log: Path, kill_before_rename: int = 0):
        """Starts it.

        Args:
            command: path of the script, and its arguments.
            log: file to which its output is added.
            kill_before_rename: the process sends itself SIGKILL before it renames a file or folder
                for the so manieth time; 0 = never.
        """
        arguments = (command, log, kill_before_rename)
        self._process = FORK.Process(target=_become, args=arguments, daemon=True)
        self._process.start()

    def poll(self) -> int | None:
        """Returns the exit status, as a shell gives it; None as long as the process runs."""
        code = self._process.exitcode
        return 128 - code if code is not None and code < 0 else code

    def processes(self) -> list[int]:
        """Returns the ids of the processes that train."""
        return [self._process.pid]

    def end(self) -> None:
        """Ends what may still run."""
        self._process.kill()
        self._process.join()


def _become(command: list[str], log: Path, kill_before_rename: int) -> None:
    """Turns a process that was just forked into that of a script."""
    os.setsid()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # The scripts set these anew, beginning from what a shell gives them.
    sys.modules.pop("project.interrupts", None)
    sys.excepthook = sys.__excepthook__
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    if kill_before_rename:
        sys.addaudithook(_killing_hook(kill_before_rename))
    sys.argv = command
    try:
        runpy.run_path(command[0], run_name="__main__")
    except SystemExit:
        raise
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.exit(1)


def _killing_hook(number: int) -> Callable[[str, tuple], None]:
    """Returns a hook that kills the process before it renames something for the n-th time.

    Python calls it before it does so (https://docs.python.org/3/library/audit_events.html), also
    for `os.replace`; what TensorFlow renames itself does not count.
    """
    left = number

    def hook(event: str, arguments: tuple) -> None:
        nonlocal left
        if event != "os.rename":
            return
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


class Workers:
    """A root script as the workers of a cluster, by run_multi_worker.sh."""

    def __init__(self, count: int, command: list[str], log: Path):
        """Starts them; the output of workers other than the chief lies beside the log."""
        script = [str(ROOT / "run_multi_worker.sh"), str(count), sys.executable, *command]
        with log.open("ab") as file:
            self._script = subprocess.Popen(
                script, cwd=log.parent, stdout=file, stderr=file, start_new_session=True
            )

    def poll(self) -> int | None:
        """Returns the exit status, as a shell gives it; None as long as the script runs."""
        code = self._script.poll()
        return 128 - code if code is not None and code < 0 else code

    def processes(self) -> list[int]:
        """Returns the ids of the processes that train, the chief's first."""
        command = ["pgrep", "-P", str(self._script.pid), "python"]
        found = subprocess.run(command, capture_output=True, text=True)
        return sorted(map(int, found.stdout.split()))

    def end(self) -> None:
        """Ends what may still run."""
        if self.poll() is None:
            os.killpg(self._script.pid, signal.SIGKILL)
            self._script.wait()
