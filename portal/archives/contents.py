"""Write a folder into an archive, and read an archive into a folder or just prove that it is whole."""

import hashlib
import tarfile
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import IO

from portal.archives import manifest
from portal.archives.container import open_archive, write_archive
from portal.archives.errors import AlteredArchive
from portal.archives.manifest import Manifest, parse_manifest
from portal.archives.passphrases import Passphrase
from portal.base.disks import require_space

CHUNK = 1024 * 1024
FOLDERS = (manifest.SECRETS, manifest.REPORTS)


def pack(folder: Path, described: Manifest, path: Path, passphrase: Passphrase) -> None:
    """Write the files that the manifest describes into a new archive, the manifest first. Raises OSError."""
    (folder / manifest.NAME).write_bytes(described.dump())
    with write_archive(path, passphrase) as members:
        for name in (manifest.NAME, *described.files):
            members.add(folder / name, arcname=name, recursive=False, filter=without_owner)


def without_owner(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def unpack(path: Path, passphrase: Passphrase, folder: Path | None = None) -> Manifest:
    """Read the whole archive, compare it with its manifest, and write its files into the folder if there is one.

    Raises WrongPassphrase, AlteredArchive, NewerVersion, ArchiveError. The folder is then as far as the reader came.
    """
    with open_archive(path, passphrase) as members:
        described = read_manifest(members)
        if folder is not None:
            require_space((folder, described.size))
        found = {}
        while info := members.next():
            if info.name not in described.files or not info.isreg() or not is_own_path(info.name):
                raise AlteredArchive(f"The archive holds {info.name!r}, which its manifest does not list.")
            content = members.extractfile(info)
            assert content is not None  # noqa: S101 - a regular file has one
            found[info.name] = copy_member(content, folder and folder / info.name)
    if found != described.files:
        raise AlteredArchive("The files of the archive are not those of its manifest.")
    return described


def read_manifest(members: tarfile.TarFile) -> Manifest:
    first = members.next()
    content = members.extractfile(first) if first and first.name == manifest.NAME else None
    if first is None or content is None or first.size > manifest.MOST_BYTES:
        raise AlteredArchive("The archive has no manifest.")
    return parse_manifest(content.read())


def is_own_path(name: str) -> bool:
    """Return True for the database and for files below the folders of an archive."""
    path = PurePosixPath(name)
    is_below = len(path.parts) > 1 and path.parts[0] in FOLDERS and ".." not in path.parts
    return is_below or name == manifest.DATABASE


def copy_member(content: IO[bytes], path: Path | None) -> dict[str, object]:
    """Return size and hash, as in the manifest; write the content if there is a path."""
    digest, size = hashlib.sha256(), 0
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") if path else nullcontext() as file:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if file is not None:
                file.write(chunk)
    return {"sha256": digest.hexdigest(), "size": size}
