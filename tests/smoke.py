"""Install the portal into a fresh environment of the running Python, start it and check its health.

    python3.13 tests/smoke.py

It needs nothing but the standard library, and proves that the package works on a Python that the tests do not run on.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSTALL = ["-m", "pip", "install", "-qq", "--disable-pip-version-check"]
NOT_BUILT = (".*", "var", "build", "*.egg-info", "__pycache__", "tests", "demo", "bench", "faults")
PATIENCE_SECONDS = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def copy_sources(target: Path) -> Path:
    """Copy what a build needs: setuptools would leave its files in the checkout, and put them in the next wheel."""
    return Path(shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*NOT_BUILT)))


def install(folder: Path) -> Path:
    """Make a virtual environment with the portal in it, and return its folder of commands."""
    venv.create(folder / "venv", with_pip=True)
    commands = folder / "venv" / "bin"
    requirements = ["--require-hashes", "-r", str(ROOT / "requirements.txt")]
    for options in (requirements, ["--no-deps", "--no-build-isolation", str(copy_sources(folder / "source"))]):
        subprocess.run([commands / "python", *INSTALL, *options], check=True)
    return commands


def wait_until_healthy(address: str, portal: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{address}/healthz", timeout=10):
                return
        except OSError:
            if portal.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="vigie-smoke-") as directory:
        commands = install(Path(directory))
        data = Path(directory) / "data"
        environment = {"PATH": os.environ["PATH"], "HOME": directory, "VIGIE_DATA_DIR": str(data)}
        for command in (["check"], ["prepare"]):
            subprocess.run(
                [commands / "vigie", *command], cwd=directory, env=environment, check=True, stdout=subprocess.DEVNULL
            )
        bind = f"127.0.0.1:{free_port()}"
        with subprocess.Popen([commands / "vigie", "up", "--bind", bind], cwd=directory, env=environment) as portal:
            try:
                wait_until_healthy(f"http://{bind}", portal)
                with urllib.request.urlopen(f"http://{bind}/accounts/login/", timeout=PATIENCE_SECONDS) as page:
                    assert b"password" in page.read()
            finally:
                portal.send_signal(signal.SIGTERM)
        assert portal.returncode == 0, portal.returncode
    sys.stdout.write(f"The portal installs, starts and ends on Python {sys.version.split()[0]}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
