"""The tiles of a split: pairs of files with the same stem in the standard layout."""

from dataclasses import dataclass
from pathlib import Path

from datasets.records.folder_names import rename_advice
from datasets.records.record import KINDS, LAYOUT, Record
from project.errors import UserError
from project.texts import is_utf8

# Endings of files that GDAL, GIS programs and desktops leave beside a raster. World files have the
# ending of the raster, or its first and last letter, with a w; ArcGIS also adds an x.
SIDE_FILES = tuple(
    """
    .xml .msk .ovr .rrd .aux .prj .hdr .stx .clr .dbf .cpg .rpb .rpc .tab .points
    .tfw .tifw .tiffw .jgw .jpgw .jpegw .pgw .pngw .j2w .jp2w .bpw .bmpw .wld
    .tfwx .tifwx .tiffwx .jgwx .jpgwx .jpegwx .pgwx .pngwx .j2wx .jp2wx .bpwx .bmpwx
    .qml .qmd .qlr .qgs .qgz .sld .lyr .lyrx .lock
    .json .geojson .csv .imd .ige .pdf .txt .md .log .zip .md5 .sha256
    .bak .tmp ~ :zone.identifier thumbs.db desktop.ini
    """.split()
)


class DataError(UserError):
    """Files of a data set that cannot be used; the message says which ones and why."""


@dataclass(frozen=True)
class Tile:
    """The files of one tile, one from each folder of `KINDS`; None = there is none.

    Attributes:
        name: their stem.
        rgb: photo.
        dsm: heights; above ground unless there is a `dem`.
        sem: labels.
        dem: terrain, which is subtracted from `dsm`.
        sar: radar image, the fourth channel of the network's image.
    """

    name: str
    rgb: Path
    dsm: Path
    sem: Path | None = None
    dem: Path | None = None
    sar: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The existing files by kind, in the order of `KINDS`."""
        return {kind: path for kind in KINDS if (path := getattr(self, kind))}


def list_tiles(record: Record, split: str, sar: bool = False) -> tuple[Tile, ...]:
    """Lists the tiles of a split, sorted by name.

    Args:
        record: of the data set.
        split: "train", "valid" or "test".
        sar: True = each tile must have a radar image; False = radar images are not listed.

    Returns:
        The tiles. All of them have `sem` if the record has classes and the split a folder `sem`,
        and all have `dem` if the split has a folder `dem`.

    Raises:
        DataError: if the split is missing or empty, or a file has no partner.
    """
    tiles, problems = pair_files(record, split, sar, most_names=5)
    if problems:
        raise DataError("\n  ".join(problems))
    return tiles


def pair_files(
    record: Record, split: str, sar: bool = False, most_names: int | None = None
) -> tuple[tuple[Tile, ...], list[str]]:
    """Pairs the files of a split and lists what does not fit.

    Args:
        record, split, sar: as for `list_tiles`.
        most_names: largest number of names in one problem; None = all.

    Returns:
        (tiles, problems): as from `list_tiles`, but of the complete pairs only; texts that name
        the files which cannot be used.
    """
    folder = Path(record.folder) / split
    problems: list[str] = []
    files = {kind: _files(folder / kind, problems) for kind in _kinds(record, folder, sar)}
    advice = _rename_advice(record, folder, sar)
    if not files["rgb"] and not files["dsm"]:
        empty = (
            f"{folder} has no tiles: rgb and dsm are missing or empty. "
            f"Expected {record.folder}/{LAYOUT}, with the same stem in rgb and dsm.{advice}"
        )
        return (), problems or [empty]
    if advice:
        problems.append(
            f"{folder}: a folder is not read because of its name.{advice} If it is not to be used, "
            "give it quite another name, or move it away."
        )
    if sar and not files["sar"]:
        problems.append(
            f"{folder / 'sar'} has no files, but sar_mode=fusion needs a radar image of each tile. "
            "Add them, with the stems of the photos, or set sar_mode=none."
        )
        del files["sar"]
    pairs = [("rgb", "dsm"), ("dsm", "rgb"), *(("rgb", kind) for kind in list(files)[2:])]
    for have, need in pairs:
        alone = sorted(set(files[have]) - set(files[need]))
        if alone:
            names = _joined(alone, most_names)
            problems.append(
                f"{folder}: {len(alone)} of {len(files[have])} tiles in {have} have no {need} file "
                f"of the same stem: {names}. Add the missing {need} files or remove these {have} "
                "files."
            )
    names = sorted(set.intersection(*map(set, files.values())))
    tiles = (Tile(name, **{kind: files[kind][name] for kind in files}) for name in names)
    return tuple(tiles), problems


def _kinds(record, folder, sar):
    """Returns the kinds of files that each tile of a split must have, rgb and dsm first."""
    there = {kind: (folder / kind).is_dir() or (folder / kind).is_symlink() for kind in KINDS}
    optional = {"dem": there["dem"], "sem": there["sem"] and record.classes, "sar": sar}
    return ["rgb", "dsm", *(kind for kind, needed in optional.items() if needed)]


def _rename_advice(record, folder, sar):
    """Returns advice if a split, or what it needs, is there under another name; otherwise ""."""
    if not folder.exists():
        return rename_advice(folder.parent, [folder.name])
    needed = {"sem": record.classes, "sar": sar}
    return rename_advice(folder, [kind for kind in KINDS if needed.get(kind, True)])


def unused_labels(record: Record, split: str) -> tuple[Path, ...]:
    """Returns the label files that are not used because the record has no classes."""
    sem = Path(record.folder) / split / "sem"
    return () if record.classes else tuple(_files(sem, []).values())


def _files(folder, problems):
    """Returns stem -> path of the raster files in a folder, {} if it does not exist.

    Adds a text to `problems` for each file that cannot be used.
    """
    files = {}
    try:
        paths = sorted(folder.iterdir()) if folder.is_dir() or folder.is_symlink() else []
        paths = [path for path in paths if _is_raster_file(path)]
    except OSError as error:
        problems.append(
            f"{folder}: the folder cannot be read ({error.strerror}). Correct its permissions or "
            "its link."
        )
        return {}
    for path in paths:
        if not is_utf8(path.name):
            problems.append(f"{folder}: the file name {path.name!a} is not UTF-8. Rename the file.")
        elif path.name.splitlines() != [path.name]:
            problems.append(
                f"{folder}: the file name {path.name!r} has a line break. Rename the file."
            )
        elif path.stem in files:
            problems.append(
                f"{folder} has {files[path.stem].name} and {path.name}, which name the same "
                "tile. Keep one of them."
            )
        else:
            files[path.stem] = path
    return files


def _is_raster_file(path):
    """Returns whether a path is neither a folder nor hidden nor one of `SIDE_FILES`."""
    is_side_file = path.name.lower().endswith(SIDE_FILES)
    return not (path.is_dir() or path.name.startswith(".") or is_side_file)


def _joined(names, most):
    """Joins the first `most` names with commas; None = all of them."""
    more = ", ..." if most and len(names) > most else ""
    return ", ".join(names[:most]) + more
