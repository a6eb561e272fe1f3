"""Pages of a PDF file, counted in its page tree as readers do: its own `/Count` may be wrong or missing."""

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

# A walk that takes longer has no result.
WALK_SECONDS = 5.0
# A larger file is opened only where its end leads to its table of objects: a search for objects would read all of it.
MAX_REPAIRED = 64 * 1024 * 1024
# Between as many objects other threads may use PyMuPDF.
_OBJECTS_AT_A_TIME = 256
_CHUNK = 1024 * 1024
_REFERENCE = re.compile(r"([0-9]+) [0-9]+ R")
_TABLE = re.compile(rb"\s*(?:xref|[0-9]+\s+[0-9]+\s+obj)")

# What this process was warned of: once is enough.
_missing: set[str] = set()


class _Unknown(Exception):
    """The file gives no count to be trusted."""


class _Turn:
    """PyMuPDF is not safe to use from several threads, and its error display is a switch of the whole process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget a thread that held the lock at the fork: it isn't here to release it."""
        self.lock = threading.Lock()


_turn = _Turn()


def count_pdf_pages(path: Any) -> Optional[int]:
    """Pages of the PDF at `path` by its page tree; None where they can't be trusted or take too long to count.

    Raises whatever PyMuPDF raises, OSError, and ImportError without PyMuPDF.
    """
    pymupdf = _import_pymupdf()
    with contextlib.suppress(_Unknown), _opened(pymupdf, path) as document:
        pages = _Walk(pymupdf, document).count()
        with _quiet(pymupdf):
            is_repaired = document.is_repaired  # perhaps while it was walked
        return pages if not is_repaired or _has_end(path) else None
    return None


@contextlib.contextmanager
def _opened(pymupdf: Any, path: Any) -> Iterator[Any]:
    name = os.fsdecode(path)
    stream = None
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_REPAIRED and not _has_table(file, size):
            raise _Unknown
        if not _is_text(name):  # PyMuPDF takes names in UTF-8 alone
            stream = file.read(MAX_REPAIRED + 1)
    with _quiet(pymupdf):
        document = pymupdf.open(name) if stream is None else pymupdf.open(stream=stream, filetype="pdf")
    try:
        yield document
    finally:
        with _quiet(pymupdf):
            document.close()


class _Walk:
    """Walks a page tree: a kid with kids of its own is a branch, any other dictionary a page.

    A kid that doesn't exist is passed over, as readers do, but not in a file that had to be repaired: it may be what
    was cut off. A branch that is met twice is a loop.
    """

    def __init__(self, pymupdf: Any, document: Any) -> None:
        self._pymupdf = pymupdf
        self._document = document
        self._branches: set[int] = set()
        self._waiting: list[int] = []
        self._pages = 0

    def count(self) -> int:
        left = WALK_SECONDS
        with _quiet(self._pymupdf):
            self._begin()
        while self._waiting:
            with _quiet(self._pymupdf):
                begun = time.monotonic()
                for _ in range(min(_OBJECTS_AT_A_TIME, len(self._waiting))):
                    self._visit(self._waiting.pop())
                left -= time.monotonic() - begun
            if left < 0:
                raise _Unknown
        return self._pages

    def _begin(self) -> None:
        # PyMuPDF opens an image named .pdf.
        if not self._document.is_pdf or self._document.needs_pass:
            raise _Unknown
        kind, value = self._document.xref_get_key(self._document.pdf_catalog(), "Pages")
        root = _REFERENCE.fullmatch(value) if kind == "xref" else None
        if root is None or not self._is_branch(int(root[1])):
            raise _Unknown

    def _visit(self, number: int) -> None:
        if not self._object(number).startswith("<<"):
            self._pass_over()
        elif not self._is_branch(number):
            self._pages += 1

    def _is_branch(self, number: int) -> bool:
        """True for an object with kids, which then wait to be visited."""
        kind, value = self._document.xref_get_key(number, "Kids")
        if kind == "null":
            return False
        if number in self._branches:
            raise _Unknown
        self._branches.add(number)
        while kind == "xref":
            reference = _REFERENCE.fullmatch(value)
            value = self._object(int(reference[1])) if reference else ""
            kind = "xref" if _REFERENCE.fullmatch(value) else "array"
        self._add_kids(value)
        return True

    def _add_kids(self, array: str) -> None:
        if not array.startswith("[") or "<<" in array:
            raise _Unknown
        self._waiting.extend(int(found[1]) for found in _REFERENCE.finditer(array))
        if _REFERENCE.sub("", array[1:-1]).strip():
            self._pass_over()

    def _pass_over(self) -> None:
        if self._document.is_repaired:
            raise _Unknown

    def _object(self, number: int) -> str:
        """The source of an object; `null` where there is none."""
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
        if "PyMuPDF" not in _missing:
            _missing.add("PyMuPDF")
            log(logging.WARNING, "the pages of PDF files aren't counted: PyMuPDF isn't installed")
        raise


@contextlib.contextmanager
def _quiet(pymupdf: Any) -> Iterator[None]:
    """Have PyMuPDF for this thread alone, with nothing written to stderr."""
    with _turn.lock:
        displayed = pymupdf.TOOLS.mupdf_display_errors()
        pymupdf.TOOLS.mupdf_display_errors(False)
        try:
            yield
        finally:
            pymupdf.TOOLS.mupdf_display_errors(displayed)


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _has_end(path: Any) -> bool:
    """True where the last revision of the file is there to its end, whatever follows."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        return _last_place(file, size, b"%%EOF") > _last_place(file, size, b"startxref")


def _last_place(file: BinaryIO, size: int, marker: bytes) -> int:
    """The last position of the marker, or -1."""
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
    """True where the end of the file leads to its table of objects."""
    file.seek(max(0, size - _CHUNK))
    places = re.findall(rb"startxref\s+([0-9]{1,12})", file.read())
    if not places:
        return False
    file.seek(int(places[-1]))
    found = _TABLE.match(file.read(64)) is not None
    file.seek(0)
    return found
