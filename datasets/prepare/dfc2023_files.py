"""DFC2023 track 2 as downloaded.

Files, found by name wherever they lie, also in zip files: train/rgb/<name>.tif, train/height/ or
train/dsm/<name>.tif (metres above ground), buildings_only_train.json with footprints as COCO
polygons or run-length codes, and train/sar/<name>.tif, radar images on the photos' pixels, which
may be missing: https://github.com/AICyberTeam/DFC2023-baseline and
https://github.com/ahmad-naghavi-ozu/DFC2023-annotation-issue. Names are
<satellite>_<city>_<latitude>_<longitude>; the heights of the contest's validation and test images
were not published. Images nearer to each other than `NEAR` are in one split.
"""

import argparse
from collections import Counter
from functools import partial

import numpy as np

from datasets.prepare.footprints import Segmentation, draw_footprints, read_footprints
from datasets.prepare.preparation import PreparationPlan
from datasets.prepare.published import PublishedImage, plan_images
from datasets.prepare.sources import SourceFile, check_rasters, find_files, list_source, need
from datasets.prepare.splitting import near_groups, split_groups
from datasets.prepare.tile_files import PrepareError
from datasets.rasters.reading import read_info

NAME = r"([^/]+)\.tif"
ADVICE = "They are in track2.zip."
GSD = {"GF2": 0.8, "SV": 0.5}  # metres per pixel of each satellite
NEAR = 1000.0  # metres between centres; an image is up to 410 m wide


def plan_dfc2023(options: argparse.Namespace) -> PreparationPlan:
    """Plans the tiles of DFC2023 track 2.

    Args:
        options: has source, folder, tile, overlap, least_valid, binary, splits, seed
            and satellite.

    Raises:
        PrepareError, RasterError: if files are missing or do not fit, or the shares of the splits
            are impossible.
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
    radar = find_files(files, "train/sar/" + NAME)
    if radar:
        need(radar, photos, "radar images (train/sar)", f"{ADVICE[:-1]}; or leave all out.")
    used = check_rasters(options.source, photos, heights, lists, radar)
    photos, gsd = photos_of_one_satellite(photos, options.satellite)
    groups = near_groups([latitude_longitude(name) for name in photos], NEAR)
    split_of = split_groups(groups, options.splits, options.seed)
    images = [
        PublishedImage(
            name,
            split_of[group],
            photo.path,
            heights[name].path,
            partial(draw_part, footprints[name], photo.path),
            radar=radar[name].path if radar else None,
        )
        for (name, photo), group in zip(photos.items(), groups, strict=True)
    ]
    return plan_images(images, options, "DFC2023", used, gsd=gsd)


def photos_of_one_satellite(
    photos: dict[str, SourceFile], wanted: str | None
) -> tuple[dict[str, SourceFile], float]:
    """Chooses the photos of one satellite, since a data set has one gsd.

    Args:
        photos: by names that begin with the satellite.
        wanted: "GF2" or "SV"; None = the only one that there is.

    Returns:
        The photos of that satellite, and their metres per pixel.

    Raises:
        PrepareError: if a name is of no known satellite, or photos of several remain, or none.
    """
    of = {name: name.split("_")[0].upper() for name in photos}
    unknown = [name for name, satellite in of.items() if satellite not in GSD]
    if unknown:
        raise PrepareError(
            f"{unknown[0]} does not name a known satellite, expected a name that begins with "
            f"{' or '.join(f'{satellite}_' for satellite in GSD)}. Leave the file out."
        )
    counts = Counter(of.values())
    found = ", ".join(f"{counts[name]} of {name} ({gsd} m)" for name, gsd in GSD.items())
    if wanted is None and len(counts) > 1:
        raise PrepareError(
            f"the source has photos of two satellites: {found}, but a data set has one gsd. Give "
            f"{' or '.join(f'--satellite={satellite}' for satellite in GSD)}."
        )
    satellite = wanted or next(iter(counts))
    if not counts[satellite]:
        raise PrepareError(f"the source has no photo of {satellite}: {found}. Take the other.")
    return {name: photos[name] for name in photos if of[name] == satellite}, GSD[satellite]


def latitude_longitude(name: str) -> tuple[float, float]:
    """Returns latitude and longitude, degrees, of a name such as SV_Berlin_52.5162_13.4212.

    Raises:
        PrepareError: if the name has none.
    """
    try:
        latitude, longitude = map(float, name.split("_")[-2:])
    except ValueError:
        raise PrepareError(
            f"{name} is not the name of a training image, expected <satellite>_<city>_<latitude>_"
            "<longitude>, from which the splits by place are drawn. Leave the file out."
        ) from None
    return latitude, longitude


def draw_part(
    footprints: list[Segmentation], photo: str, row: int, column: int, rows: int, columns: int
) -> np.ndarray:
    """Returns the labels of a window of an image: uint8 (rows, columns, 1)."""
    grid = read_info(photo).grid
    labels = draw_footprints(footprints, grid.rows, grid.columns)
    return labels[row : row + rows, column : column + columns]
