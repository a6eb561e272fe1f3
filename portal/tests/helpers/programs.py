"""Programs that tests need and a machine may lack."""

from __future__ import annotations

import os

import pytest


def require(is_installed: object, program: str, package: str) -> None:
    """Skip a test without the program of this Debian package, but fail it in CI, which must install it."""
    if not is_installed:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"{program} is not installed (Debian: apt install {package})"
        )
