"""Fresh Debian systems in folders, in which commands run by chroot. It takes root, debootstrap and Debian's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "/var/cache")) / "vigie-roots"
# What a server of Debian has and its least system lacks.
PACKAGES = "ca-certificates,curl,sudo"
# The machine's own authorities and settings of pip, which lead to its package registries.
MACHINE = ("/usr/local/share/ca-certificates", "/etc/pip.conf", "/etc/resolv.conf", "/etc/apt/apt.conf.d")
CLEAN = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}


class Root:
    """A Debian system in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, cwd: str = "/") -> str:
        """Run a command as root and return its standard output. Raises CalledProcessError."""
        inside = ["chroot", str(self.folder), "/usr/bin/env", "-C", cwd, *command]
        return subprocess.run(
            inside, env=CLEAN, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self.folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        target.chmod(mode)

    def end_processes(self) -> None:
        """Kill what still runs in it."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if Path(os.readlink(entry / "root")) == self.folder:
                    os.kill(int(entry.name), 9)
            except OSError:
                continue


def download(suite: str) -> Path:
    """Return the archive of a fresh system, which is made once."""
    archive = CACHE / f"{suite}.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, f"{folder}/root"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["tar", "-C", f"{folder}/root", "-cf", f"{folder}/tar", "."], check=True)
            os.replace(f"{folder}/tar", archive)
    return archive


@contextmanager
def fresh_root(suite: str) -> Iterator[Root]:
    """Yield a fresh system of this suite, and remove it with what runs in it."""
    archive = download(suite)
    with ExitStack() as stack:
        parent = Path(tempfile.mkdtemp(prefix=f"vigie-{suite}-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, parent)
        folder = parent / "root"
        folder.mkdir()
        subprocess.run(["tar", "-C", folder, "-xpf", archive], check=True)
        memory = ("-t", "tmpfs", "-o", "mode=1777", "tmpfs", folder / "dev/shm")
        for mount in (("--bind", folder, folder), ("-t", "proc", "proc", folder / "proc"), memory):
            subprocess.run(["mount", *mount], check=True)
            stack.callback(unmount, mount[-1])
        root = Root(folder)
        stack.callback(root.end_processes)
        copy_machine_settings(root)
        yield root


def unmount(path: str | Path) -> None:
    subprocess.run(["umount", "--recursive", "--lazy", path], check=False)


def copy_machine_settings(root: Root) -> None:
    for name in MACHINE:
        target = root.folder / name.lstrip("/")
        if Path(name).is_dir():
            shutil.copytree(name, target, dirs_exist_ok=True)
        elif Path(name).exists():
            shutil.copy(name, target)
    root.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)  # packages start no services
    root.run("update-ca-certificates")


def copy_checkout(root: Root, target: str) -> None:
    """Copy the files that git knows, as a release does."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    files = [name for name in names.decode().split("\0") if name and (ROOT / name).exists()]
    for name in files:
        path = root.folder / target.lstrip("/") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, path)
