"""Prepares rasters or downloaded data sets in the standard layout: docs/preparing.md."""

import project.interrupts  # noqa: F401  first, so that Ctrl-C ends the imports in one line

# isort: split
import argparse
import contextlib
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from datasets.prepare.dfc2018_files import plan_dfc2018
from datasets.prepare.dfc2019_files import plan_dfc2019
from datasets.prepare.dfc2023_files import GSD, plan_dfc2023
from datasets.prepare.pair import plan_pair
from datasets.prepare.preparation import check_folder, write_data_set
from datasets.prepare.vaihingen_files import plan_vaihingen
from project.errors import UserError


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        """Ends the script with status 2."""
        self.exit(2, f"error: {message}. See {self.prog} --help.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the script; returns the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        check_folder(options.folder)  # planning may take minutes
        plan = options.plan(options)
        with tqdm(total=len(plan.jobs), unit="tile", leave=False) as bar:
            summary = write_data_set(plan, progress=lambda done, total: bar.update())
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue", file=sys.stderr)
        return 130
    print(f"{options.folder}\n{summary}")
    return 0


def make_parser() -> Parser:
    """Returns the parser of the command line, with the options of every command."""
    parser = Parser(prog="python -m datasets.prepare", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, (plan, text, options) in COMMANDS.items():
        subparser = commands.add_parser(command, help=text, allow_abbrev=False)
        for name, keywords in options.items():
            spellings = dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"])
            subparser.add_argument(*spellings, dest=name, **keywords)
        subparser.set_defaults(plan=plan, binary=False)
    return parser


def reader(
    convert: Callable[[str], object], fits: Callable[..., bool], expected: str
) -> Callable[[str], object]:
    """Returns a function that reads the text of an option.

    Args:
        convert: turns the text into a value; raises ValueError if it cannot.
        fits: whether the value is one of those expected.
        expected: what is expected, for the error.
    """

    def read(text: str) -> object:
        with contextlib.suppress(ValueError):
            value = convert(text)
            if fits(value):
                return value
        raise argparse.ArgumentTypeError(f"{text} is not {expected}")

    return read


def numbers(kind: type) -> Callable[[str], tuple]:
    """Returns a function that reads numbers with commas between them, such as 1,2,3."""
    return lambda text: tuple(kind(part) for part in text.split(","))


def label_code(text: str) -> int | tuple[int, ...]:
    """Reads a label code: a number such as 6, or a colour such as 0_0_255."""
    parts = tuple(int(part) for part in text.split("_"))
    return parts[0] if len(parts) == 1 else parts


pixels = reader(int, lambda value: value >= 1, "a whole number above 0")
positive = reader(float, lambda value: 0 < value < math.inf, "a number above 0")
share = reader(float, lambda value: 0 <= value < 1, "a share from 0 up to 1 (not included)")
whole_number = reader(int, lambda value: value >= 0, "a whole number from 0 up")
shares = reader(numbers(float), lambda value: len(value) == 3, "three shares: train,valid,test")
limits = reader(
    numbers(float), lambda pair: len(pair) == 2 and pair[0] < pair[1], "two numbers: lowest,highest"
)
bands = reader(numbers(int), lambda value: len(value) == 3, "three bands: red,green,blue")
codes = reader(
    lambda text: tuple(label_code(part) for part in text.split(",")),
    lambda value: all(isinstance(code, int) or len(code) == 3 for code in value),
    "codes such as 6,17 or 0_0_255",
)
tile_size = reader(
    lambda text: None if text == "whole" else int(text),
    lambda value: value is None or value >= 1,
    'a whole number above 0, or "whole"',
)
true_or_false = reader(
    lambda text: {"true": True, "false": False}.get(text.lower()),
    lambda value: value is not None,
    "true or false",
)


def tile_option(default: int | str) -> dict[str, dict]:
    """Returns the option of cutting published files, which can also stay whole."""
    text = f'rows and columns, pixels, or "whole": files as they are; default {default}'
    return {"tile": {"type": tile_size, "default": default, "help": text}}


# Options by name, in the order of --help: arguments of `argparse.ArgumentParser.add_argument`.
SOURCE = {"source": {"type": Path, "required": True, "help": "folder or zip file of the download"}}
COMMON = {
    "folder": {"type": Path, "required": True, "help": "data set to write"},
    "overlap": {"type": share, "default": 0.0, "help": "share of a tile that the next repeats"},
    "least_valid": {
        "type": share,
        "default": 0.5,
        "help": "share of pixels with image and height that a tile must have",
    },
}
SPLIT_OPTIONS = {
    "splits": {
        "type": shares,
        "default": (0.7, 0.15, 0.15),
        "help": "shares of train,valid,test",
    },
    "seed": {"type": whole_number, "default": 0, "help": "of the splits"},
}
BINARY = {"binary": {"type": true_or_false, "help": "true: two classes, building or not"}}
PAIR = {
    "image": {"required": True, "help": "orthophoto"},
    "surface": {"required": True, "help": "DSM, or heights above ground without --terrain"},
    "terrain": {"help": "DTM, subtracted from the surface"},
    "labels": {"help": "class codes or colours, or polygons (GeoJSON, GeoPackage, Shapefile)"},
    "label_layer": {"help": "layer of polygons in --labels; default: the only one"},
    "label_attribute": {"help": "attribute of the polygons with codes; default: all are buildings"},
    "gsd": {"type": positive, "help": "metres per pixel; default: the photo's"},
    "bands": {"type": bands, "help": "red,green,blue of the photo, such as 1,2,3"},
    "rgb_scale": {"type": positive, "help": "0-255 = stored x rgb_scale, for 16-bit photos"},
    "height_scale": {"type": positive, "help": "metres = stored x height_scale"},
    "height_nodata": {"type": float, "help": "stored height that means nodata"},
    "height_limits": {
        "type": limits,
        "help": "lowest,highest metres above ground; heights beyond are nodata, not an error",
    },
    "building": {"type": codes, "default": (), "help": "codes that become 1, all others 0"},
    "tile": {"type": pixels, "default": 512, "help": "rows and columns, pixels"},
}
# Of each command: the function that plans the tiles, its help and its options.
COMMANDS = {
    "pair": (plan_pair, "any photo and heights", PAIR | SPLIT_OPTIONS | COMMON),
    "vaihingen": (plan_vaihingen, "as downloaded", SOURCE | tile_option("whole") | COMMON | BINARY),
    "dfc2018": (
        plan_dfc2018,
        "as downloaded",
        SOURCE
        | {"gsd": {"type": positive, "default": 0.5, "help": "metres per pixel; heights have 0.5"}}
        | tile_option("whole")
        | COMMON
        | BINARY,
    ),
    "dfc2019": (
        plan_dfc2019,
        "as downloaded",
        SOURCE | SPLIT_OPTIONS | tile_option(512) | COMMON | BINARY,
    ),
    "dfc2023": (
        plan_dfc2023,
        "as downloaded",
        SOURCE
        | SPLIT_OPTIONS
        | tile_option("whole")
        | COMMON
        | {"satellite": {"choices": list(GSD), "help": "photos to take: GF2 0.8 m, SV 0.5 m"}},
    ),
}

if __name__ == "__main__":
    sys.exit(main())
