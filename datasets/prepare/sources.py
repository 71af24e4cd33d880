"""Files of a downloaded data set: in a folder, in zip files within it, or in one zip file."""

import hashlib
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from datasets.prepare.tile_files import PrepareError
from datasets.rasters.references import check_references

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\xff\xd8")  # TIFF, BigTIFF, JPEG
SIDE_FILES = (".msk", ".ovr")  # rasters that GDAL opens with the file beside them


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

    def read_bytes(self):
        """Returns the content."""
        if self.archive is None:
            return Path(self.path).read_bytes()
        with zipfile.ZipFile(self.archive) as archive:
            return archive.read(self.member)


def list_source(source):
    """Lists the files of a download; zip files are read in place, not unpacked.

    Args:
        source: str or path of a folder or a zip file. Zip files within zip files are not read.

    Returns:
        list of `SourceFile`, sorted by name.

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
    inner = [file for archive in archives for file in _list_archive(archive)]
    return sorted(plain + inner, key=lambda file: file.name)


def find_files(files, pattern):
    """Finds files by name.

    Args:
        files: `SourceFile`s.
        pattern: regular expression that the end of a name must match, whatever the case, after
            the start or a /; its group is the key.

    Returns:
        dict of key to `SourceFile`.

    Raises:
        PrepareError: if two files have the same key.
    """
    expression = re.compile(rf"(?:^|/){pattern}$", re.IGNORECASE)
    found = {}
    for file in files:
        if match := expression.search(file.name):
            key = match[1]
            if key in found:
                raise PrepareError(
                    f"{found[key].path} and {file.path} are the same file of the data set. Give a "
                    "folder that holds it once: either the zip files or what was in them."
                )
            found[key] = file
    return found


def check_rasters(files, folder):
    """Checks that rasters of a download have pixels, and name no file outside it.

    Args:
        files: `SourceFile`s.
        folder: path of the download.

    Raises:
        RasterError, PrepareError: naming the file.
    """
    for file in files:
        if file.archive is None:
            check_references(file.path, folder)
    for path in {file.archive for file in files} - {None}:
        _check_members(path, [file.member for file in files if file.archive == path])


def mark_files(files):
    """Returns a text that is another one if a file is replaced or changed, but not if it is moved.

    Args:
        files: `SourceFile`s.
    """
    stats = {path: Path(path).stat() for path in {file.archive or file.path for file in files}}
    marks = [(f.name, stats[f.archive or f.path]) for f in files]
    entries = sorted([name, stat.st_size, stat.st_mtime_ns] for name, stat in marks)
    digest = hashlib.sha256(json.dumps(entries).encode()).hexdigest()
    return f"{len(entries)} files, {digest[:16]}"


def _check_members(path, members):
    """Raises PrepareError for members of a zip file, or side files of them, without pixels."""
    with zipfile.ZipFile(path) as archive:
        names = {name.lower(): name for name in archive.namelist()}
        sides = [names.get(f"{m}{end}".lower()) for m in members for end in SIDE_FILES]
        for member in [*members, *filter(None, sides)]:
            with archive.open(member) as file:
                if not file.read(4).startswith(MAGIC):
                    raise PrepareError(
                        f"{member} in {path} is neither TIFF nor JPEG. Download the zip file again."
                    )
        for member in members:
            side = names.get(f"{member}.aux.xml".lower())
            if side and b"OVERVIEW_FILE" in archive.read(side):
                raise PrepareError(f"{side} in {path} names another file. Remove it.")


def _list_archive(path):
    """Returns the files in a zip file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise PrepareError(f"{path} is a damaged zip file ({error}). Download it again.") from None
    # The braces end the name of the archive: docs of GDAL, virtual file systems, /vsizip/.
    inside = f"/vsizip/{{{path.resolve()}}}/"
    return [SourceFile(f"{path.stem}/{m}", inside + m, path, m) for m in members]
