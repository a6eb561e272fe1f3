from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from vigie_client import Credentials, TokenStore, default_machine_id
from vigie_client.machine.token_store import restrict_to_owner

posix_only = pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
OLD, NEW = Credentials("pc", "old"), Credentials("pc", "new")


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path / "state")


def test_saved_credentials_are_loaded(store: TokenStore) -> None:
    assert store.load() is None
    store.save(OLD)
    store.save(NEW)
    assert store.load() == NEW


def test_clear_deletes_the_credentials(store: TokenStore) -> None:
    store.save(OLD)
    for _ in range(2):
        store.clear()
    assert store.load() is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"machine_id": "pc"}', b"[" * 3000])
def test_damaged_store_loads_none(store: TokenStore, content: bytes) -> None:
    store.save(OLD)
    Path(store.path).write_bytes(content)
    assert store.load() is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_store_of_an_installer_is_read_in_its_encoding(store: TokenStore, encoding: str) -> None:
    Path(store.directory).mkdir()
    Path(store.path).write_text('{"machine_id": "pc", "api_token": "new"}\r\n', encoding)
    assert store.load() == NEW


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_token_of_an_earlier_installer_is_read_until_a_new_one_is_saved(store: TokenStore, encoding: str) -> None:
    older = Path(store.directory, "agent.token")
    older.parent.mkdir()
    older.write_text("old\r\n", encoding)
    assert store.load() == Credentials(default_machine_id(), "old")
    store.save(NEW)
    assert (store.load(), older.exists()) == (NEW, False)
    older.write_text("old")
    store.clear()
    assert store.load() is None


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root gives files away")
def test_store_of_another_account_keeps_its_owner(store: TokenStore) -> None:
    store.save(OLD)
    os.chown(store.path, 65534, 65534)
    store.save(NEW)
    status = os.stat(store.path)
    assert (store.load(), status.st_uid, status.st_gid, status.st_mode & 0o777) == (NEW, 65534, 65534, 0o600)


def test_default_store_is_the_users_or_the_installers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIGIE_STATE_DIR", raising=False)
    own, shared = tmp_path / "own", tmp_path / "shared"
    monkeypatch.setattr("vigie_client.machine.token_store.default_state_dir", lambda: str(own))
    monkeypatch.setattr("vigie_client.machine.token_store.shared_state_dir", lambda: str(shared))
    assert TokenStore().directory == str(own)
    TokenStore(shared).save(OLD)
    assert TokenStore().load() == OLD
    TokenStore(own).save(NEW)
    assert TokenStore().load() == NEW
    monkeypatch.setenv("VIGIE_STATE_DIR", str(tmp_path / "named"))
    assert TokenStore().directory == str(tmp_path / "named")


@pytest.mark.parametrize("is_roots", [True, False])
def test_folder_of_earlier_installers_is_read_if_root_owns_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_roots: bool
) -> None:
    monkeypatch.delenv("VIGIE_STATE_DIR", raising=False)
    former = tmp_path / "former"
    TokenStore(former).save(OLD)
    name = "vigie_client.machine.token_store."
    monkeypatch.setattr(name + "default_state_dir", lambda: str(tmp_path / "own"))
    monkeypatch.setattr(name + "shared_state_dir", lambda: str(tmp_path / "shared"))
    monkeypatch.setattr(name + "former_state_dir", lambda: str(former) if is_roots else None)
    assert TokenStore().load() == (OLD if is_roots else None)


def test_repr_of_credentials_shows_no_token() -> None:
    assert repr(Credentials("pc", "secret")) == "Credentials(machine_id='pc')"


@posix_only
def test_file_is_private_before_the_token_is_written(store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    write = os.write

    def watch(descriptor: int, data: Any) -> int:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", watch)
    umask = os.umask(0)
    try:
        store.save(OLD)
    finally:
        os.umask(umask)
    assert modes == [0o600]
    assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(store.directory).st_mode) == 0o700


@posix_only
def test_file_planted_at_the_temporary_path_is_not_written(store: TokenStore, tmp_path: Path) -> None:
    Path(store.directory).mkdir()
    Path(store.path + ".tmp").symlink_to(tmp_path / "trap")
    store.save(OLD)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("failing", ["fsync", "replace", "write"])
def test_failed_save_keeps_the_old_token(store: TokenStore, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    store.save(OLD)

    def fail(*_: Any) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(OSError):
            store.save(NEW)
    assert store.load() == OLD
    store.save(NEW)
    assert store.load() == NEW


class Windows:
    """Replaces `whoami.exe` and `icacls.exe`."""

    def __init__(self, listing: bytes = b'"PC\\Zo\x82","S-1-5-21-1-2-3-1001"\r\n') -> None:
        self.listing = listing
        self.commands: list[tuple[str, ...]] = []
        self.sizes: list[int] = []

    def run(self, command: Any, **_: Any) -> Any:
        self.commands.append(command)
        if os.path.exists(command[1]):
            self.sizes.append(os.path.getsize(command[1]))
        return subprocess.CompletedProcess(command, 0, self.listing, b"")


def test_windows_acl_grants_user_system_and_administrators(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Windows()
    monkeypatch.setattr("vigie_client.machine.token_store.os.name", "nt")
    monkeypatch.setattr(subprocess, "run", windows.run)
    restrict_to_owner("token.tmp")
    assert windows.commands[1][1:] == (
        "token.tmp", "/inheritance:r", "/grant:r", "*S-1-5-21-1-2-3-1001:F", "*S-1-5-18:F", "*S-1-5-32-544:F",
    )  # fmt: skip


def test_windows_file_is_protected_before_the_token_is_written(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = Windows()
    monkeypatch.setattr("vigie_client.machine.token_store.os.name", "nt")
    monkeypatch.setattr(subprocess, "run", windows.run)
    store.save(OLD)
    assert windows.commands[1][1] == store.path + ".tmp"
    assert windows.sizes == [0]


def test_windows_file_that_cannot_be_protected_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vigie_client.machine.token_store.os.name", "nt")
    monkeypatch.setattr(subprocess, "run", Windows(b"nobody").run)
    with pytest.raises(OSError, match="can't be protected"):
        restrict_to_owner("token.tmp")
