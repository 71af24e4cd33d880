"""DFC2023 track 2 as downloaded.

Files, found by name wherever they lie, also in zip files: train/rgb/<name>.tif, train/height/ or
train/dsm/<name>.tif (metres above ground) and buildings_only_train.json with footprints as COCO
polygons or run-length codes: https://github.com/AICyberTeam/DFC2023-baseline and
https://github.com/ahmad-naghavi-ozu/DFC2023-annotation-issue. Names are
<satellite>_<city>_<latitude>_<longitude>; heights of the contest's validation and test images were
not given out. Images nearer to each other than `NEAR` are in one split.
"""

from functools import partial

from datasets.preparation.footprints import draw_footprints, read_footprints
from datasets.preparation.published import need, plan_scenes
from datasets.preparation.scenes import Scene
from datasets.preparation.sources import find_files, list_source
from datasets.preparation.splitting import near_groups, split_groups
from datasets.preparation.tiles import PrepareError
from datasets.rasters.reading import read_info

NAME = r"([^/]+)\.tif"
ADVICE = "They are in track2.zip."
NEAR = 1000.0  # metres between centres; an image is up to 410 m wide


def plan_dfc2023(options):
    """Plans the tiles of DFC2023 track 2.

    Args:
        options: has source, folder, tile, overlap, least_valid, binary, splits and seed.

    Returns:
        `datasets.preparation.running.Plan`.

    Raises:
        PrepareError, RasterError: if files are missing or do not fit.
        ValueError: if the shares of the splits are impossible.
    """
    files = list_source(options.source)
    photos = find_files(files, "train/rgb/" + NAME)
    heights = find_files(files, "train/(?:height|dsm)/" + NAME)
    need(heights, photos, "files of heights (train/height or train/dsm)", ADVICE)
    need(photos, heights, "photos (train/rgb)", ADVICE)
    lists = find_files(files, r"(buildings_only_train)\.json")
    need(lists, [], "lists of footprints (buildings_only_train.json)", ADVICE)
    footprints = read_footprints(next(iter(lists.values())))
    need(footprints, photos, "images in the list of footprints", ADVICE)
    groups = near_groups([place_of(name) for name in photos], NEAR)
    split_of = split_groups(groups, options.splits, options.seed)
    scenes = [
        Scene(
            name,
            split_of[group],
            photo.path,
            heights[name].path,
            partial(draw_part, footprints[name], photo.path),
        )
        for (name, photo), group in zip(photos.items(), groups, strict=True)
    ]
    return plan_scenes(scenes, options, "DFC2023")


def place_of(name):
    """Returns latitude and longitude, degrees, of a name such as SV_Berlin_52.5162_13.4212.

    Raises:
        PrepareError: if the name has none.
    """
    try:
        latitude, longitude = map(float, name.split("_")[-2:])
    except ValueError:
        raise PrepareError(
            f"{name} is no name of a training image, expected <satellite>_<city>_<latitude>_"
            "<longitude>, without which the splits cannot be drawn by place."
        ) from None
    return latitude, longitude


def draw_part(footprints, photo, row, column, rows, columns):
    """Returns the labels of a rectangle of an image: uint8 (rows, columns, 1)."""
    grid = read_info(photo).grid
    labels = draw_footprints(footprints, grid.rows, grid.columns)
    return labels[row : row + rows, column : column + columns]
