"""What the plans of published data sets have in common."""

from datasets.catalogue import CATALOGUE
from datasets.preparation.record_file import fitting_crop
from datasets.preparation.running import Plan
from datasets.preparation.scenes import scene_jobs
from datasets.preparation.tiles import PrepareError

SHOWN = 5  # names in a message


def plan_scenes(scenes, options, like, **more):
    """Plans the tiles of scenes.

    Args:
        scenes: `datasets.preparation.scenes.Scene`s.
        options: has folder, source, tile, overlap, least_valid and binary.
        like: name in the catalogue whose record the data set takes.
        more: further keys of dataset.toml.

    Returns:
        `datasets.preparation.running.Plan`.
    """
    jobs = [job for scene in scenes for job in scene_jobs(scene, options.tile, options.overlap)]
    return plan_jobs(jobs, options, like, **more)


def plan_jobs(jobs, options, like, **more):
    """Plans tiles whose heights are metres, with the record of the catalogue.

    Args, Returns: as `plan_scenes`, with `datasets.preparation.running.Job`s.
    """
    kept = {k: v for k, v in vars(options).items() if k not in ("folder", "source", "plan")}
    like = f"{like}_bin" if options.binary else like
    crop = fitting_crop(options.tile, CATALOGUE[like]["crop_size"])
    record = {"like": like, "height_scale": 1.0, **crop, **more}
    return Plan(options.folder, kept, jobs, record, options.least_valid)


def need(found, wanted, what, advice):
    """Raises PrepareError if files are missing.

    Args:
        found: keys of the files that are there.
        wanted: keys that are needed.
        what: what the files are, such as "photos".
        advice: sentence that says where to get them.
    """
    missing = [key for key in wanted if key not in found]
    if missing or not found:
        some = ", ".join(map(str, missing[:SHOWN])) or "all"
        more = ", ..." if len(missing) > SHOWN else ""
        raise PrepareError(f"the source has {len(found)} {what}; missing: {some}{more}. {advice}")
