"""One run, one folder: a run holds its folders against other processes until it ends."""

import contextlib
from collections.abc import Callable, Iterator

from devices.workers import WorkersError, any_worker
from project.errors import UserError
from project.lease import Lease, held_folders, in_use, lease_files, refuse_held
from runs.folders import named_run
from training.stages.stage import StageRun


@contextlib.contextmanager
def exclusive_folders(run: StageRun) -> Iterator[Callable[[], None]]:
    """Lets the chief hold the folders of a run, so that no other run writes there.

    Yields:
        A function that raises LeaseError if they are not held any more.

    Raises:
        HeldError: in the chief, naming the process that holds one of them, or the run to resume.
        WorkersError: in the others.
    """
    with contextlib.ExitStack() as stack:
        leases: list[Lease] = []
        refusal: Exception | None = None
        if run.is_chief:
            try:
                leases = stack.enter_context(held_folders(run.folder, run.results))
                if earlier := named_run(run.settings, run.folder):
                    for path in lease_files(earlier):
                        refuse_held(path, in_use(earlier))
            except (UserError, OSError) as error:
                refusal = error
        if any_worker(run.strategy, refusal is not None)[0]:
            raise refusal or WorkersError(
                f"The chief cannot have {run.folder} and {run.results} for itself; its error says "
                "which process holds them."
            )

        def check() -> None:
            for lease in leases:
                lease.check()

        yield check
