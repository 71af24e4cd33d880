"""Writes a prepared data set: its tiles, in parallel and resumable, its record and a summary."""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from datasets.prepare.tile_files import (
    PrepareError,
    TileFacts,
    TilePixels,
    read_facts,
    tile_paths,
    write_tile,
)
from datasets.records.record import SPLITS, TOML
from project.files import check_writable, has_content, read_json, write_bytes, write_json

MARKER = "preparation.json"
VERSION = 3  # of the preparation: raise it when the same files give other tiles
STRIDE = 32  # pixels, of the encoder: crops are multiples of it
USUAL_CROP = 256  # pixels, where a record says nothing

HEAD = """\
# Record of a prepared data set; docs/data.md explains the keys. Classes named class_<code> wait for
# their names; ignore_codes takes codes that are neither learned nor scored, building_code the code
# of buildings for the building metrics.
"""


@dataclass(frozen=True)
class Job:
    """One tile to prepare.

    Attributes:
        split: "train", "valid" or "test".
        name: stem of its files.
        read: returns its pixels.
        has_labels: whether it gets a file in sem.
        has_radar: whether it gets a file in sar.
    """

    split: str
    name: str
    read: Callable[[], TilePixels]
    has_labels: bool = False
    has_radar: bool = False


@dataclass(frozen=True)
class PreparationPlan:
    """A data set to prepare.

    Attributes:
        folder: the data set to write.
        identity: what the tiles depend on, as JSON can hold it; all tiles of a folder share it.
        jobs: the tiles.
        record: keys of dataset.toml.
        least_valid: share of pixels with image and height that a tile must have.
        notes: texts for the summary.
    """

    folder: Path
    identity: dict[str, object]
    jobs: Sequence[Job]
    record: dict[str, object]
    least_valid: float = 0.5
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class JobResult:
    """What became of a job.

    Attributes:
        job: the tile.
        facts: what it holds; of a dropped tile only the valid share is known.
        state: "written", "kept" (its files were there before) or "dropped" (too little data).
    """

    job: Job
    facts: TileFacts
    state: str


@dataclass(frozen=True)
class Summary:
    """What was prepared.

    Attributes:
        tiles: split to number of tiles in the folder.
        kept: how many of them were there before.
        dropped: tiles with too little valid data, as texts.
        facts: of all tiles in the folder; the valid share is their mean.
        notes: texts.
    """

    tiles: dict[str, int]
    kept: int
    dropped: Sequence[str]
    facts: TileFacts
    notes: Sequence[str]

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {split}" for split, count in self.tiles.items())
        lines = [f"{sum(self.tiles.values())} tiles: {counts} ({self.kept} were there before)"]
        if self.dropped:
            some = ", ".join(self.dropped[:3]) + (", ..." if len(self.dropped) > 3 else "")
            lines.append(f"{len(self.dropped)} dropped for too little valid data, such as {some}")
        lines += [
            f"valid pixels {self.facts.valid_share:.1%}",
            f"heights {self.facts.lowest:.2f} to {self.facts.highest:.2f} m",
        ]
        if self.facts.codes:
            lines.append(f"label codes {', '.join(str(code) for code in sorted(self.facts.codes))}")
        return "\n".join([*lines, *self.notes])


def write_data_set(
    plan: PreparationPlan, progress: Callable[[int, int], object] | None = None
) -> Summary:
    """Writes every tile of a plan that is not there yet, then dataset.toml.

    The same call continues a run that was stopped. It writes to the plan's folder only.

    Args:
        plan: the data set.
        progress: function (tiles done, tiles in all), called after each tile.

    Returns:
        What the folder holds now.

    Raises:
        PrepareError: if the folder holds something else or no tile has enough valid data.
        RasterError: if a file cannot be read or written.
    """
    claim_folder(plan.folder, {"version": VERSION, **plan.identity})
    results = _run(plan, progress)
    made = [result for result in results if result.state != "dropped"]
    if not made:
        raise PrepareError(
            f"none of {len(plan.jobs)} tiles has {plan.least_valid:.0%} of pixels with image and "
            f"height. Check the nodata values or lower least_valid, and remove {plan.folder}."
        )
    planned = {job.split for job in plan.jobs}
    tiles = {s: sum(r.job.split == s for r in made) for s in SPLITS if s in planned}
    notes = [
        *plan.notes,
        *(
            f"warning: the {split} split has no tile; another seed or other splits may help"
            for split, count in tiles.items()
            if not count
        ),
        *_missing_codes(made, plan.record),
    ]
    facts = _joint_facts([result.facts for result in made])
    if not write_record(plan.folder, plan.record, facts.codes):
        notes.append(f"{plan.folder / TOML} was there before and is left as it is")
    dropped = [
        f"{result.job.split}/{result.job.name} ({result.facts.valid_share:.0%})"
        for result in results
        if result.state == "dropped"
    ]
    kept = sum(result.state == "kept" for result in results)
    return Summary(tiles, kept, dropped, facts, notes)


def claim_folder(folder: Path, identity: dict[str, object]) -> None:
    """Makes the folder with a note of what its tiles depend on, or checks the note in it.

    Args:
        folder: the data set; its parents are made.
        identity: what JSON can hold.

    Raises:
        PrepareError: if the folder holds something else or was made with other settings.
    """
    check_folder(folder)
    marker = folder / MARKER
    if marker.is_file():
        _check_identity(marker, json.loads(json.dumps(identity)))
    else:
        write_json(marker, identity)


def check_folder(folder: Path) -> None:
    """Checks that a folder is new, empty or of an earlier run; it is quick.

    Raises:
        UserError: if the folder holds something else, or cannot be written.
    """
    check_writable(folder)
    if has_content(folder) and not (folder / MARKER).is_file():
        raise PrepareError(
            f"{folder} exists and holds no {MARKER}, so it is not of an earlier run. Give a new or "
            "an empty folder."
        )


def _check_identity(marker: Path, identity: dict[str, object]) -> None:
    """Raises PrepareError if a folder was made with other settings."""
    try:
        found = read_json(marker)
    except ValueError as error:
        raise PrepareError(f"{marker} is damaged ({error}). Remove {marker.parent}.") from None
    names = [name for name in {**identity, **found} if identity.get(name) != found.get(name)]
    if names:
        shown = "; ".join(f"{n} {found.get(n)}, not {identity.get(n)}" for n in names)
        raise PrepareError(
            f"{marker.parent} was prepared with {shown}. Use the same options and files as before, "
            "remove the folder, or give another one."
        )


def _run(plan: PreparationPlan, progress: Callable[[int, int], object] | None) -> list[JobResult]:
    """Does all jobs; a failure cancels those that have not begun, as `Executor.map` does."""
    results = []
    # Threads are enough: NumPy and GDAL release Python's lock while they work.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(lambda job: _do(plan, job), plan.jobs):
            results.append(result)
            if progress:
                progress(len(results), len(plan.jobs))
    return results


def _do(plan: PreparationPlan, job: Job) -> JobResult:
    """Prepares one tile, unless all its files are there."""
    paths = tile_paths(plan.folder, job.split, job.name, job.has_labels, job.has_radar)
    if all(path.is_file() for path in paths.values()):
        return JobResult(job, read_facts(paths), "kept")
    try:
        pixels = job.read()
        share = pixels.valid_share
        if share == 0 or share < plan.least_valid:
            return JobResult(job, TileFacts(share), "dropped")
        return JobResult(job, write_tile(paths, pixels), "written")
    except PrepareError as error:
        raise PrepareError(f"{job.split}/{job.name}: {error}") from None


def _joint_facts(facts: Sequence[TileFacts]) -> TileFacts:
    """Returns what several tiles hold together, with the mean of their valid shares."""
    return TileFacts(
        sum(tile.valid_share for tile in facts) / len(facts),
        min(tile.lowest for tile in facts),
        max(tile.highest for tile in facts),
        frozenset().union(*(tile.codes for tile in facts)),
    )


def _missing_codes(results: Sequence[JobResult], record: dict) -> list[str]:
    """Returns a warning for each split that has labels, but not all codes that others have."""
    splits: dict[str, set] = {}
    for result in results:
        if result.job.has_labels:
            splits.setdefault(result.job.split, set()).update(result.facts.codes)
    expected = {one["code"] for one in record.get("classes", [])}.union(*splits.values())
    return [
        f"warning: the {split} split has no pixel of label code "
        f"{', '.join(map(str, sorted(expected - codes)))}; another seed or other splits may help"
        for split, codes in splits.items()
        if expected - codes
    ]


def write_record(folder: Path, keys: dict[str, object], codes: frozenset) -> bool:
    """Writes the dataset.toml, unless there is one: the user may have changed it.

    Args:
        folder: the data set.
        keys: texts, numbers or lists by key, with "classes" or "like" among them if the classes
            are known.
        codes: label codes found; they become classes named class_<code> if none are known.

    Returns:
        Whether it was written.
    """
    path = folder / TOML
    if path.exists():
        return False
    if codes and not {"classes", "like"} & set(keys):
        keys = {**keys, "classes": [_class(code) for code in sorted(codes)]}
    write_bytes(path, (HEAD + record_text(keys)).encode())
    return True


def fitting_crop(tile: int | None, usual: int = USUAL_CROP) -> dict[str, int]:
    """Returns the key crop_size for tiles that are smaller than the usual crop, else no key.

    Args:
        tile: rows and columns of the tiles, pixels, or None for whole files.
        usual: crop size without that key, pixels.
    """
    if tile is None or tile >= usual:
        return {}
    return {"crop_size": max(1, tile // STRIDE) * STRIDE}


def record_text(keys: dict[str, object]) -> str:
    """Returns keys as TOML, tables last.

    Args:
        keys: texts, numbers, true or false, lists of them, or lists of dicts (an array of tables).
    """
    plain, tables = [], []
    for key, value in keys.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            tables += [f"\n[[{key}]]\n{record_text(item)}" for item in value]
        else:
            # JSON and TOML write texts, numbers and lists alike.
            plain.append(f"{key} = {json.dumps(value, ensure_ascii=False)}\n")
    return "".join(plain + tables)


def _class(code: int | tuple[int, int, int]) -> dict[str, object]:
    """Returns the keys of a class of which only the code is known."""
    parts = code if isinstance(code, tuple) else (code,)
    return {"code": code, "name": "class_" + "_".join(str(part) for part in parts)}
