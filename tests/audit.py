"""`make audit`: look up advisories about the pinned requirements, or report that no index can be reached."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import requests

ROOT = Path(__file__).parent.parent
PINNED = (ROOT / "requirements.txt", ROOT / "requirements-dev.txt")
URL = "https://api.osv.dev/v1/query"
PROBE = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "25.0"}
WAIT_SECONDS = 10
# The files pin every package with its hash, so nothing is resolved or installed.
AUDIT = (
    "-m",
    "pip_audit",
    "--disable-pip",
    "--require-hashes",
    "--progress-spinner",
    "off",
    "--vulnerability-service",
    "osv",
)


def is_reachable(url: str) -> bool:
    try:
        return requests.post(url, json=PROBE, timeout=WAIT_SECONDS).ok
    except requests.RequestException:
        return False


def audit(url: str, files: Sequence[Path]) -> int:
    """Return 1 if any package has an advisory; 0 if none has, or if no index can be reached."""
    if not is_reachable(url):
        sys.stdout.write(f"NOT CHECKED: no advisory index answers at {url}. Nothing is known about the requirements.\n")
        return 0
    given = [argument for file in files for argument in ("--requirement", str(file))]
    return subprocess.run([sys.executable, *AUDIT, "--osv-url", url, *given], check=False).returncode


if __name__ == "__main__":
    sys.exit(audit(os.environ.get("OSV_URL", URL), PINNED))
