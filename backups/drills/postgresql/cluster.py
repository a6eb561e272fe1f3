"""A private PostgreSQL server for drills: `python -m backups.drills.postgresql.cluster`, started by `Keeper`.

The process prints a line of JSON, `{"folder": ...}` or `{"unavailable": why}`, and stops and removes the server when
its stdin ends, whatever kills its parent. If it is killed itself, the kernel ends the server, and the next keeper
removes the folder, whose lock is free then.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import locale
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from backups.drills.limits import limit_memory
from backups.drills.outcomes import POSTGRESQL, SandboxUnavailable

PREFIX = "vigie-drill-"
INSTALLED = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
)
START_SECONDS, STOP_SECONDS, ANSWER_SECONDS = 120, 20, 10
POLL_SECONDS = 0.01
# A socket has an address of at most 107 bytes.
SOCKET = "/.s.PGSQL.5432"
LONGEST_FOLDER = 107 - len(SOCKET)
# Anyone may put something of that name below /tmp: a pipe, which would block, or a link.
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
SUPERUSER = "vigie"
SETTINGS = {
    # Reachable through its folder alone.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "10",
    # Nothing need survive it.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    # Bounded, and as one process of the machine.
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "max_parallel_workers": "0",
    "jit": "off",
    "dynamic_shared_memory_type": "mmap",
    # A log would hold rows.
    "log_min_messages": "panic",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}


def find_binaries() -> Path | None:
    """Return the folder of the server's programs: that on the PATH, or else the newest one installed."""
    on_path = shutil.which("initdb")
    installed = [folder for pattern in INSTALLED for folder in Path("/").glob(pattern[1:])]
    installed.sort(key=lambda folder: [int(part) for part in re.findall(r"\d+", folder.parent.name)], reverse=True)
    folders = [Path(os.path.realpath(on_path)).parent, *installed] if on_path else installed
    complete = (folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists())
    return next(complete, None)


@dataclass(frozen=True)
class Server:
    """The address of a private server: the folder of its socket, and that of its programs."""

    folder: str
    binaries: str

    @property
    def url(self) -> str:
        return f"postgresql://{SUPERUSER}@/postgres?host={quote(self.folder, safe='')}"

    @property
    def login(self) -> list[str]:
        return ["--host", self.folder, "--username", SUPERUSER]


class Keeper:
    """A private `server` that runs until `close`, or until this process ends. Raises SandboxUnavailable.

    `wrapper` is a command that runs its process, and `options` are those of Popen for it.
    """

    def __init__(self, binaries: Path, folder: Path, wrapper: Sequence[str] = (), **options: Any) -> None:
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, "-m", "backups.drills.postgresql.cluster", str(binaries), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )
        assert self.process.stdout is not None  # noqa: S101 - a pipe was asked for
        answer = json.loads(self.process.stdout.readline() or '{"unavailable": {"code": "private_server_ended"}}')
        if "unavailable" in answer:
            self.close()
            raise SandboxUnavailable(POSTGRESQL, answer["unavailable"])
        self.server = Server(answer["folder"], str(binaries))

    def is_alive(self) -> bool:
        """Return whether the server takes connections, and ends with this process."""
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(f"{self.server.folder}{SOCKET}")
            return self.process.poll() is None
        return False

    def close(self) -> None:
        assert self.process.stdin is not None  # noqa: S101 - a pipe was asked for
        assert self.process.stdout is not None  # noqa: S101
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


# --- The process of the keeper ---------------------------------------------------------------------------------------


def main() -> None:
    limit_memory()
    binaries, workspace = map(Path, sys.argv[1:])
    try:
        with private_folder(base_folder(workspace)) as folder, running_server(binaries, folder):
            announce({"folder": str(folder)})
            sys.stdin.read()
    except (OSError, subprocess.SubprocessError) as error:
        announce({"unavailable": {"code": "private_server_failed", "error": str(error)}})


def announce(line: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


def base_folder(workspace: Path) -> Path:
    """Return the folder of the run, or the temporary one where the server's user or a socket cannot use that."""
    is_short = len(os.fsencode(workspace / f"{PREFIX}12345678")) <= LONGEST_FOLDER
    return workspace if os.geteuid() and is_short else Path(tempfile.gettempdir())


def server_user() -> dict[str, Any]:
    """Return the arguments of Popen for the user of the server, which must not be root."""
    if os.geteuid():
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@contextmanager
def private_folder(base: Path) -> Iterator[Path]:
    """Yield a new folder of the server's user, which is locked and removed at the end."""
    sweep(base)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        lock = os.open(folder, FOLDER)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():  # no sweep came between
            break
        os.close(lock)
    try:
        if user := server_user():
            os.chown(folder, user["user"], user["group"])
        yield folder
    finally:
        remove(folder)
        os.close(lock)


def sweep(base: Path) -> None:
    """Remove the folders of keepers that were killed, and end what runs in them."""
    ours = {os.geteuid(), server_user().get("user")}
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            lock = os.open(folder, FOLDER)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_uid in ours:
                    remove(folder)
            finally:
                os.close(lock)


def remove(folder: Path) -> None:
    """Remove the folder. A server that outlived its keeper works in it, and is killed."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_inside = Path(os.readlink(entry / "cwd")).is_relative_to(folder)
            if is_inside and Path(os.readlink(entry / "exe")).name.split()[0] in ("postgres", "initdb"):
                os.kill(int(entry.name), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def end_with_keeper() -> None:
    """Let the kernel end this process at once when its parent ends (Linux)."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGQUIT)


def utf8_locale() -> str:
    """Return the locale that knows letters beyond ASCII, where there is one."""
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:
        return "C"
    return "C.UTF-8"


@contextmanager
def running_server(binaries: Path, folder: Path) -> Iterator[None]:
    """Raises OSError and SubprocessError."""
    data = folder / "data"
    options: dict[str, Any] = {
        "cwd": folder,
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "preexec_fn": end_with_keeper,
    } | server_user()
    made_with = ["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", f"--locale={utf8_locale()}", "--no-sync"]
    initdb = [str(binaries / "initdb"), "-D", str(data), *made_with, "--wal-segsize=1"]
    subprocess.run(initdb, check=True, timeout=START_SECONDS, **options)
    given = SETTINGS | {"unix_socket_directories": str(folder)}
    postgres = [str(binaries / "postgres"), "-D", str(data), *(f"--{name}={value}" for name, value in given.items())]
    with subprocess.Popen(postgres, **options) as server:
        try:
            wait_until_ready(data / "postmaster.pid", server)
            yield
        finally:
            server.send_signal(signal.SIGQUIT)
            with suppress(subprocess.TimeoutExpired):
                server.wait(STOP_SECONDS)
            server.kill()


def wait_until_ready(status: Path, server: subprocess.Popen[Any]) -> None:
    """Wait for the line that pg_ctl waits for."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            if status.read_text().rstrip().endswith("ready"):
                return
        time.sleep(POLL_SECONDS)
    raise subprocess.SubprocessError("postgres did not become ready")


if __name__ == "__main__":
    main()
