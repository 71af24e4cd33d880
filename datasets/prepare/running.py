"""Writes the tiles of a data set: in parallel, resumable, with a summary."""

import json
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from datasets.prepare.record_file import write_record
from datasets.prepare.tile_files import Pixels, PrepareError, read_facts, tile_paths, write_tile
from datasets.records.record import SPLITS, TOML
from project.files import write_json

MARKER = "preparation.json"
VERSION = 2  # of the preparation; another one may give other tiles of the same files


@dataclass(frozen=True)
class Job:
    """One tile to prepare.

    Attributes:
        split: "train", "valid" or "test".
        name: stem of its files.
        read: function without arguments that returns its `Pixels`.
        has_labels: whether it gets a file in sem.
        has_radar: whether it gets a file in sar.
    """

    split: str
    name: str
    read: Callable[[], Pixels]
    has_labels: bool = False
    has_radar: bool = False


@dataclass(frozen=True)
class Plan:
    """A data set to prepare.

    Attributes:
        folder: where to.
        identity: what the tiles depend on, as JSON can hold it; a folder takes one such set only.
        jobs: `Job`s.
        record: keys of dataset.toml.
        least_valid: share of pixels with image and height that a tile must have.
        notes: texts for the summary.
    """

    folder: Path
    identity: dict
    jobs: list
    record: dict
    least_valid: float = 0.5
    notes: list = field(default_factory=list)


@dataclass
class Summary:
    """What was prepared.

    Attributes:
        tiles: split to number of tiles in the folder.
        kept: how many of them were there before.
        dropped: (split, name, valid share) of tiles with too little valid data.
        valid_share: mean over the tiles in the folder.
        lowest, highest: metres.
        codes: label codes found.
        notes: texts.
    """

    tiles: dict = field(default_factory=dict)
    kept: int = 0
    dropped: list = field(default_factory=list)
    valid_share: float = math.nan
    lowest: float = math.nan
    highest: float = math.nan
    codes: frozenset = frozenset()
    notes: list = field(default_factory=list)

    def __str__(self):
        total = sum(self.tiles.values())
        counts = ", ".join(f"{count} {split}" for split, count in self.tiles.items())
        lines = [f"{total} tiles: {counts} ({self.kept} were there before)"]
        if self.dropped:
            first = ", ".join(f"{s}/{n} ({share:.0%})" for s, n, share in self.dropped[:3])
            more = ", ..." if len(self.dropped) > 3 else ""
            lines.append(
                f"{len(self.dropped)} dropped for too little valid data, such as {first}{more}"
            )
        lines.append(f"valid pixels {self.valid_share:.1%}")
        lines.append(f"heights {self.lowest:.2f} to {self.highest:.2f} m")
        if self.codes:
            lines.append(f"label codes {', '.join(str(code) for code in sorted(self.codes))}")
        return "\n".join(lines + self.notes)


def prepare(plan, progress=None):
    """Writes every tile of a plan that is not there yet, then dataset.toml.

    A run that was stopped is continued by the same call. Nothing but the plan's folder is written.

    Args:
        plan: `Plan`.
        progress: function (tiles done, tiles in all), called after each tile; or None.

    Returns:
        `Summary`.

    Raises:
        PrepareError: if the folder holds something else or no tile has enough valid data.
        RasterError: if a file cannot be read or written.
    """
    claim_folder(plan.folder, {"version": VERSION, **plan.identity})
    results = _run(plan, progress)
    summary = _summary(plan, results)
    if not sum(summary.tiles.values()):
        raise PrepareError(
            f"none of {len(plan.jobs)} tiles has {plan.least_valid:.0%} of pixels with image and "
            f"height. Check the nodata values, or lower least_valid; remove {plan.folder} then."
        )
    if not write_record(plan.folder, plan.record, summary.codes):
        summary.notes.append(f"{plan.folder / TOML} was there before and is left as it is")
    return summary


def claim_folder(folder, identity):
    """Makes the folder with a note of what its tiles depend on, or checks the note in it.

    Args:
        folder: `Path`; its parents are made.
        identity: dict that JSON can hold.

    Raises:
        PrepareError: if the folder holds something else or was made with other settings.
    """
    marker = folder / MARKER
    if marker.is_file():
        _check_identity(marker, json.loads(json.dumps(identity)))
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PrepareError(
            f"{folder} exists and holds no {MARKER}, so it is not of an earlier run. Give a new or "
            "an empty folder."
        )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(marker, identity)


def _check_identity(marker, identity):
    """Raises PrepareError if a folder was made with other settings."""
    try:
        found = dict(json.loads(marker.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise PrepareError(f"{marker} is damaged ({error}). Remove {marker.parent}.") from None
    names = [name for name in {**identity, **found} if identity.get(name) != found.get(name)]
    if names:
        differences = [f"{n} {found.get(n)}, not {identity.get(n)}" for n in names]
        raise PrepareError(
            f"{marker.parent} was prepared with {'; '.join(differences)}. Repeat it with the same "
            "options and files, remove the folder, or give another one."
        )


def _run(plan, progress):
    """Returns (job, facts, was there before) of all jobs; a failure stops those not begun."""
    # Threads suffice: numpy and GDAL release Python's lock while they work.
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        results = []
        for result in pool.map(lambda job: _do(plan, job), plan.jobs):
            results.append(result)
            if progress:
                progress(len(results), len(plan.jobs))
        return results
    finally:
        pool.shutdown(cancel_futures=True)


def _do(plan, job):
    """Prepares one tile, unless all its files are there."""
    paths = tile_paths(plan.folder, job.split, job.name, job.has_labels, job.has_radar)
    if all(path.is_file() for path in paths.values()):
        return job, read_facts(paths), True
    pixels = job.read()
    share = pixels.valid_share
    if share == 0 or share < plan.least_valid:
        return job, share, False
    try:
        return job, write_tile(paths, pixels), False
    except PrepareError as error:
        raise PrepareError(f"{job.split}/{job.name}: {error}") from None


def _summary(plan, results):
    """Returns the `Summary` of the results of all jobs."""
    dropped = [(j.split, j.name, share) for j, share, _ in results if isinstance(share, float)]
    made = [(job, facts, old) for job, facts, old in results if not isinstance(facts, float)]
    facts = [entry for _, entry, _ in made]
    planned = {job.split for job in plan.jobs}
    tiles = {s: sum(job.split == s for job, _, _ in made) for s in SPLITS if s in planned}
    notes = [
        f"warning: the {split} split has no tile; another seed or other splits may help"
        for split, count in tiles.items()
        if not count
    ]
    return Summary(
        tiles,
        sum(old for _, _, old in made),
        dropped,
        sum(entry.valid_share for entry in facts) / max(1, len(facts)),
        min((entry.lowest for entry in facts), default=math.nan),
        max((entry.highest for entry in facts), default=math.nan),
        frozenset().union(*(entry.codes for entry in facts)),
        [*plan.notes, *notes],
    )
