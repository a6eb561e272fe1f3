"""The folder in which a drill works. One drill runs at a time, so whatever else is found there was left by a kill."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield an empty folder, and remove it with what is in it."""
    root: Path = settings.VIGIE_DATA_DIR / "drills"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(mode=0o700)
    folder = Path(tempfile.mkdtemp(dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
