"""DFC2023 track 2 as downloaded.

Files, found by name wherever they lie, also in zip files: train/rgb/<name>.tif, train/height/ or
train/dsm/<name>.tif (metres above ground), buildings_only_train.json with footprints as COCO
polygons or run-length codes, and train/sar/<name>.tif, radar images on the photos' pixels, which
may be left out: https://github.com/AICyberTeam/DFC2023-baseline and
https://github.com/ahmad-naghavi-ozu/DFC2023-annotation-issue. Names are
<satellite>_<city>_<latitude>_<longitude>; heights of the contest's validation and test images were
not given out. Images nearer to each other than `NEAR` are in one split.
"""

from collections import Counter
from functools import partial

from datasets.prepare.footprints import draw_footprints, read_footprints
from datasets.prepare.published import need, plan_jobs, use_files
from datasets.prepare.scenes import Scene, scene_jobs
from datasets.prepare.sources import find_files, list_source
from datasets.prepare.splitting import near_groups, split_groups
from datasets.prepare.tile_files import PrepareError
from datasets.rasters.reading import read_info

NAME = r"([^/]+)\.tif"
ADVICE = "They are in track2.zip."
GSD = {"GF2": 0.8, "SV": 0.5}  # metres per pixel of each satellite
NEAR = 1000.0  # metres between centres; an image is up to 410 m wide


def plan_dfc2023(options):
    """Plans the tiles of DFC2023 track 2.

    Args:
        options: has source, folder, tile, overlap, least_valid, binary, splits, seed
            and satellite.

    Returns:
        `datasets.prepare.running.Plan`.

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
    radar = find_files(files, "train/sar/" + NAME)
    if radar:
        need(radar, photos, "radar images (train/sar)", f"{ADVICE[:-1]}; or leave all out.")
    used = use_files(options, photos, heights, lists, radar)
    photos, gsd = of_one_satellite(photos, options.satellite)
    groups = near_groups([place_of(name) for name in photos], NEAR)
    split_of = split_groups(groups, options.splits, options.seed)
    scenes = [
        Scene(
            name,
            split_of[group],
            photo.path,
            heights[name].path,
            partial(draw_part, footprints[name], photo.path),
            radar=radar[name].path if radar else None,
        )
        for (name, photo), group in zip(photos.items(), groups, strict=True)
    ]
    jobs = scene_jobs(scenes, options.tile, options.overlap)
    return plan_jobs(jobs, options, "DFC2023", used, gsd=gsd)


def of_one_satellite(photos, wanted=None):
    """Chooses the photos of a satellite, since a data set has one gsd.

    Args:
        photos: dict of names, which begin with the satellite.
        wanted: "GF2" or "SV"; None = whichever it is, if it is one.

    Returns:
        (photos, gsd): dict of those that are kept; metres per pixel.

    Raises:
        PrepareError: if a name is of no known satellite, or photos of several remain, or none.
    """
    of = {name: name.split("_")[0].upper() for name in photos}
    unknown = [name for name, satellite in of.items() if satellite not in GSD]
    if unknown:
        raise PrepareError(
            f"{unknown[0]} is of no known satellite, expected a name that begins with "
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
