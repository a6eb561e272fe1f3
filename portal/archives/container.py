"""The file format of an archive: a tar of two age files, so that `tar`, `age` and `zstd` open it without the portal.

`key.age` holds a fresh age identity, encrypted by the passphrase; `data.tar.zst.age` is encrypted to that identity, in
chunks that are authenticated one by one and in their order. The tar around them is rebuilt and compared when it is
read, so that no byte of an archive can be changed, added or removed.
"""

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO, cast

import pyrage
import zstandard

from portal.archives.errors import AlteredArchive, ArchiveError
from portal.archives.passphrases import Passphrase
from portal.archives.pipes import read_from, write_to

KEY, DATA = "key.age", "data.tar.zst.age"
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
# An identity under a passphrase has 300 bytes.
MOST_KEY_BYTES = 64 * 1024
LEVEL = 6


def header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.GNU_FORMAT)


def padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


@contextmanager
def write_archive(path: Path, passphrase: Passphrase) -> Iterator[tarfile.TarFile]:
    """Yield the tar to add members to, one after the other. The file is durable when the block ends.

    Raises OSError. A file that was begun stays.
    """
    identity = pyrage.x25519.Identity.generate()
    key = passphrase.encrypt(f"{identity}\n".encode())
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(header(KEY, len(key)) + key + padding(len(key)))
        begin = file.tell()
        file.write(header(DATA, 0))

        def encrypt(plain: BinaryIO) -> None:
            pyrage.encrypt_io(plain, file, [identity.to_public()])

        with (
            write_to(encrypt) as plain,
            zstandard.ZstdCompressor(LEVEL).stream_writer(plain, closefd=False) as compressed,
            tarfile.open(mode="w|", fileobj=cast(BinaryIO, compressed)) as members,
        ):
            yield members
        size = file.tell() - begin - BLOCK
        file.write(padding(size) + END)
        file.seek(begin)
        file.write(header(DATA, size))
        file.flush()
        os.fsync(file.fileno())


class Part(RawIOBase):
    """The bytes of an open file from its position on, as many as `size`."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        found = self.file.read(min(len(buffer), self.left))
        buffer[: len(found)] = found
        self.left -= len(found)
        return len(found)


def read_header(file: BinaryIO, name: str) -> int:
    """Return the size of the member that begins here, if it is what `write_archive` wrote. Raises AlteredArchive."""
    block = file.read(BLOCK)
    try:
        size = tarfile.TarInfo.frombuf(block, "utf-8", "strict").size
        is_own = size >= 0 and block == header(name, size)
    except (tarfile.TarError, ValueError):
        is_own = False
    if not is_own:
        raise AlteredArchive("This is not an archive of the portal, or it was altered.")
    return size


def read_key(file: BinaryIO) -> bytes:
    """Return the encrypted key, at the beginning of the file. Raises AlteredArchive."""
    size = read_header(file, KEY)
    if size > MOST_KEY_BYTES:
        raise AlteredArchive("The key of the archive is too large: it was altered.")
    key = file.read(size)
    if len(key) != size or file.read(len(padding(size))) != padding(size):
        raise AlteredArchive("The archive is incomplete or was altered.")
    return key


def read_data_size(file: BinaryIO) -> int:
    """Check the end of the file, and return the size of the data, which begin at its position.

    Raises AlteredArchive.
    """
    size = read_header(file, DATA)
    begin = file.tell()
    end = padding(size) + END
    if os.fstat(file.fileno()).st_size != begin + size + len(end):
        raise AlteredArchive("The archive is incomplete, or something was added to it.")
    file.seek(begin + size)
    if file.read() != end:
        raise AlteredArchive("The end of the archive was altered.")
    file.seek(begin)
    return size


def unlock(encrypted: bytes, passphrase: Passphrase) -> pyrage.x25519.Identity:
    """Raises WrongPassphrase, AlteredArchive."""
    try:
        return pyrage.x25519.Identity.from_str(passphrase.decrypt(encrypted).decode().strip())
    except (UnicodeDecodeError, pyrage.IdentityError):
        raise AlteredArchive("The key of the archive was altered.") from None


@contextmanager
def open_archive(path: Path, passphrase: Passphrase) -> Iterator[tarfile.TarFile]:
    """Yield the tar of the members, to be read one after the other. Nothing is proven before the block ends.

    Raises WrongPassphrase, AlteredArchive, ArchiveError.
    """
    try:
        with path.open("rb") as file:
            encrypted = read_key(file)
            part = Part(file, read_data_size(file))
            identity = unlock(encrypted, passphrase)
            with (
                read_from(lambda plain: pyrage.decrypt_io(part, plain, [identity])) as plain,
                zstandard.ZstdDecompressor().stream_reader(plain, closefd=False) as stream,
                tarfile.open(mode="r|", fileobj=stream) as members,
            ):
                yield members
    except (pyrage.DecryptError, tarfile.TarError, zstandard.ZstdError):
        raise AlteredArchive("The archive was altered.") from None
    except OSError as error:
        if error.errno is None:  # age's, of a chunk
            raise AlteredArchive("The archive was altered.") from None
        raise ArchiveError(f"{error.filename or path}: {error.strerror}.") from None
