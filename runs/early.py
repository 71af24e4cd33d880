"""What is said before TensorFlow is loaded, which takes long: what cannot work in any case."""

from collections.abc import Sequence
from pathlib import Path

from datasets.records.record import MADE_ON_DEMAND
from datasets.tiles.folders import DataError, Tile, list_tiles
from project.files import check_replaceable_folder, check_writable
from project.lease import in_use, lease_files, refuse_live
from runs.folders import is_trained, named_run, output_folder, stage_folder
from runs.stored import use_correction
from settings.loading import Settings
from settings.table import SettingsError

MOST_HEADERS = 200  # of training photos; the full check reads all of them
MOST_NAMES = 5  # of photos that an error names
MARKERS = ("metrics.json",)  # what an evaluation leaves in its folder


def check_training(settings: Settings, stage: str) -> None:
    """Checks the folders that a stage writes to, and the size of its training tiles.

    Raises:
        UserError: if a folder cannot be written or is in use by another process, files have no
            partner, or tiles are too small.
    """
    folders = stage_folder(settings, stage), output_folder(settings, stage)
    for folder in folders:
        check_writable(folder)
    for folder in filter(None, (*folders, named_run(settings, folders[0]))):
        for path in lease_files(folder):
            refuse_live(path, in_use(folder))
    tiles = listed_tiles(settings, ["train", "valid"])
    if settings.bad_tiles != "skip":
        check_sizes(tiles.get("train", ()), settings)


def check_evaluation(settings: Settings, splits: Sequence[str]) -> None:
    """Checks the folders that an evaluation writes to, its tiles and the stages that it needs.

    Args:
        settings: of `runs.stored.adopt_stored_network`.
        splits: to evaluate.

    Raises:
        FileNotFoundError: if correction=true and stage 2 has not been trained.
        UserError: if a folder holds something else, or files have no partner.
    """
    check_correction(settings)
    corrected = settings.correction != "false" and is_trained(settings, "dae")
    for split in splits:
        folder = output_folder(settings, f"{split}_{'dae' if corrected else 'mtl'}")
        check_replaceable_folder(folder, MARKERS)
    listed_tiles(settings, splits)


def check_export(settings: Settings, folder: Path) -> None:
    """Checks that a folder is new and can be made, and that there are the stages to export.

    Raises:
        FileNotFoundError: if correction=true and stage 2 has not been trained.
        UserError: if the folder exists or cannot be made.
    """
    if folder.exists() or folder.is_symlink():
        raise SettingsError(f"{folder} already exists. Name a new folder, or remove it.")
    check_writable(folder)
    check_correction(settings)


def check_correction(settings: Settings) -> None:
    """Raises FileNotFoundError or SettingsError if correction=true, but stage 2 does not fit."""
    if settings.correction == "true":
        use_correction(settings)


def listed_tiles(settings: Settings, splits: Sequence[str]) -> dict[str, tuple[Tile, ...]]:
    """Lists the tiles of splits; {} for demo data of which a split has still to be made.

    Raises:
        DataError: if a split is missing or empty, or a file has no partner.
    """
    record = settings.record
    made = all((record.folder / split).is_dir() for split in splits)
    if settings.dataset_name in MADE_ON_DEMAND and not made:
        return {}
    fusion = settings.sar_mode == "fusion"
    return {split: list_tiles(record, split, fusion) for split in splits}


def check_sizes(tiles: Sequence[Tile], settings: Settings) -> None:
    """Checks evenly spaced training tiles against the crop size, from the headers of the photos.

    Photos that cannot be read are passed over: the full check names all of them at once.

    Raises:
        DataError: naming those that are too small.
    """
    # GDAL loads only now, so that a folder that cannot be written is refused at once.
    from datasets.rasters.reading import RasterError, read_info
    from datasets.rasters.references import check_references

    record, small = settings.record, []
    looked_at = tiles[:: -(-len(tiles) // MOST_HEADERS) or 1]
    for tile in looked_at:
        try:
            check_references(tile.rgb, record.folder)
            grid = read_info(tile.rgb).grid
        except RasterError:
            continue
        if min(grid.rows, grid.columns, record.centre_crop or grid.rows) < settings.crop_size:
            small.append(f"{tile.rgb} ({grid.rows} x {grid.columns} pixels, rows x columns)")
    if small:
        centre = f", of which centre_crop={record.centre_crop} is used" * bool(record.centre_crop)
        raise DataError(
            f"{len(small)} of {len(looked_at)} training photos that were looked at are smaller "
            f"than {settings.quote('crop_size')}{centre}: {', '.join(small[:MOST_NAMES])}. Lower "
            "crop_size, or remove these tiles (bad_tiles=skip leaves them out)."
        )
