"""ISPRS Vaihingen as downloaded.

Files, found by name wherever they lie, also in zip files:
    top/top_mosaic_09cm_area<N>.tif in ISPRS_semantic_labeling_Vaihingen.zip: photos, 8-bit
        (https://github.com/microsoft/torchgeo, torchgeo/datasets/vaihingen.py);
    top_mosaic_09cm_area<N>.tif elsewhere: colours of the classes, of all areas in
        ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE.zip (same source), of the train
        and valid areas in gts_for_participants; those named _noBoundary are not used;
    dsm_09cm_matching_area<N>_normalized.jpg: 8-bit heights above ground in decimetres
        (https://github.com/marcelampc/aerial_mtl for the name,
        https://github.com/nshaud/DeepNetsForEO/issues/37 for the download);
    dsm_09cm_matching_area<N>.tfw in Vaihingen_dsm_tiles_geoinfo.zip, optional: places. Sources
        contradict each other on the coordinate reference system, so none is written.
"""

import argparse

from datasets.catalogue import CATALOGUE
from datasets.prepare.preparation import PreparationPlan
from datasets.prepare.published import PublishedImage, plan_images
from datasets.prepare.sources import SourceFile, check_rasters, find_files, list_source, need
from datasets.prepare.tile_files import PrepareError

PHOTO = r"top/top_mosaic_09cm_area(\d+)\.tif"
PART_OF_LABELS = r"gts_for_participants/top_mosaic_09cm_area(\d+)\.tif"
ALL_LABELS = r"(?<!/top/)(?<!^top/)(?<!gts_for_participants/)top_mosaic_09cm_area(\d+)\.tif"
HEIGHTS = r"dsm_09cm_matching_area(\d+)(?:_normalized)?\.jpe?g"
PLACE = r"dsm_09cm_matching_area(\d+)\.tfw"
DECIMETRE = 0.1  # metres


def plan_vaihingen(options: argparse.Namespace) -> PreparationPlan:
    """Plans the tiles of Vaihingen in the splits of the catalogue.

    Args:
        options: has source, folder, tile, overlap, least_valid and binary.

    Raises:
        PrepareError, RasterError: if files are missing or do not fit.
    """
    splits = CATALOGUE["Vaihingen"]["splits"]
    areas = {name.rsplit("area", 1)[1]: (name, s) for s, names in splits.items() for name in names}
    files = list_source(options.source)
    photos, heights = find_files(files, PHOTO), find_files(files, HEIGHTS)
    labels = find_files(files, PART_OF_LABELS) | find_files(files, ALL_LABELS)
    places = find_files(files, PLACE)
    need(photos, areas, "photos", "They are top/ of ISPRS_semantic_labeling_Vaihingen.zip.")
    need(
        heights,
        areas,
        "files of heights above ground (dsm_09cm_matching_area<N>_normalized.jpg)",
        "Those of the benchmark (dsm/*.tif) are above the sea: see 'obtain' of Vaihingen in "
        "docs/datasets.md.",
    )
    hidden = {area for area, (_, split) in areas.items() if split == "test"}
    # Of the test areas all labels are needed or none.
    labelled = [area for area in areas if area not in hidden or hidden & set(labels)]
    need(labels, labelled, "files of labels", "They are in ..._ground_truth_COMPLETE.zip.")
    used = check_rasters(options.source, photos, heights, labels, places)
    images = [
        PublishedImage(
            name,
            split,
            photos[area].path,
            heights[area].path,
            labels[area].path if area in labels else None,
            DECIMETRE,
            geotransform=read_world_file(places[area]) if area in places else None,
        )
        for area, (name, split) in areas.items()
    ]
    return plan_images(images, options, "Vaihingen", used)


def read_world_file(file: SourceFile) -> tuple[float, ...]:
    """Returns the geotransform of a world file, whose place is the centre of the first pixel.

    Raises:
        PrepareError: if it does not hold six numbers.
    """
    try:
        x_column, y_column, x_row, y_row, x, y = map(float, file.read_bytes().split())
    except ValueError:
        raise PrepareError(f"{file.path} is not a world file of six numbers. Replace it.") from None
    left, top = x - (x_column + x_row) / 2, y - (y_column + y_row) / 2
    return (left, x_column, x_row, top, y_column, y_row)
