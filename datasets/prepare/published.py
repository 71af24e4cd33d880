"""What the plans of published data sets have in common."""

from datasets.catalogue import CATALOGUE
from datasets.prepare.record_file import fitting_crop
from datasets.prepare.running import Plan
from datasets.prepare.sources import check_rasters, mark_files
from datasets.prepare.tile_files import PrepareError

SHOWN = 5  # names in a message
RASTERS = (".tif", ".tiff", ".jpg", ".jpeg")


def use_files(options, *found):
    """Checks the rasters among the files of a data set before GDAL opens them.

    Args:
        options: has source.
        found: dicts of key to `datasets.prepare.sources.SourceFile`.

    Returns:
        list of all these files.

    Raises:
        RasterError, PrepareError: if a raster is none, or names a file outside the source.
    """
    files = [file for group in found for file in group.values()]
    check_rasters([file for file in files if file.name.lower().endswith(RASTERS)], options.source)
    return files


def plan_jobs(jobs, options, like, files, **more):
    """Plans tiles whose heights are metres, with the record of the catalogue.

    Args:
        jobs: `datasets.prepare.running.Job`s.
        options: has folder, source, tile, overlap, least_valid and binary.
        like: name in the catalogue whose record the data set takes.
        files: `datasets.prepare.sources.SourceFile`s that the tiles come from.
        more: further keys of dataset.toml.

    Returns:
        `datasets.prepare.running.Plan`.
    """
    kept = {k: v for k, v in vars(options).items() if k not in ("folder", "source", "plan")}
    kept["source_files"] = mark_files(files)
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
