"""The files of `vigie-client report`: found, checked and counted. Only an extension tells what a document was."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Sequence
from typing import Any

from vigie_client.report.pages import page_count_for

_WINDOWS = os.name == "nt"


def find_files(names: Sequence[str]) -> list[str]:
    """The files that the command line names. ValueError for one that is absent or a folder.

    On Windows patterns are expanded here: its shells pass them on as they are.
    """
    files = [file for name in names for file in (_matches(name) if _WINDOWS else [name])]
    for file in files:
        if os.path.isdir(file):
            raise ValueError(f"{file!r} is a folder: name the files in it")
        if not os.path.isfile(file):
            raise ValueError(f"there is no file {file!r}")
    return files


def describe_documents(files: Sequence[str]) -> list[dict[str, Any]]:
    """The documents of a run, one per file. A page count that is unknown is no failure of the document."""
    return [_document(file) for file in files]


def _matches(name: str) -> list[str]:
    """The files that match; the name itself where it is a file, or nothing matches."""
    if os.path.exists(name):
        return [name]
    return sorted(found for found in glob.glob(name) if os.path.isfile(found)) or [name]


def _document(file: str) -> dict[str, Any]:
    begun = time.monotonic()
    pages = page_count_for(file)
    return {
        "page_count": pages,
        "status": "success",
        "duration_ms": int((time.monotonic() - begun) * 1000),
        "extension": os.path.splitext(file)[1] or None,
    }
