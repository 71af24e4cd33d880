"""DFC2019 (US3D) track 1 as downloaded.

Files, found by name wherever they lie, also in zip files: <city>_<place>_<image>_RGB.tif of
Train-Track1-RGB, _AGL.tif (float32, metres above ground) and _CLS.tif (uint8 LAS codes) of
Train-Track1-Truth: https://github.com/pubgeo/dfc2019, data/README.md. Heights of the contest's
validation images were not given out, so the training images are divided by place: all images of a
place are in one split.
"""

from datasets.prepare.published import need, plan_jobs, use_files
from datasets.prepare.scenes import Scene, scene_jobs
from datasets.prepare.sources import find_files, list_source
from datasets.prepare.splitting import split_groups

NAME = r"((?:JAX|OMA)_\d+_\d+)_"
CODES = {256: "DFC2019_crp256", 512: "DFC2019_crp512"}
ADVICE = "They are in Train-Track1-RGB.zip and Train-Track1-Truth.zip."


def plan_dfc2019(options):
    """Plans the tiles of DFC2019 track 1.

    Args:
        options: has source, folder, tile, overlap, least_valid, binary, splits and seed.

    Returns:
        `datasets.prepare.running.Plan`.

    Raises:
        PrepareError, RasterError: if files are missing or do not fit.
        ValueError: if the shares of the splits are impossible.
    """
    files = list_source(options.source)
    photos, heights, labels = (
        find_files(files, NAME + kind + r"\.tif") for kind in ("RGB", "AGL", "CLS")
    )
    need(heights, photos, "files of heights (_AGL.tif)", ADVICE)
    need(labels, photos, "files of labels (_CLS.tif)", ADVICE)
    need(photos, heights, "photos (_RGB.tif)", ADVICE)
    used = use_files(options, photos, heights, labels)
    split_of = split_groups(map(place_of, photos), options.splits, options.seed)
    scenes = [
        Scene(name, split_of[place_of(name)], photo.path, heights[name].path, labels[name].path)
        for name, photo in photos.items()
    ]
    jobs = scene_jobs(scenes, options.tile, options.overlap)
    return plan_jobs(jobs, options, CODES.get(options.tile, "DFC2019_crp512"), used)


def place_of(name):
    """Returns the place of an image: JAX_163 for JAX_163_010."""
    return name.rsplit("_", 1)[0].upper()
