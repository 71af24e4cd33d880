"""DFC2019 (US3D) track 1 as downloaded.

Files, found by name wherever they lie, also in zip files: <city>_<place>_<image>_RGB.tif of
Train-Track1-RGB, _AGL.tif (float32, metres above ground) and _CLS.tif (uint8 LAS codes) of
Train-Track1-Truth: https://github.com/pubgeo/dfc2019, data/README.md. The heights of the contest's
validation images were not published, so the training images are divided by place: all images of a
place are in one split.
"""

import argparse

from datasets.prepare.preparation import PreparationPlan
from datasets.prepare.published import PublishedImage, plan_images
from datasets.prepare.sources import check_rasters, find_files, list_source, need
from datasets.prepare.splitting import split_groups

NAME = r"((?:JAX|OMA)_\d+_\d+)_"
CODES = {256: "DFC2019_crp256", 512: "DFC2019_crp512"}
ADVICE = "They are in Train-Track1-RGB.zip and Train-Track1-Truth.zip."


def plan_dfc2019(options: argparse.Namespace) -> PreparationPlan:
    """Plans the tiles of DFC2019 track 1.

    Args:
        options: has source, folder, tile, overlap, least_valid, binary, splits and seed.

    Raises:
        PrepareError, RasterError: if files are missing or do not fit, or the shares of the splits
            are impossible.
    """
    files = list_source(options.source)
    photos, heights, labels = (
        find_files(files, NAME + kind + r"\.tif") for kind in ("RGB", "AGL", "CLS")
    )
    need(heights, photos, "files of heights (_AGL.tif)", ADVICE)
    need(labels, photos, "files of labels (_CLS.tif)", ADVICE)
    need(photos, heights, "photos (_RGB.tif)", ADVICE)
    used = check_rasters(options.source, photos, heights, labels)
    place_of = {name: name.rsplit("_", 1)[0].upper() for name in photos}  # JAX_163 of JAX_163_010
    split_of = split_groups(place_of.values(), options.splits, options.seed)
    images = [
        PublishedImage(
            name, split_of[place_of[name]], photo.path, heights[name].path, labels[name].path
        )
        for name, photo in photos.items()
    ]
    return plan_images(images, options, CODES.get(options.tile, "DFC2019_crp512"), used)
