"""The progress bar of the checks, and the demo data that is made under one."""

import contextlib
from collections.abc import Callable, Iterator

from tqdm import tqdm

from datasets.demo.data_set import ensure_demo
from datasets.records.record import MADE_ON_DEMAND, TOML, Record


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a progress bar while it lasts; yields its function (done, total)."""
    with tqdm(desc=title, unit="tile", leave=False, dynamic_ncols=True, delay=1) as bar:

        def progress(done, total):
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def ensure_demo_data(dataset_name: str, record: Record) -> None:
    """Makes the demo data if that is the data set and its folder does not hold it yet.

    Raises:
        DataError: if the folder holds something else.
    """
    if dataset_name in MADE_ON_DEMAND and not (record.folder / TOML).is_file():
        with progress_bar("making the demo data") as progress:
            ensure_demo(record.folder, progress)
