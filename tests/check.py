"""The checks of `make check` that need the project: migrations, deployment, architecture, requirements."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile

DEPLOYED = {
    "HTTPS": "1",
    "TRUSTED_PROXIES": "127.0.0.1",
    "ALLOWED_HOSTS": "vigie.example.org",
    "PORTAL_URL": "https://vigie.example.org",
}
CHECK_DEPLOYMENT = ["manage.py", "check", "--deploy", "--fail-level", "WARNING"]
CHECKS: tuple[tuple[str, list[str], dict[str, str]], ...] = (
    ("migrations", ["manage.py", "makemigrations", "--check", "--dry-run"], {}),
    ("deployment behind a proxy", CHECK_DEPLOYMENT, DEPLOYED),
    ("deployment on this machine alone", CHECK_DEPLOYMENT, {}),
    ("architecture", ["-m", "pytest", "tests/test_architecture.py"], {}),
    ("installed packages", ["-m", "pip", "check"], {}),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [name for name, _, _ in CHECKS]
    parser.add_argument("--without", choices=names, action="append", default=[], help="leave out this check")
    left_out, failed = parser.parse_args().without, []
    with tempfile.TemporaryDirectory(prefix="vigie-check-") as directory:
        for name, command, environment in CHECKS:
            if name in left_out:
                continue
            sys.stdout.write(f"== {name}\n")
            sys.stdout.flush()
            done = subprocess.run(
                [sys.executable, *command], env=os.environ | {"VIGIE_DATA_DIR": directory} | environment, check=False
            )
            if done.returncode:
                failed.append(name)
    if failed:
        sys.stdout.write(f"failed: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
