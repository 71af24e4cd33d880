"""Files of a downloaded data set: in a folder, in zip files within it, or in one zip file."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from datasets.preparation.tiles import PrepareError


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
            the start or a /; its groups are the key.

    Returns:
        dict of key (text of the one group, else tuple of groups) to `SourceFile`.

    Raises:
        PrepareError: if two files have the same key.
    """
    expression = re.compile(rf"(?:^|/){pattern}$", re.IGNORECASE)
    found = {}
    for file in files:
        if match := expression.search(file.name):
            key = match[1] if len(match.groups()) == 1 else match.groups()
            if key in found:
                raise PrepareError(
                    f"{found[key].path} and {file.path} are the same file of the data set. Give a "
                    "folder that holds it once: either the zip files or what was in them."
                )
            found[key] = file
    return found


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
