"""What the project does with a file: each way in which a command reads it, on real files."""

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import config
import predict
from datasets.checks.tile_check import check_tiles
from datasets.checks.validation import list_problems, split_warnings
from datasets.demo.data_set import ensure_demo
from datasets.prepare.__main__ import make_parser
from datasets.prepare.footprints import draw_footprints, read_footprints
from datasets.prepare.pair import plan_pair
from datasets.prepare.preparation import claim_folder
from datasets.prepare.sources import SourceFile
from datasets.rasters.heights import height_units, read_heights, vertical_datum
from datasets.rasters.photos import Photo, file_state, open_photo, open_radar
from datasets.rasters.reading import (
    describe_projection,
    read_info,
    read_labels,
    read_window,
    sample_values,
)
from datasets.rasters.references import check_named_file, check_references
from datasets.records.record import Record, find_record
from datasets.tiles.folders import DataError, list_tiles
from evaluation.comparison import read_run
from project.errors import UserError
from runs.stored import adopt_stored_network, read_stored
from runs.trained_model import trained_record
from settings.loading import describe, identity, load
from settings.table import KINDS, TABLE
from tests.fuzz.damage import VALUES, WORDS
from tests.fuzz.seeds import RECORD, Seed, heights, labels, photo, write

CHECKED_PIXELS = 2**20  # larger rasters take long to check, which is no fault of theirs
PHOTO_COLUMNS = 2**22  # predict.py refuses wider photos for lack of memory

GOOD = {"rgb": photo(), "dsm": heights(), "sem": labels()}


class Workshop:
    """A data set "town" with one good tile, of which each input replaces a file."""

    def __init__(self, folder: Path):
        self.folder, self.town = folder, folder / "town"
        self.good = folder / "good"
        self.good.mkdir()
        for role, pixels in GOOD.items():
            write(self.good / f"{role}.tif", pixels)

    def use(self, seed: Seed, data: bytes, chance: random.Random) -> None:
        """Reads an input in every way that commands do.

        Args:
            seed: what was damaged.
            data: damaged content of the seed's target.
            chance: of settings.

        Raises:
            BaseException: the last reason if every way refuses it (`is_refusal`), else the first
                error that is no refusal.
        """
        self._lay_out(seed, data)
        path = self.town / "train" / seed.role / seed.path
        if seed.role in GOOD:
            check_references(path, self.town)
            ways = self._raster_ways(seed.role, path)
        else:
            ways = self._other_ways(seed, data, chance)
        refusals = []
        for way in ways:
            try:
                way()
                refusals.append(None)
            except (UserError, OSError, SystemExit) as error:
                if not is_refusal(error):
                    raise
                # Scripts print it: it must be possible to.
                str(error).encode()
                refusals.append(error)
        if all(refusals):
            raise refusals[-1]

    def _lay_out(self, seed: Seed, data: bytes) -> None:
        """Writes the files of an input, and the good ones beside them."""
        shutil.rmtree(self.town, ignore_errors=True)
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        for role in GOOD:
            place = self.town / "train" / role
            place.mkdir(parents=True)
            if role == seed.role:
                for name, content in (seed.files | {seed.target: data}).items():
                    (place / name).write_bytes(content)
            else:
                shutil.copy(self.good / f"{role}.tif", place / "a.tif")
        (self.town / "dataset.toml").write_text(RECORD)
        if seed.role not in GOOD and seed.path:
            for name, content in (seed.files | {seed.target: data}).items():
                (self.town / name).write_bytes(content)

    def _raster_ways(self, role: str, path: Path) -> Iterator[Callable[[], object]]:
        yield lambda: read_parts(path)
        yield lambda: self._prepare(role, path)
        if role != "sem":
            yield lambda: read_photo(open_photo(path))
            yield lambda: read_photo(open_photo(path, 0.5, gsd=1.0))
            yield lambda: read_photo(open_radar(path, read_info(path).grid))
        info = read_info(path)
        if info.grid.rows * info.grid.columns <= CHECKED_PIXELS:
            yield lambda: check(find_record("town", self.folder))

    def _prepare(self, role: str, path: Path, *options: str) -> None:
        """Plans the tiles of a pair as prepare does, and reads the first and the last of them."""
        files = {"rgb": "image", "dsm": "surface", "sem": "labels"}
        given = {files[r]: path if r == role else self.good / f"{r}.tif" for r in files}
        arguments = ["pair", f"--folder={self.folder / 'out'}", "--tile=16", "--splits=1,0,0"]
        arguments += options
        arguments += [f"--{name}={file}" for name, file in given.items()]
        plan = plan_pair(make_parser().parse_args(arguments))
        for job in (plan.jobs[0], plan.jobs[-1]):
            job.read()

    def _other_ways(
        self, seed: Seed, data: bytes, chance: random.Random
    ) -> Iterator[Callable[[], object]]:
        path = self.town / seed.path
        places = [f"--shortcut_path={self.folder}", "--dataset_name=town"]
        if seed.role == "record":
            yield lambda: check(find_record("town", self.folder))
            yield lambda: show(load("fuzz", places))
        elif seed.role == "vector":
            yield lambda: self._prepare("sem", path)
            yield lambda: self._prepare("sem", path, "--label_attribute=code")
        elif seed.role == "settings":
            (self.town / "best.weights.h5").touch()
            yield lambda: read_stored(self.town)
            arguments = ["a.tif", "out.tif", f"--model={self.town / 'best.weights.h5'}"]
            settings = load(predict.__doc__, arguments, predict.OPTIONS, trained_record)
            yield lambda: show(adopt_stored_network(settings))
        elif seed.role == "metrics":
            (self.town / "per_tile.csv").write_text("tile,valid_pixels,rmse\na,4,1.5\n")
            yield lambda: read_run("town", self.town)
        elif seed.role == "preparation":
            yield lambda: claim_folder(self.town, json.loads(seed.files[seed.path]))
        elif seed.role == "demo":
            yield lambda: ensure_demo(self.town)
        elif seed.role == "roofs":
            yield lambda: draw(SourceFile("roofs.json", str(path)))
        elif seed.role == "arguments":
            yield lambda: show(load("fuzz", [*places, *arguments_of(chance)]))
        elif seed.role == "config":
            yield lambda: with_config(chance, lambda: show(load("fuzz", places)))


def is_refusal(error: BaseException) -> bool:
    """Returns whether an error tells the user in the project's own words what to put right.

    These are UserErrors, the ends of option parsers, and OSErrors that the project raises, such as
    for a stage that has not been trained. Those of the system have a number, and no advice.
    """
    if isinstance(error, SystemExit):
        return error.code == 2
    return isinstance(error, UserError) or (isinstance(error, OSError) and error.errno is None)


def read_parts(path: Path) -> None:
    """Reads header and windows of a raster with every function that reads one."""
    check_named_file(path)
    info = read_info(path)
    grid = info.grid
    rows, columns = min(grid.rows, 64), min(grid.columns, 64)
    file_state(path)
    if grid.projection:
        describe_projection(grid.projection)
    read_window(path, 0, 0, rows, columns)
    last = (grid.rows - rows, grid.columns - columns, rows, columns)
    read_window(path, *last)
    sample_values(path)
    vertical_datum(path)
    read_labels(path, *last, [0])
    height_units(path)
    if info.bands == 1:
        read_heights(path, last)


def read_photo(photo: Photo) -> None:
    """Reads the first and the last rows of a photo."""
    grid = photo.grid
    if grid.columns > PHOTO_COLUMNS:
        return
    rows = min(grid.rows, max(1, 2**20 // grid.columns))
    photo.read(0, rows)
    photo.read(grid.rows - rows, rows)


def check(record: Record) -> None:
    """Checks the tiles of a data set as check_data.py does."""
    tiles = list_tiles(record, "train")
    reports = list(check_tiles(record, tiles, 32, statistics=True))
    if problems := list_problems(record, reports):
        raise DataError("\n".join(problems))
    split_warnings(record, "train", reports)


def draw(file: SourceFile) -> None:
    """Draws footprints."""
    for segmentations in read_footprints(file).values():
        draw_footprints(segmentations, 16, 16)


def show(settings) -> None:
    """Forms what a script prints of its settings and stores."""
    "\n".join(describe(settings)).encode()
    json.dumps(identity(settings))


def arguments_of(chance: random.Random) -> list[str]:
    """Returns settings, some with wrong values or forms, as a command line gives them."""
    words = [word.decode("utf-8", "surrogateescape") for word in WORDS]
    arguments = []
    for name in chance.sample(sorted(TABLE), chance.randrange(1, 6)):
        value, form = str(right_value(name, chance)), "--{}={}"
        if chance.random() < 0.2:
            value = chance.choice(words)
        if chance.random() < 0.05:
            form = chance.choice(("--{}", "{}={}", "-{}={}", "--{}x={}"))
        arguments.append(form.format(name, value))
    return arguments


def with_config(chance: random.Random, call: Callable[[], object]) -> None:
    """Calls a function while config.py has values of which some are wrong."""
    names = chance.sample(sorted(TABLE), chance.randrange(1, 6))
    before = {name: getattr(config, name) for name in names}
    try:
        for name in names:
            is_wrong = chance.random() < 0.2
            value = chance.choice((*VALUES, math.pi)) if is_wrong else right_value(name, chance)
            setattr(config, name, "" if value == "\ud800" else value)  # no text of a source file
        call()
    finally:
        for name, value in before.items():
            setattr(config, name, value)


def right_value(name: str, chance: random.Random) -> Any:
    """Returns a value of a setting's type, mostly within its limits."""
    setting, (kind, _) = TABLE[name], KINDS[name]
    if setting.choices:
        return chance.choice(setting.choices)
    numbers = {int: (1, 3, 32, 64, 10**6), float: (0.01, 0.5, 1.0), bool: (True, False)}
    return chance.choice((setting.default, *numbers.get(kind, ())))
