"""Find the files of `vigie-client report` and count their pages."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Sequence
from typing import Any

from vigie_client.report.pages import page_count_for

_WINDOWS = os.name == "nt"


def find_files(names: Sequence[str]) -> list[str]:
    """Return the files named on the command line. Raises ValueError for one that is missing or a folder.

    Expands patterns on Windows, whose shells do not.
    """
    files = [file for name in names for file in (_expand_pattern(name) if _WINDOWS else [name])]
    for file in files:
        if os.path.isdir(file):
            raise ValueError(f"{file!r} is a folder: list the files in it")
        if not os.path.isfile(file):
            raise ValueError(f"file not found: {file!r}")
    return files


def describe_documents(files: Sequence[str]) -> list[dict[str, Any]]:
    """Return the documents of a run, one per file. An unknown page count is not a failure."""
    return [_describe_document(file) for file in files]


def _expand_pattern(name: str) -> list[str]:
    """Return the matching files, or the name itself if it exists or nothing matches."""
    if os.path.exists(name):
        return [name]
    return sorted(found for found in glob.glob(name) if os.path.isfile(found)) or [name]


def _describe_document(file: str) -> dict[str, Any]:
    started = time.monotonic()
    pages = page_count_for(file)
    return {
        "page_count": pages,
        "status": "success",
        "duration_ms": int((time.monotonic() - started) * 1000),
        "extension": os.path.splitext(file)[1] or None,
    }
