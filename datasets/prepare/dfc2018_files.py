"""DFC2018 (Houston) as downloaded.

Files, found by name wherever they lie, also in zip files:
    UH_NAD83_<x>_<y>.tif: photos of 0.05 m; UH17c_GEF051.tif: surface (DSM_C12) and UH17_GEG05.tif:
        bare earth (DEM_C123_TLI), 0.5 m, metres (folders and splits:
        https://github.com/marcelampc/aerial_mtl, which chose this bare earth);
    2018_IEEE_GRSS_DFC_GT_TR.tif: codes at 0.5 m, of the four train and valid photos only.
Heights beyond +-1000 m are nodata (sentinel values near 3.4e38).
"""

import argparse

from datasets.catalogue import CATALOGUE
from datasets.prepare.pair import Rasters, check_pair, pair_job
from datasets.prepare.preparation import PreparationPlan
from datasets.prepare.published import plan_jobs
from datasets.prepare.sources import check_rasters, find_files, list_source, need
from datasets.prepare.splitting import cut_windows
from datasets.rasters.warping import common_grid

PHOTO = r"(UH_NAD83_\d+_\d+)\.tif"
OTHERS = {
    "surface": r"(UH17c_GEF051)\.tif",
    "terrain": r"(UH17_GEG05)\.tif",
    "labels": r"(2018_IEEE_GRSS_DFC_GT_TR)\.tif",
}


def plan_dfc2018(options: argparse.Namespace) -> PreparationPlan:
    """Plans the tiles of DFC2018 in the splits of the catalogue.

    Args:
        options: has source, folder, tile, overlap, least_valid, binary and gsd.

    Raises:
        PrepareError, RasterError: if files are missing or do not fit.
    """
    splits = CATALOGUE["DFC2018"]["splits"]
    limits = tuple(CATALOGUE["DFC2018"]["height_limits"])
    files = list_source(options.source)
    photos = find_files(files, PHOTO)
    wanted = {name: split for split, names in splits.items() for name in names}
    need(photos, wanted, "photos", "They are in FinalRGBHRImagery.")
    others = {kind: find_files(files, pattern) for kind, pattern in OTHERS.items()}
    for kind, found in others.items():
        need(found, [], f"files of {kind}", f"Expected {OTHERS[kind][1:-6]}.tif.")
    used = check_rasters(options.source, photos, *others.values())
    given = {kind: next(iter(found.values())).path for kind, found in others.items()}
    jobs = []
    for name, split in wanted.items():
        labels = given["labels"] if split != "test" else None
        rasters = Rasters(
            photos[name].path, given["surface"], given["terrain"], labels, limits=limits
        )
        check_pair(rasters)
        grid = common_grid([rasters.image, *rasters.heights], options.gsd)
        windows = cut_windows(
            grid, options.tile, options.overlap, f"the area of {rasters.image} that has heights"
        )
        jobs += [pair_job(rasters, grid, w, split, name + end) for end, w in windows.items()]
    return plan_jobs(jobs, options, "DFC2018", used, gsd=options.gsd)
