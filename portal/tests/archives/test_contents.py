"""The file format of archives: what is packed comes back, and nothing else does."""

import shutil
import subprocess
import tarfile

import pyrage
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from portal.archives import contents
from portal.archives.container import BLOCK, DATA
from portal.archives.contents import pack, unpack
from portal.archives.errors import AlteredArchive, ArchiveError, NewerVersion, WrongPassphrase
from portal.archives.manifest import FORMAT, Manifest, build_manifest
from portal.archives.passphrases import Passphrase, parse_passphrase, read_passphrase
from portal.tests.helpers.programs import require

KEY = Passphrase("", pyrage.x25519.Identity.generate())
FILES = {"database.sqlite3": b"rows" * 100_000, "secrets/token_pepper": b"pepper", "reports/2026/r.txt": "été".encode()}


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "content" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "content"


@pytest.fixture
def described(folder):
    return build_manifest(folder, timezone.now(), "sqlite", ["portal.0001_initial"], {"auth_user": 1})


@pytest.fixture
def archive(folder, described, tmp_path):
    pack(folder, described, tmp_path / "a.tar", KEY)
    return tmp_path / "a.tar"


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_packed_files_come_back_with_their_manifest(archive, described, tmp_path):
    assert unpack(archive, KEY, tmp_path / "out") == described
    assert files_of(tmp_path / "out") == FILES


def test_archive_shows_none_of_its_content(archive):
    assert not any(word in archive.read_bytes() for word in (b"rows", b"pepper", b"token_pepper", b"manifest"))


def regions(size, begin):
    """Yield where to change a byte: in each header, the key, the padding, the first and last chunk, and the end."""
    yield from (0, 100, 140, 300, BLOCK - 1, BLOCK, BLOCK + 60, BLOCK + 150, begin - 1)
    yield from (begin, begin + 124, begin + 345, begin + BLOCK, begin + BLOCK + 100, begin + BLOCK + 190)
    yield from (size - 4_000, size - 2 * BLOCK, size - 1)


def test_byte_changed_anywhere_is_refused(archive, tmp_path):
    whole = archive.read_bytes()
    begin = whole.index(DATA.encode())
    for place in regions(len(whole), begin):
        changed = bytearray(whole)
        changed[place] ^= 0x01
        archive.write_bytes(changed)
        with pytest.raises((AlteredArchive, WrongPassphrase)):
            unpack(archive, KEY)
    archive.write_bytes(whole)
    unpack(archive, KEY)


def test_header_changed_with_its_checksum_is_refused(archive):
    whole = archive.read_bytes()
    info = tarfile.TarInfo.frombuf(whole[:BLOCK], "utf-8", "strict")
    info.mtime = 1
    archive.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + whole[BLOCK:])
    with pytest.raises(AlteredArchive):
        unpack(archive, KEY)


@pytest.mark.parametrize("length", [0, 10, 700, 3_000, -1_025, -1])
def test_truncated_archive_is_refused(archive, length):
    archive.write_bytes(archive.read_bytes()[:length])
    with pytest.raises(AlteredArchive):
        unpack(archive, KEY)


@pytest.mark.parametrize("added", [b"\0", bytes(BLOCK), b"x" * 5_000])
def test_archive_with_something_appended_is_refused(archive, added):
    archive.write_bytes(archive.read_bytes() + added)
    with pytest.raises(AlteredArchive):
        unpack(archive, KEY)


def test_data_of_another_archive_is_refused(archive, folder, described, tmp_path):
    pack(folder, described, tmp_path / "other.tar", KEY)
    mine, other = archive.read_bytes(), (tmp_path / "other.tar").read_bytes()
    begin = mine.index(DATA.encode())
    archive.write_bytes(mine[:begin] + other[begin:])
    with pytest.raises(AlteredArchive):
        unpack(archive, KEY)


@pytest.mark.parametrize(
    ("name", "manifest_of"),
    [("reports/added.txt", None), ("../evil", "../evil"), ("secrets/../../evil", "secrets/../../evil"), ("other.txt", "other.txt")],
)  # fmt: skip
def test_members_that_the_portal_does_not_write_are_refused(
    name, manifest_of, folder, described, tmp_path, monkeypatch
):
    (folder / name).write_bytes(b"evil")
    listed = described.files | {name: contents.copy_member((folder / name).open("rb"), None)}
    pack(folder, Manifest(**vars(described) | {"files": listed}), tmp_path / "evil.tar", KEY)
    if manifest_of is None:
        monkeypatch.setattr(contents, "parse_manifest", lambda content: described)
    with pytest.raises(AlteredArchive):
        unpack(tmp_path / "evil.tar", KEY, tmp_path / "out")
    assert not any("evil" in found for found in files_of(tmp_path / "out"))


def test_manifest_that_lists_another_hash_is_refused(folder, described, tmp_path):
    (folder / "secrets/token_pepper").write_bytes(b"PEPPER")
    pack(folder, described, tmp_path / "a.tar", KEY)
    with pytest.raises(AlteredArchive):
        unpack(tmp_path / "a.tar", KEY)


def test_archive_of_a_newer_format_is_refused(folder, described, tmp_path):
    pack(folder, Manifest(**vars(described) | {"format": FORMAT + 1}), tmp_path / "a.tar", KEY)
    with pytest.raises(NewerVersion):
        unpack(tmp_path / "a.tar", KEY)


def test_full_disk_is_found_before_anything_is_unpacked(archive, settings, tmp_path):
    settings.DISK_RESERVE_MIB = 2**40
    with pytest.raises(ArchiveError, match="No space left"):
        unpack(archive, KEY, tmp_path)
    assert not (tmp_path / "database.sqlite3").exists()


# --- Passphrases -----------------------------------------------------------------------------------------------------


def test_key_file_of_age_keygen_is_read(tmp_path):
    (tmp_path / "key").write_text(f"# created: today\n# public key: age1…\n{KEY.identity}\n")
    encrypted = KEY.encrypt(b"secret")
    assert read_passphrase(tmp_path / "key").decrypt(encrypted) == b"secret"


def test_other_key_does_not_open_an_archive(archive):
    with pytest.raises(WrongPassphrase):
        unpack(archive, Passphrase("", pyrage.x25519.Identity.generate()))


def test_passphrase_opens_only_its_own(tmp_path):
    encrypted = parse_passphrase("correct horse\n").encrypt(b"secret")
    assert parse_passphrase(" correct horse").decrypt(encrypted) == b"secret"
    with pytest.raises(WrongPassphrase):
        parse_passphrase("correct horses").decrypt(encrypted)


@pytest.mark.parametrize("text", ["", " \n", "AGE-SECRET-KEY-1NONSENSE", f"{KEY.identity}\n{KEY.identity}"])
def test_unusable_passphrase_is_refused(text):
    with pytest.raises(ArchiveError):
        parse_passphrase(text)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"x" * 65_537])
def test_unreadable_passphrase_file_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(ArchiveError, match="passphrase file"):
        read_passphrase(tmp_path / "file")


def test_passphrase_is_not_shown():
    assert "horse" not in repr(parse_passphrase("correct horse"))


# --- Without the portal ----------------------------------------------------------------------------------------------


def test_archive_is_opened_by_tar_age_and_zstd(archive, tmp_path):
    require(shutil.which("age"), "age", "age")
    require(shutil.which("zstd"), "zstd", "zstd")
    (tmp_path / "age.key").write_text(f"{KEY.identity}\n")
    steps = "tar -xf a.tar && age -d -i age.key key.age > key.txt && age -d -i key.txt data.tar.zst.age > data.tar.zst"
    subprocess.run(steps, shell=True, cwd=tmp_path, check=True)
    with (tmp_path / "data.tar.zst").open("rb") as packed, (tmp_path / "data.tar").open("wb") as data:
        subprocess.run(["zstd", "-d"], stdin=packed, stdout=data, check=True)
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", "data.tar", "-C", "out"], cwd=tmp_path, check=True)
    found = files_of(tmp_path / "out")
    assert found.pop("manifest.json")
    assert found == FILES


# --- The command -----------------------------------------------------------------------------------------------------


def swap_key(whole, other):
    begin, end = whole.index(DATA.encode()), other.index(DATA.encode())
    return other[:end] + whole[begin:]


def flip(place):
    def change(whole, other):
        changed = bytearray(whole)
        changed[place(whole)] ^= 0x20
        return bytes(changed)

    return change


@pytest.mark.parametrize(
    ("change", "statuses"),
    [(flip(lambda whole: 20), {4}), (flip(lambda whole: BLOCK + 5), {3}), (flip(lambda whole: BLOCK + 150), {3}),
     (flip(lambda whole: whole.index(DATA.encode()) + 130), {4}), (flip(lambda whole: len(whole) - 2_000), {4}),
     (lambda whole, other: whole[:-3_000], {4}), (swap_key, {4})],
    ids=["header", "begin of the key", "end of the key", "size of the data", "data", "truncated", "key of another"],
)  # fmt: skip
def test_command_refuses_an_altered_archive_and_writes_nothing(
    archive, folder, described, tmp_path, settings, change, statuses
):
    """The database is not asked either: this test may not."""
    pack(folder, described, tmp_path / "other.tar", KEY)
    archive.write_bytes(change(archive.read_bytes(), (tmp_path / "other.tar").read_bytes()))
    assert restore(archive, f"{KEY.identity}", settings, tmp_path) in statuses


def test_command_says_that_the_passphrase_is_wrong_and_writes_nothing(folder, described, tmp_path, settings):
    pack(folder, described, tmp_path / "a.tar", parse_passphrase("correct horse"))
    assert restore(tmp_path / "a.tar", "wrong horse", settings, tmp_path) == 3


def restore(archive, passphrase, settings, tmp_path):
    """Return the exit status of the refusal."""
    (tmp_path / "passphrase").write_text(passphrase)
    settings.VIGIE_DATA_DIR = tmp_path / "data"
    with pytest.raises(CommandError) as refused:
        call_command("restore_portal", str(archive), passphrase_file=tmp_path / "passphrase")
    assert not settings.VIGIE_DATA_DIR.exists()
    return refused.value.returncode
