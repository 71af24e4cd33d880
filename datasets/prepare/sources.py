"""Files of a downloaded data set: in a folder, in zip files within it, or in one zip file."""

import hashlib
import json
import re
import zipfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from datasets.prepare.tile_files import PrepareError
from datasets.rasters.references import check_references

RASTERS = (".tif", ".tiff", ".jpg", ".jpeg")
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\xff\xd8")  # TIFF, BigTIFF, JPEG
SIDE_RASTERS = (".msk", ".ovr")  # which GDAL opens with the file beside them
MOST_BYTES = 2**30  # of a text within a zip file; pixels are read by GDAL, in parts
SHOWN = 5  # names in a message


@dataclass(frozen=True)
class SourceFile:
    """A file of a download.

    Attributes:
        name: its path within the download, with /.
        path: what GDAL opens.
        archive: zip file that holds it, or None.
        member: its name in the archive.
    """

    name: str
    path: str
    archive: Path | None = None
    member: str = ""

    def read_bytes(self) -> bytes:
        """Returns the content."""
        if self.archive is None:
            return Path(self.path).read_bytes()
        with zipfile.ZipFile(self.archive) as archive:
            return _unpacked(archive, self.member)


def list_source(source: str | Path) -> list[SourceFile]:
    """Lists the files of a download by name; zip files are read in place, not unpacked.

    Args:
        source: a folder or a zip file. Zip files within zip files are not read.

    Raises:
        PrepareError: if there is no such folder or zip file, or a zip file is damaged.
    """
    source = Path(source)
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.is_file())
        plain = [SourceFile(path.relative_to(source).as_posix(), str(path)) for path in paths]
        archives = [path for path in paths if path.suffix.lower() == ".zip"]
    elif source.is_file() and source.suffix.lower() == ".zip":
        plain, archives = [], [source]
    else:
        raise PrepareError(f"{source} is neither a folder nor a zip file. Check the path.")
    inside = (file for archive in archives for file in _list_archive(archive))
    return sorted([*plain, *inside], key=lambda file: file.name)


def find_files(files: Iterable[SourceFile], pattern: str) -> dict[str, SourceFile]:
    """Finds files by name.

    Args:
        files: to search.
        pattern: regular expression that the end of a name must match, whatever the case, after
            the start or a /; its group is the key.

    Returns:
        The files that match, by key.

    Raises:
        PrepareError: if two files have the same key.
    """
    expression = re.compile(rf"(?:^|/){pattern}$", re.IGNORECASE)
    found: dict[str, SourceFile] = {}
    for file in files:
        if match := expression.search(file.name):
            other = found.setdefault(match[1], file)
            if other is not file:
                raise PrepareError(
                    f"{other.path} and {file.path} are the same file of the data set. Give a "
                    "folder that holds it once: either the zip files or what was in them."
                )
    return found


def need(found: Collection, wanted: Iterable, what: str, advice: str) -> None:
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


def check_rasters(source: str | Path, *found: dict[str, SourceFile]) -> list[SourceFile]:
    """Checks the rasters of a data set before GDAL opens them: pixels, which name no other file.

    Args:
        source: the download, outside which no raster may name a file.
        found: files by key, from `find_files`.

    Returns:
        All of these files.

    Raises:
        RasterError, PrepareError: naming the file.
    """
    files = [file for group in found for file in group.values()]
    rasters = [file for file in files if file.name.lower().endswith(RASTERS)]
    for file in rasters:
        if file.archive is None:
            check_references(file.path, source)
    for archive in {file.archive for file in rasters if file.archive}:
        _check_members(archive, [file.member for file in rasters if file.archive == archive])
    return files


def mark_files(files: Iterable[SourceFile]) -> str:
    """Returns a text that changes if a file is replaced or changed, but not if it is moved."""
    stats = [(file.name, Path(file.archive or file.path).stat()) for file in files]
    entries = sorted([name, stat.st_size, stat.st_mtime_ns] for name, stat in stats)
    digest = hashlib.sha256(json.dumps(entries).encode()).hexdigest()
    return f"{len(entries)} files, {digest[:16]}"


def _unpacked(archive: zipfile.ZipFile, member: str) -> bytes:
    """Returns the content of a text in a zip file, unless a small file unpacks to a huge one.

    Raises:
        PrepareError: if it is too large.
    """
    size = archive.getinfo(member).file_size
    if size > MOST_BYTES:
        raise PrepareError(
            f"{member} in {archive.filename} unpacks to {size / 2**30:.1f} GiB, at most "
            f"{MOST_BYTES // 2**30} are expected. Download the zip file again."
        )
    return archive.read(member)


def _check_members(path: Path, members: list[str]) -> None:
    """Raises PrepareError for members of a zip file, or side files of them, without pixels."""
    with zipfile.ZipFile(path) as archive:
        names = {name.lower(): name for name in archive.namelist()}
        sides = [names.get(f"{m}{end}".lower()) for m in members for end in SIDE_RASTERS]
        for member in [*members, *filter(None, sides)]:
            with archive.open(member) as file:
                if not file.read(4).startswith(MAGIC):
                    raise PrepareError(
                        f"{member} in {path} is neither TIFF nor JPEG. Download the zip file again."
                    )
        for member in members:
            side = names.get(f"{member}.aux.xml".lower())
            if side and b"OVERVIEW_FILE" in _unpacked(archive, side):
                raise PrepareError(f"{side} in {path} names another file. Remove it.")


def _list_archive(path: Path) -> list[SourceFile]:
    """Returns the files in a zip file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise PrepareError(f"{path} is a damaged zip file ({error}). Download it again.") from None
    # The braces end the name of the archive: docs of GDAL, virtual file systems, /vsizip/.
    inside = f"/vsizip/{{{path.resolve()}}}/"
    return [SourceFile(f"{path.stem}/{m}", inside + m, path, m) for m in members]
