"""Count the pages of a PDF in its page tree, as readers do: its own `/Count` may be wrong or missing."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, Optional

from vigie_client.disk.durable import open_regular
from vigie_client.disk.forks import renew_after_fork
from vigie_client.disk.logs import log

# Time limit of a walk.
WALK_SECONDS = 5.0
# A larger file is opened only if its end leads to its object table: PyMuPDF would repair it by reading all of it.
MAX_REPAIR_BYTES = 64 * 1024 * 1024
# Other threads may use PyMuPDF after as many objects.
_OBJECTS_AT_A_TIME = 256
_CHUNK = 1024 * 1024
_REFERENCE = re.compile(r"([0-9]+) [0-9]+ R")
_TABLE = re.compile(rb"\s*(?:xref|[0-9]+\s+[0-9]+\s+obj)")

# Missing packages that this process has logged.
_logged_missing: set[str] = set()


class _UnreliableCount(Exception):
    """The file has no reliable page count."""


class _PyMuPDFLock:
    """Serializes the use of PyMuPDF, which is not thread-safe and has one error display for the whole process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        renew_after_fork(self)

    def renew(self) -> None:
        """Replace the lock: a thread that held it at the fork does not exist here to release it."""
        self.lock = threading.Lock()


_pymupdf_lock = _PyMuPDFLock()


def count_pdf_pages(path: Any) -> Optional[int]:
    """Count the pages of the PDF at `path`. Return None if the count is not reliable or takes too long.

    Raises any exception of PyMuPDF, OSError, and ImportError without PyMuPDF.
    """
    pymupdf = _import_pymupdf()
    with contextlib.suppress(_UnreliableCount), _open_document(pymupdf, path) as document:
        pages = _PageTreeWalk(pymupdf, document).count()
        with _quiet_pymupdf(pymupdf):
            is_repaired = document.is_repaired  # perhaps by the walk
        return pages if not is_repaired or _has_end(path) else None
    return None


@contextlib.contextmanager
def _open_document(pymupdf: Any, path: Any) -> Iterator[Any]:
    name = os.fsdecode(path)
    stream = None
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_REPAIR_BYTES and not _has_table(file, size):
            raise _UnreliableCount
        if not _is_utf8(name):  # PyMuPDF only accepts names in UTF-8
            stream = file.read(MAX_REPAIR_BYTES + 1)
    with _quiet_pymupdf(pymupdf):
        document = pymupdf.open(name) if stream is None else pymupdf.open(stream=stream, filetype="pdf")
    try:
        yield document
    finally:
        with _quiet_pymupdf(pymupdf):
            document.close()


class _PageTreeWalk:
    """Walks a page tree: an object with kids is a branch, any other dictionary a page.

    A missing kid is skipped, as readers do, but not in a repaired file, in which it may have been cut off. A branch
    that is visited twice is a loop.
    """

    def __init__(self, pymupdf: Any, document: Any) -> None:
        self._pymupdf = pymupdf
        self._document = document
        self._branches: set[int] = set()
        self._waiting: list[int] = []
        self._pages = 0

    def count(self) -> int:
        left = WALK_SECONDS
        with _quiet_pymupdf(self._pymupdf):
            self._visit_root()
        while self._waiting:
            with _quiet_pymupdf(self._pymupdf):
                started = time.monotonic()
                for _ in range(min(_OBJECTS_AT_A_TIME, len(self._waiting))):
                    self._visit(self._waiting.pop())
                left -= time.monotonic() - started
            if left < 0:
                raise _UnreliableCount
        return self._pages

    def _visit_root(self) -> None:
        # PyMuPDF also opens an image named .pdf.
        if not self._document.is_pdf or self._document.needs_pass:
            raise _UnreliableCount
        kind, value = self._document.xref_get_key(self._document.pdf_catalog(), "Pages")
        root = _REFERENCE.fullmatch(value) if kind == "xref" else None
        if root is None or not self._is_branch(int(root[1])):
            raise _UnreliableCount

    def _visit(self, number: int) -> None:
        if not self._object(number).startswith("<<"):
            self._skip_missing()
        elif not self._is_branch(number):
            self._pages += 1

    def _is_branch(self, number: int) -> bool:
        """Return True for an object with kids, and queue them."""
        kind, value = self._document.xref_get_key(number, "Kids")
        if kind == "null":
            return False
        if number in self._branches:
            raise _UnreliableCount
        self._branches.add(number)
        while kind == "xref":
            reference = _REFERENCE.fullmatch(value)
            value = self._object(int(reference[1])) if reference else ""
            kind = "xref" if _REFERENCE.fullmatch(value) else "array"
        self._add_kids(value)
        return True

    def _add_kids(self, array: str) -> None:
        if not array.startswith("[") or "<<" in array:
            raise _UnreliableCount
        self._waiting.extend(int(found[1]) for found in _REFERENCE.finditer(array))
        if _REFERENCE.sub("", array[1:-1]).strip():
            self._skip_missing()

    def _skip_missing(self) -> None:
        if self._document.is_repaired:
            raise _UnreliableCount

    def _object(self, number: int) -> str:
        """Return the source of an object; `null` if it does not exist."""
        if not 0 < number < self._document.xref_length():
            return "null"
        return str(self._document.xref_object(number, compressed=True)).strip()


def _import_pymupdf() -> Any:
    try:
        return importlib.import_module("pymupdf")
    except ModuleNotFoundError:
        pass
    try:
        return importlib.import_module("fitz")  # its name before 1.24
    except ImportError:
        if "PyMuPDF" not in _logged_missing:
            _logged_missing.add("PyMuPDF")
            log(logging.WARNING, "the pages of PDF files aren't counted: PyMuPDF isn't installed")
        raise


@contextlib.contextmanager
def _quiet_pymupdf(pymupdf: Any) -> Iterator[None]:
    """Lock PyMuPDF for this thread, with its messages on stderr turned off."""
    with _pymupdf_lock.lock:
        displayed = pymupdf.TOOLS.mupdf_display_errors()
        pymupdf.TOOLS.mupdf_display_errors(False)
        try:
            yield
        finally:
            pymupdf.TOOLS.mupdf_display_errors(displayed)


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _has_end(path: Any) -> bool:
    """Return True if the last revision of the file is complete, whatever follows."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        return _last_position(file, size, b"%%EOF") > _last_position(file, size, b"startxref")


def _last_position(file: BinaryIO, size: int, marker: bytes) -> int:
    """Return the last position of the marker, or -1."""
    end = size
    while end > 0:
        start = max(0, end - _CHUNK)
        file.seek(start)
        found = file.read(end - start + len(marker)).rfind(marker)
        if found >= 0:
            return start + found
        end = start
    return -1


def _has_table(file: BinaryIO, size: int) -> bool:
    """Return True if the end of the file leads to its object table."""
    file.seek(max(0, size - _CHUNK))
    positions = re.findall(rb"startxref\s+([0-9]{1,12})", file.read())
    if not positions:
        return False
    file.seek(int(positions[-1]))
    found = _TABLE.match(file.read(64)) is not None
    file.seek(0)
    return found
