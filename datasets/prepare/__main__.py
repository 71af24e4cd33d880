"""Brings rasters or downloaded data sets into the standard layout: docs/preparing.md."""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from datasets.prepare.dfc2018 import plan_dfc2018
from datasets.prepare.dfc2019 import plan_dfc2019
from datasets.prepare.dfc2023 import GSD, plan_dfc2023
from datasets.prepare.options import (
    band_numbers,
    check_file,
    codes,
    file_mark,
    pixels,
    positive,
    share,
    shares,
    tile_size,
    whole_number,
    yes_or_no,
)
from datasets.prepare.pair import Rasters, height_scale_of, plan_pair
from datasets.prepare.running import prepare
from datasets.prepare.tile_files import PrepareError
from datasets.prepare.vaihingen import plan_vaihingen
from datasets.rasters.reading import read_info


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message):
        """Ends the script with status 2."""
        self.exit(2, f"error: {message}. See {self.prog} --help.\n")


def main(arguments=None):
    """Runs the script; returns the exit status."""
    options = parse(arguments)
    try:
        plan = options.plan(options)
        with tqdm(total=len(plan.jobs), unit="tile", leave=False) as bar:
            summary = prepare(plan, progress=lambda done, total: bar.update())
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    print(f"{options.folder}\n{summary}")
    return 0


def parse(arguments):
    """Returns the options of the command line."""
    parser = Parser(prog="python -m datasets.prepare", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    add_pair(commands.add_parser("pair", help="any photo and heights", allow_abbrev=False))
    for name, (add_own, plan) in PUBLISHED.items():
        command = commands.add_parser(name, help="as downloaded", allow_abbrev=False)
        add(command, "source", type=Path, required=True, help="folder or zip file")
        add_own(command)
        command.set_defaults(plan=plan)
    return parser.parse_args(arguments)


def add(parser, name, **keywords):
    """Adds an option under its name with _ and with -."""
    spellings = dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"])
    parser.add_argument(*spellings, dest=name, **keywords)


def add_common(parser):
    """Adds the options that every command has."""
    add(parser, "folder", type=Path, required=True, help="of the prepared data set")
    add(parser, "overlap", type=share, default=0.0, help="share of a tile that the next repeats")
    add(parser, "least_valid", type=share, default=0.5, help="share of pixels with data")


def add_splits(parser):
    """Adds the options of splits that are not published."""
    add(parser, "splits", type=shares, default=(0.7, 0.15, 0.15), help="train,valid,test")
    add(parser, "seed", type=whole_number, default=0, help="of the splits")


def add_tile(parser, default):
    """Adds the option of cutting files that can stay whole."""
    text = "rows and columns, pixels, or whole: files as they are"
    add(parser, "tile", type=tile_size, default=default, help=f"{text}; default {default}")


def add_binary(parser):
    """Adds the option of the two-class variant."""
    add(parser, "binary", type=yes_or_no, default=False, help="true: building or not")


def add_vaihingen(parser):
    """Adds the options of the command vaihingen."""
    add_tile(parser, "whole")
    add_common(parser)
    add_binary(parser)


def add_dfc2018(parser):
    """Adds the options of the command dfc2018."""
    add(parser, "gsd", type=positive, default=0.5, help="metres per pixel; heights have 0.5")
    add_tile(parser, "whole")
    add_common(parser)
    add_binary(parser)


def add_dfc2019(parser):
    """Adds the options of the command dfc2019."""
    add_splits(parser)
    add_tile(parser, 512)
    add_common(parser)
    add_binary(parser)


def add_dfc2023(parser):
    """Adds the options of the command dfc2023."""
    add_splits(parser)
    add_tile(parser, "whole")
    add_common(parser)
    text = "photos to take: GF2 has 0.8 m, SV 0.5 m"
    add(parser, "satellite", choices=list(GSD), help=text)
    parser.set_defaults(binary=False)


def add_pair(parser):
    """Adds the options of the command pair."""
    add(parser, "image", required=True, help="orthophoto")
    add(parser, "surface", required=True, help="DSM, or heights above ground without terrain")
    add(parser, "terrain", help="DTM, taken off the surface")
    add(parser, "labels", help="class codes or colours")
    add(parser, "gsd", type=positive, help="metres per pixel; default: the photo's")
    add(parser, "bands", type=band_numbers, help="red,green,blue of the photo, such as 1,2,3")
    add(parser, "rgb_scale", type=positive, help="0-255 = stored x rgb_scale, for 16-bit photos")
    add(parser, "height_scale", type=positive, help="metres = stored x height_scale")
    add(parser, "height_nodata", type=float, help="stored height that means no data")
    add(parser, "building", type=codes, default=(), help="codes that become 1, all others 0")
    add(parser, "tile", type=pixels, default=512, help="rows and columns, pixels")
    add_splits(parser)
    add_common(parser)
    parser.set_defaults(plan=pair_plan)


def pair_plan(options):
    """Returns the plan of the command pair."""
    files = {name: getattr(options, name) for name in ("image", "surface", "terrain", "labels")}
    if options.building and not options.labels:
        raise PrepareError("building is given without labels. Give --labels, or leave it out.")
    for path in filter(None, files.values()):
        check_file(path)
    marks = {name: file_mark(path) for name, path in files.items() if path}
    heights = [path for path in (options.surface, options.terrain) if path]
    scale = height_scale_of(heights, options.height_scale)
    rasters = Rasters(
        **files,
        bands=options.bands,
        height_scale=scale,
        height_nodata=options.height_nodata,
        binary=options.building,
    )
    kept = "gsd bands rgb_scale tile overlap least_valid splits seed building".split()
    settings = {name: getattr(options, name) for name in kept}
    settings |= {"height_scale": scale, "height_nodata": options.height_nodata}
    return plan_pair(
        rasters, options.folder, {"command": "pair", **marks, **settings}, record(options), settings
    )


def record(options):
    """Returns the keys of dataset.toml that the options give."""
    sources = [options.image, options.surface, options.terrain, options.labels]
    names = ", ".join(Path(path).name for path in sources if path)
    keys = {"name": options.folder.resolve().name, "source": f"prepared from {names}"}
    if read_info(options.image).dtype == "uint16" and options.rgb_scale is None:
        raise PrepareError(
            f"{options.image} is 16-bit. Give --rgb_scale, so that stored x rgb_scale is 0-255: "
            "0.00390625 if it uses all 16 bits."
        )
    if options.rgb_scale:
        keys["rgb_scale"] = options.rgb_scale
    if options.building:
        keys["building_code"] = 1
        keys["classes"] = [{"code": 0, "name": "other"}, {"code": 1, "name": "building"}]
    return keys


# command: (function that adds its options, function that makes the plan of them)
PUBLISHED = {
    "vaihingen": (add_vaihingen, plan_vaihingen),
    "dfc2018": (add_dfc2018, plan_dfc2018),
    "dfc2019": (add_dfc2019, plan_dfc2019),
    "dfc2023": (add_dfc2023, plan_dfc2023),
}

if __name__ == "__main__":
    sys.exit(main())
